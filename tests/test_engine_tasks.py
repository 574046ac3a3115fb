"""Tasks that a playbook's own statements make: held across awaits, in groups, raced, timed out, cancelled, left alone."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, kill_everywhere, same_everywhere, start  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

STARTED: list[object] = []


@pytest.fixture(autouse=True)
def fresh_log():
    STARTED.clear()


async def effect(name, value=None, turns=1, error=None):
    STARTED.append(name)
    for _ in range(turns):
        await asyncio.sleep(0)
    if error is not None:
        raise error
    return name if value is None else value


@playbook
async def leaf(x, turns=1):
    y = await effect(("leaf", x, 1), x + 1, turns)
    return await effect(("leaf", x, 2), y * 2, turns)


@playbook
async def failing(x, turns=1):
    await effect(("failing", x), turns=turns)
    raise ValueError(x)


@playbook
async def endless(x):
    await effect(("endless", x))
    await asyncio.Event().wait()


@playbook
async def tidies(log, x):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        log.append(await effect(("tidied", x)))
        raise


async def helper(x, turns=1):
    await effect(("helper", x), turns=turns)
    return await leaf(x, turns)


# --- held across awaits ---


@playbook
async def a_call_held():
    task = asyncio.create_task(leaf(1))
    other = await effect("other")
    return other, await task, task.done(), task.result()


@playbook
async def a_plain_coroutine_held():
    task = asyncio.create_task(effect("slow", [1, 2], turns=3))
    first = await effect("first")
    second = await effect("second", turns=4)
    return first, second, await task


@playbook
async def a_helper_held():
    task = asyncio.create_task(helper(3, 2), name="my task")
    seen = []
    while not task.done():
        seen.append(await effect(("poll", len(seen))))
    return task.result(), task.get_name(), len(seen) > 1


@playbook
async def several_held():
    tasks = [asyncio.create_task(leaf(n, n)) for n in range(1, 4)]
    tasks.append(asyncio.ensure_future(effect("plain", turns=2)))
    by_name = {f"t{n}": task for n, task in enumerate(tasks)}
    await effect("between")
    results = [await task for task in reversed(tasks)]
    return results, [by_name[name].result() for name in sorted(by_name)]


@playbook
async def arguments_are_shared():
    box = {"items": [1]}
    task = asyncio.create_task(reads_later(box))
    await effect("one")
    box["items"].append(2)
    await effect("two")
    return await task, box


async def reads_later(box):
    await effect("read", turns=6)
    return len(box["items"]), box is not None


@playbook
async def a_closure_as_a_task():
    total = 1

    async def add(n, *more, scale=1, **rest):
        await effect(("add", n), turns=9)
        return total + (n + sum(more)) * scale + len(rest)

    task = asyncio.create_task(add(2, 3, 4, scale=10, x=1, y=2))
    total = await effect("set", 100)
    return await task


class Adder:
    def __init__(self, base):
        self.base = base

    async def add(self, n, /, *, twice=False):
        await effect(("method", n), turns=3)
        return self.base + n * (2 if twice else 1)


@playbook
async def a_method_as_a_task():
    task = asyncio.create_task(Adder(10).add(5, twice=True))
    await effect("one")
    return await effect("two"), await task


@playbook
async def made_in_the_operand():
    first = asyncio.create_task(leaf(1, 3))
    both = await asyncio.gather(effect("same", 1, 2), asyncio.create_task(effect("same", 2, 3)), effect("same", 3))
    return both, await first


@playbook
async def same_function_before_and_inside():
    early = asyncio.create_task(effect("e", "early", turns=7))
    later = await asyncio.gather(effect("l", "one", 2), effect("l", "two", 4))
    return later, await early


@playbook
async def failures_are_held():
    task = asyncio.create_task(effect("fails", turns=2, error=ValueError("held")))
    call = asyncio.create_task(failing("call"))
    await effect("between", turns=5)
    found = []
    for one in (task, call):
        try:
            await one
        except ValueError as error:
            found.append(str(error))
    return found, str(task.exception()), call.exception().args


@playbook
async def a_gather_held():
    both = asyncio.gather(leaf(1, 2), effect("plain", turns=3), return_exceptions=True)
    await effect("between")
    found = await both
    await effect("after")
    return found, both.done(), both.result()


@playbook
async def left_alone():
    log = []
    asyncio.create_task(appends(log, 3))
    for n in range(8):
        await effect(("on", n))
    return log


async def appends(log, turns):
    value = await effect("appended", turns=turns)
    if value not in log:
        log.append(value)


@playbook
async def shielded():
    task = asyncio.create_task(leaf(1, 2))
    inner = await asyncio.shield(task)
    return inner, await asyncio.shield(leaf(2)), await asyncio.shield(effect("plain"))


@playbook
async def inner_maker():
    return asyncio.create_task(leaf(5, 4))


@playbook
async def a_task_that_outlives_its_maker():
    task = await inner_maker()
    await effect("between")
    return await task


HELD = [
    a_call_held,
    a_plain_coroutine_held,
    a_helper_held,
    several_held,
    arguments_are_shared,
    a_closure_as_a_task,
    a_method_as_a_task,
    made_in_the_operand,
    same_function_before_and_inside,
    failures_are_held,
    a_gather_held,
    left_alone,
    shielded,
    a_task_that_outlives_its_maker,
]


@pytest.mark.parametrize("case", HELD, ids=lambda p: p.__name__)
def test_a_task_held_across_awaits_goes_on_after_a_kill_at_every_await(case):
    assert isinstance(same_everywhere(case), Completed)


def test_a_finished_branch_never_runs_again():
    store = Store()
    start(a_plain_coroutine_held, store=store)
    assert STARTED.count("slow") == 1


# --- wait, wait_for, timeout, as_completed ---


@playbook
async def waits():
    tasks = {asyncio.create_task(leaf(n, n)) for n in range(1, 4)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    first = sorted(task.result() for task in done)
    await effect("between")
    rest, none = await asyncio.wait(pending)
    every = sorted(first + [task.result() for task in rest])
    return bool(first), every, len(none), rest | done == tasks


@playbook
async def races():
    tasks = [asyncio.create_task(endless(1)), asyncio.create_task(leaf(2)), asyncio.create_task(effect("x", turns=99))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await effect("between")
    ended = await asyncio.gather(*pending, return_exceptions=True)
    return [task.result() for task in done], [type(one).__name__ for one in ended], [task.cancelled() for task in tasks]


@playbook
async def waits_in_time():
    return await asyncio.wait_for(leaf(1), 30), await asyncio.wait_for(effect("plain"), 30)


@playbook
async def waits_too_long():
    try:
        return await asyncio.wait_for(endless(1), 0.01)
    except TimeoutError:
        return "late", await leaf(2)


@playbook
async def times_out():
    found = []
    try:
        async with asyncio.timeout(0.02):  # whatever of it the machine gets done in that time
            await endless(2)
    except TimeoutError:
        found.append(await effect("late"))
    async with asyncio.timeout(30):
        found.append(await leaf(3))
    return found


@playbook
async def as_they_complete():
    found = []
    for each in asyncio.as_completed([leaf(1, 5), effect("plain", turns=3), leaf(2, 1)]):
        found.append(await each)
        await effect(("between", len(found)))
    return sorted(map(str, found))


@playbook
async def as_they_complete_in_time():
    found = []
    try:
        for each in asyncio.as_completed([endless(1), endless(2)], timeout=0.02):
            found.append(await each)
    except TimeoutError:
        found.append(await effect("late"))
    return found


@playbook
async def as_they_fail():
    found = []
    for each in asyncio.as_completed([failing("a", 3), leaf(2, 2), effect("p", error=KeyError("k"))]):
        try:
            found.append(await each)
        except (ValueError, KeyError) as error:
            found.append(repr(error))
    return sorted(map(str, found))


@pytest.mark.parametrize(
    "case",
    [waits, races, waits_in_time, waits_too_long, times_out, as_they_complete, as_they_complete_in_time, as_they_fail],
    ids=lambda p: p.__name__,
)
def test_waiting_for_tasks_in_every_way_of_asyncio(case):
    assert isinstance(same_everywhere(case), Completed)


# --- cancelled ---


@playbook
async def cancels():
    log = []
    task = asyncio.create_task(tidies(log, 1))
    await effect("one")
    task.cancel()
    await effect("two")
    try:
        await task
    except asyncio.CancelledError:
        log.append(await effect("three"))
    return log, task.cancelled()


@playbook
async def cancels_before_it_begins():
    task = asyncio.create_task(leaf(1))
    plain = asyncio.create_task(effect("never"))
    task.cancel()
    plain.cancel()
    await effect("one")
    return task.cancelled(), plain.cancelled(), ("leaf", 1, 1) in STARTED


@playbook
async def cancels_a_gather():
    log = []
    both = asyncio.gather(tidies(log, 1), tidies(log, 2))
    await effect("one", turns=3)
    both.cancel()
    try:
        await both
    except asyncio.CancelledError:
        log.append(await effect("caught"))
    return sorted(map(str, log))


@playbook
async def swallows(log):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append(await effect("swallowed"))
            return "went on"


@playbook
async def is_not_cancelled():
    log = []
    task = asyncio.create_task(swallows(log))
    await effect("one")
    task.cancel("please")
    return await task, log, await effect("end")


@playbook
async def gathers(log):
    return await asyncio.gather(swallows(log), swallows(log))


@playbook
async def cancels_a_gather_whose_branches_swallow_it():
    log = []
    task = asyncio.create_task(gathers(log))
    await effect("one", turns=3)
    task.cancel()
    try:
        ended = await task
    except asyncio.CancelledError:
        ended = "cancelled"
    return ended, log


@pytest.mark.parametrize(
    "case",
    [
        cancels,
        cancels_before_it_begins,
        cancels_a_gather,
        is_not_cancelled,
        cancels_a_gather_whose_branches_swallow_it,
    ],
    ids=lambda p: p.__name__,
)
def test_what_was_cancelled_is_cancelled_after_a_kill_at_every_await(case):
    assert isinstance(same_everywhere(case), Completed)


@playbook
async def steps(log, n):
    for i in range(n):
        log.append(await effect(("step", i)))
    return "all"


@playbook
async def cancels_after(turns):
    log = []
    task = asyncio.create_task(steps(log, 4))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    try:
        ended = await task
    except asyncio.CancelledError:
        ended = "cancelled"
    await effect("after")
    return ended, log, task.cancelled()


@pytest.mark.parametrize("turns", range(16))
def test_a_branch_is_cancelled_at_every_turn_also_while_its_outcome_is_written(turns):
    """Who is first may differ after a resume, as in asyncio; what the program sees is one story all the same."""
    expected, resumed = kill_everywhere(cancels_after, turns)
    for outcome in (expected, *(outcome for _, outcome in resumed)):
        assert isinstance(outcome, Completed), outcome
        ended, log, cancelled = outcome.value
        assert log == [("step", n) for n in range(len(log))]
        assert (ended == "cancelled") == cancelled and (cancelled or len(log) == 4)


# --- groups ---


@playbook
async def a_group():
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(leaf(n, n)) for n in range(1, 4)]
        tasks.append(group.create_task(effect("plain", turns=3)))
        between = await effect("between")
    return between, [task.result() for task in tasks]


@playbook
async def a_group_that_fails():
    log = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(tidies(log, 1))
            group.create_task(failing("group", 3))
            group.create_task(endless(2))
    except ExceptionGroup as errors:
        found = [str(error) for error in errors.exceptions]
    return log, found, await effect("end")


@playbook
async def a_group_whose_body_is_cancelled():
    log = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing("group", 2))
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                log.append(await effect("tidied"))
                raise
    except ExceptionGroup as errors:
        log.append(repr(errors.exceptions))
    log.append(await effect("end"))
    return log


@playbook
async def a_group_whose_body_fails():
    log = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(tidies(log, 1))
            await effect("one")
            raise KeyError("body")
    except ExceptionGroup as errors:
        log.append(repr(errors.exceptions))
    return log, await effect("end")


@playbook
async def nested_groups():
    async with asyncio.TaskGroup() as outer:
        one = outer.create_task(a_group())
        async with asyncio.TaskGroup() as inner:
            two = inner.create_task(leaf(7, 2))
            three = outer.create_task(leaf(8, 9))
            await effect("inside")
        await effect("between")
        four = outer.create_task(leaf(two.result()))
    return one.result(), two.result(), three.result(), four.result()


@playbook
async def a_group_given_to_a_helper():
    found = []
    async with asyncio.TaskGroup() as group:
        await grows(group, found)
        await effect("body")
    return sorted(found)


async def grows(group, found):
    await effect("grows")
    found.append(await leaf(1))


@playbook
async def plants(group, depth):
    first = await effect(("plants", depth))
    if depth:
        group.create_task(plants(group, depth - 1))
        group.create_task(effect(("planted", depth), turns=2))
    return first


@playbook
async def a_group_that_its_children_fill():
    async with asyncio.TaskGroup() as group:
        first = group.create_task(plants(group, 3))
    return first.result(), await effect("end")


@playbook
async def holds_a_group(log):
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(tidies(log, 1))
            group.create_task(tidies(log, 2))
            await asyncio.Event().wait()
    finally:
        log.append(await effect("finally"))


@playbook
async def a_group_cancelled_from_outside():
    log = []
    task = asyncio.create_task(holds_a_group(log))
    await effect("one", turns=4)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        log.append(await effect("caught"))
    return sorted(map(str, log)), task.cancelled()


@playbook
async def a_group_whose_children_fail_at_once():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing("a"))
            group.create_task(effect("b", error=KeyError("b")))
            group.create_task(failing("c", 9))
    except ExceptionGroup as errors:
        found = sorted(repr(error) for error in errors.exceptions)
    return found, await effect("end")


@playbook
async def returns_out_of_a_group():
    async with asyncio.TaskGroup() as group:
        task = group.create_task(leaf(1, 2))
        for n in range(3):
            async with asyncio.TaskGroup() as inner:
                inner.create_task(leaf(n))
                if n == 1:
                    return n, task


@playbook
async def returned_task():
    n, task = await returns_out_of_a_group()
    return n, task.result()


@playbook
async def a_group_in_time():
    log = []
    try:
        async with asyncio.timeout(0.02):
            async with asyncio.TaskGroup() as group:
                group.create_task(tidies(log, 1))
                group.create_task(endless(2))
    except TimeoutError:
        log.append(await effect("late"))
    return log


GROUPS = [
    a_group_in_time,
    a_group_that_its_children_fill,
    a_group_cancelled_from_outside,
    a_group_whose_children_fail_at_once,
    returned_task,
    a_group,
    a_group_that_fails,
    a_group_whose_body_is_cancelled,
    a_group_whose_body_fails,
    nested_groups,
    a_group_given_to_a_helper,
]


@pytest.mark.parametrize("case", GROUPS, ids=lambda p: p.__name__)
def test_a_task_group_gets_its_tasks_back(case):
    assert isinstance(same_everywhere(case), Completed)


# --- cancelled, and not told when the checkpoint is taken ---


async def last_wish(name):
    """An effect that cancels its own task and completes: the next await is told."""
    STARTED.append(name)
    await asyncio.sleep(0)
    asyncio.current_task().cancel()
    return name


@playbook
async def goes_on(log):
    try:
        log.append(await last_wish("wish"))
        log.append(await effect("never"))
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()
        log.append("told")
    return log, await effect("after")


@playbook
async def returns_at_once(log):
    log.append(await last_wish("wish"))
    return "never seen"


async def around(playbook_, log):
    await effect("around")
    return await playbook_(log)


@playbook
async def told_in_a_gather(inner):
    log = []
    return log, await asyncio.gather(effect("beside", turns=3), inner(log), return_exceptions=True)


@playbook
async def told_in_a_helper_of_a_gather(inner):
    log = []
    return log, await asyncio.gather(effect("beside", turns=3), around(inner, log), return_exceptions=True)


@playbook
async def told_in_a_task(inner):
    log = []
    task = asyncio.create_task(inner(log))
    found = await effect("beside", turns=3)
    return log, found, await asyncio.gather(task, return_exceptions=True)


@playbook
async def told_in_a_helper_of_a_task(inner):
    log = []
    task = asyncio.create_task(around(inner, log))
    found = await effect("beside", turns=3)
    return log, found, await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("inner", [goes_on, returns_at_once])
@pytest.mark.parametrize(
    "case", [told_in_a_gather, told_in_a_helper_of_a_gather, told_in_a_task, told_in_a_helper_of_a_task]
)
def test_who_was_cancelled_and_not_told_is_told_after_a_resume(case, inner):
    plain = asyncio.run(case(inner))
    expected, resumed = kill_everywhere(case, inner)
    assert repr(expected.value) == repr(plain)
    assert [repr(outcome.value) for _, outcome in resumed] == [repr(plain)] * len(resumed)


# --- plain code whose tasks asyncio makes in no order ---

RUNS: list[None] = []


async def shown(x):
    return x, await leaf(x)


async def as_they_end(*values):
    """Coroutines at other addresses in each run, so that a set has them in another order."""
    RUNS.append(None)
    made = {value: shown(value) for value in (values if len(RUNS) % 2 else reversed(values))}
    found = []
    for ended in asyncio.as_completed([made[value] for value in values]):
        found.append(await ended)
    return sorted(found)


@playbook
async def ends_of_plain_code():
    return await as_they_end(1, 2, 3), await asyncio.gather(as_they_end(4, 5, 6, 7), as_they_end(8))


def test_tasks_of_as_completed_in_plain_code_are_found_again():
    for _ in range(3):
        assert isinstance(same_everywhere(ends_of_plain_code), Completed)


# --- what plain code cancels while it cleans up ---


@playbook
async def cleans_up(log):
    try:
        await effect("working")
        await asyncio.Event().wait()
    finally:
        log.append(await effect("cleaning"))
        log.append(await effect("cleaned"))


@playbook
async def in_wait_for():
    log = []
    try:
        await asyncio.wait_for(cleans_up(log), 0.002)
    except TimeoutError:
        log.append(await effect("too late"))
    return log


async def plain_timeout(log):
    try:
        async with asyncio.timeout(0.002):
            await cleans_up(log)
    except TimeoutError:
        return await effect("too late")


@playbook
async def in_a_helpers_timeout():
    log = []
    return await plain_timeout(log), log


async def plain_canceller(log):
    task = asyncio.ensure_future(cleans_up(log))
    for _ in range(9):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"


@playbook
async def by_a_helper():
    log = []
    return await plain_canceller(log), log


@playbook
async def ends(log):
    try:
        await asyncio.Event().wait()
    finally:
        log.append("ended")


@playbook
async def busy():
    for n in range(12):
        await effect(("busy", n))


@playbook
async def beside_others(waiting):
    """Others go on while a wait_for waits for the end of what it has cancelled: there are checkpoints in between."""
    log = []
    others = [asyncio.create_task(busy()) for _ in range(3)]
    try:
        await asyncio.wait_for(waiting(log), 0.002)
    except TimeoutError:
        log.append(await effect("too late"))
    await asyncio.gather(*others)
    return log


@playbook
async def a_gather_beside_others():
    log = await beside_others(lambda log: asyncio.gather(ends(log), cleans_up(log)))
    return sorted(log)  # the gather has ended with the first of them, and its timeout begins anew


@playbook
async def a_task_beside_others():
    return await beside_others(lambda log: asyncio.create_task(cleans_up(log)))


@playbook
async def a_held_task_in_a_wait_for():
    log = []
    others = [asyncio.create_task(busy()) for _ in range(3)]
    task = asyncio.create_task(cleans_up(log))
    try:
        await asyncio.wait_for(task, 0.002)
    except TimeoutError:
        log.append(await effect("too late"))
    await asyncio.gather(*others)
    return log, task.cancelled()


CLEANS_UP = [
    in_wait_for,
    in_a_helpers_timeout,
    by_a_helper,
    a_gather_beside_others,
    a_task_beside_others,
    a_held_task_in_a_wait_for,
]


@pytest.fixture
def clock(monkeypatch):
    """The time of a loop goes on as it turns: what a timeout interrupts does not depend on the machine."""
    ticks = itertools.count()
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda loop: next(ticks) / 10_000)


@pytest.mark.parametrize("case", CLEANS_UP, ids=lambda p: p.__name__)
def test_who_was_cancelled_by_plain_code_cleans_up_once(case, clock):
    assert isinstance(same_everywhere(case), Completed)
