"""What asyncio's tasks, timeouts and groups know beside their outcome: callbacks, messages, counts, deadlines."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from pathlib import Path

import pytest

from playbooks_worker import NotRestoredError, playbook
from playbooks_worker.engine import Agent, Completed, Stopped

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import snippets  # noqa: E402
from harness import Store, kill_everywhere, resume, same_everywhere, start, to_end  # noqa: E402

LOG: list[object] = []


@pytest.fixture(autouse=True)
def fresh_log():
    LOG.clear()


async def effect(name, turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)
    return name


@playbook
async def leaf(n, turns=1):
    return await effect(n, turns) + await effect(1, turns)


@playbook
async def tidies(name):
    """Ends only by a cancellation, after which it has things to do."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError as error:
        await effect(("one", name), 2)
        await effect(("two", name), 2)
        raise error


def killed_again_and_again(case, times):
    """The outcome when each resumed run is the next victim, at its first checkpoint."""
    store = Store(1)
    outcome = start(case, store=store)
    for _ in range(times):
        if outcome is not None:
            break
        victim = Store(1)
        outcome = resume(store.payloads[-1], victim)
        store = victim
    return outcome if outcome is not None else resume(store.payloads[-1])


# --- callbacks -----------------------------------------------------------------------------------------------------------


@playbook
async def in_the_background():
    """As asyncio's own documentation does it."""
    tasks = set()
    for n in range(3):
        task = asyncio.create_task(leaf(n, n + 1) if n else effect("plain", 4))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await effect(n)
    while tasks:
        await asyncio.wait(tasks, timeout=5)
        if any(task.done() for task in tasks):
            return "a task that has ended was not discarded"
    return "all done"


@playbook
async def told_by_a_closure():
    found = []
    first = asyncio.create_task(leaf(1))
    second = asyncio.create_task(effect(2, 3))

    def note(task):
        found.append(task.result())

    def never(task):
        found.append("never")

    for task in (first, second):
        task.add_done_callback(note)
        task.add_done_callback(never)
        task.remove_done_callback(never)
    await effect("wait")
    await first
    await second
    await effect("after")
    return sorted(found)


@pytest.mark.parametrize("case", [in_the_background, told_by_a_closure], ids=lambda p: p.__name__)
def test_what_a_program_wants_called_when_a_task_ends_is_called_after_a_resume_too(case):
    expected = Completed(asyncio.run(case()))
    assert same_everywhere(case) == expected


@playbook
async def notes_its_end():
    task = asyncio.create_task(tidies("task"))
    task.add_done_callback(lambda done: LOG.append(done.result()))
    await effect("one")
    await effect("two", 9)
    return "never"


def test_a_stop_calls_no_callback_of_the_program():
    async def main():
        store = Store()
        agent = Agent("a", persist=store.persist)
        agent.stop_at_checkpoint("drain")
        assert isinstance(await agent.start(notes_its_end), Stopped)

    to_end(main())
    assert LOG == []


@playbook
async def ends_before_its_callback(found):
    task = asyncio.create_task(effect("first", 6))
    task.add_done_callback(lambda _: found.append(asyncio.create_task(effect("from a callback"))))
    await effect("end")
    return task


@playbook
async def starts_a_task_in_a_callback():
    found = []
    await (await ends_before_its_callback(found))
    await asyncio.sleep(0)
    return await found[0]


def test_a_callback_may_start_a_task_when_the_playbook_that_added_it_has_ended():
    store = Store()
    assert start(starts_a_task_in_a_callback, store=store) == Completed("from a callback")
    assert resume(store.payloads[0]) == Completed("from a callback")


# --- a stop makes no noise -----------------------------------------------------------------------------------------------


async def fails():
    raise LookupError("plain")


@playbook
async def fails_too():
    raise LookupError("playbook")


@playbook
async def looks_later():
    tasks = [asyncio.create_task(fails()), asyncio.create_task(fails_too())]
    await effect("one", 9)
    await effect("two")
    return [str(task.exception()) for task in tasks]


def test_a_stop_says_nothing_of_errors_that_the_program_has_not_looked_at_yet():
    whole = Store()
    assert start(looks_later, store=whole) == Completed(["plain", "playbook"])
    for number in range(1, len(whole.payloads) + 1):

        async def main(number=number):
            store = Store()

            def persist(moment, payload):
                if len(store.payloads) + 1 == number:
                    agent.stop_at_checkpoint("drain")
                return store.persist(moment, payload)

            agent = Agent("a", persist=persist)
            assert isinstance(await agent.start(looks_later), Stopped)
            return store.payloads[-1]

        assert resume(to_end(main())) == Completed(["plain", "playbook"])


# --- what a cancellation says, and how often -------------------------------------------------------------------------------


@playbook
async def hears(turns):
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError as error:
        await effect("tidy", turns)
        return error.args


@playbook
async def with_messages():
    heard = asyncio.create_task(hears(3))
    ended = asyncio.create_task(tidies("ended"))
    group = asyncio.create_task(in_a_group())
    await effect("begin", 6)
    for task in (heard, ended, group):
        task.cancel("enough")
    found = [await heard]
    for task in (ended, group):
        try:
            await task
        except asyncio.CancelledError as error:
            found.append(error.args)
            await effect("in the handler")
    return found


@playbook
async def in_a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(tidies("in a group"))
        await effect("body")


def test_a_cancellation_says_after_a_resume_what_it_said_before():
    assert same_everywhere(with_messages) == Completed([("enough",)] * 3)
    assert killed_again_and_again(with_messages, 30) == Completed([("enough",)] * 3)


@playbook
async def counts():
    seen = []
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        seen.append(asyncio.current_task().cancelling())
        await effect("tidy", 2)
        seen.append(asyncio.current_task().cancelling())
        seen.append(asyncio.current_task().uncancel())
        await effect("tidy", 2)
        seen.append(asyncio.current_task().cancelling())
    return seen


@playbook
async def counted():
    task = asyncio.create_task(counts())
    both = asyncio.gather(counts(), counts())
    await effect("begin", 3)
    task.cancel()
    both.cancel()
    found = [await task]
    try:
        await both
    except asyncio.CancelledError:
        found.append("gather")
    asyncio.current_task().cancel()
    try:
        await effect("cancelled")
    except asyncio.CancelledError:
        found.append([await effect(1), asyncio.current_task().cancelling(), asyncio.current_task().uncancel()])
    await effect("end")
    return found, asyncio.current_task().cancelling()


def test_a_task_knows_after_a_resume_how_often_it_was_cancelled():
    expected = Completed(asyncio.run(counted()))
    assert expected == Completed(([[1, 1, 0, 0], "gather", [1, 1, 0]], 0))
    assert same_everywhere(counted) == expected


@playbook
async def shown():
    task = asyncio.create_task(leaf(1))
    await effect("meanwhile", 9)
    return f"{task!r}"


def test_a_task_is_shown_with_the_name_of_its_playbook():
    outcome = start(shown)
    assert isinstance(outcome, Completed)
    assert "coro=<leaf()> result=2" in outcome.value


@playbook
async def looks_at_an_ended_task():
    ended = asyncio.create_task(leaf(1))
    await effect("meanwhile", 9)
    match ended:
        case asyncio.Task():
            return isinstance(ended, asyncio.Task), asyncio.isfuture(ended), ended.done(), await ended


def test_a_task_that_has_ended_is_a_task_after_a_resume():
    """Seed 32001199."""
    assert same_everywhere(looks_at_an_ended_task) == Completed((True, True, True, 2))


@playbook
async def tidies_twice():
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        try:
            await effect("first")
            await asyncio.sleep(0.1)
        finally:
            await effect("second")
            await effect("third")


@playbook
async def out_of_time():
    try:
        async with asyncio.timeout(0.02):
            await tidies_twice()
    except TimeoutError:
        return "timed out"


@playbook
async def cancelled_and_out_of_time():
    task = asyncio.create_task(out_of_time())
    await effect("begin", 3)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return await effect("cancelled")


def test_a_timeout_does_not_swallow_a_cancellation_that_came_before_the_crash():
    assert asyncio.run(cancelled_and_out_of_time()) == "cancelled"
    assert same_everywhere(cancelled_and_out_of_time) == Completed("cancelled")


@playbook
async def group_in_time():
    try:
        async with asyncio.timeout(0.02), asyncio.TaskGroup() as group:
            task = group.create_task(tidies("task"))
            await effect("body")
    except TimeoutError:
        return await effect("timed out"), task.cancelled()


def test_a_group_that_was_cancelled_as_it_waited_knows_that_after_several_crashes():
    assert same_everywhere(group_in_time) == Completed(("timed out", True))
    assert killed_again_and_again(group_in_time, 30) == Completed(("timed out", True))


@playbook
async def fails_late():
    await effect("begin", 2)
    raise LookupError("of its own")


@playbook
async def group_fails():
    async with asyncio.TaskGroup() as group:
        group.create_task(tidies("sibling"))
        group.create_task(fails_late())
        await effect("body")


@playbook
async def group_fails_and_is_cancelled():
    task = asyncio.create_task(group_fails())
    await effect("begin", 9)
    task.cancel()
    try:
        await task
    except* LookupError as errors:
        found = len(errors.exceptions)
    await effect("end")
    return found, task.cancelled()


def test_an_error_of_a_task_goes_before_the_cancellation_that_came_as_it_ended():
    """From Python 3.13 on a group that fails passes a cancellation on to what comes after it."""
    assert asyncio.run(group_fails_and_is_cancelled()) == (1, False)
    assert same_everywhere(group_fails_and_is_cancelled) == Completed((1, False))


# --- deadlines -----------------------------------------------------------------------------------------------------------


@playbook
async def rescheduled():
    found = []
    try:
        async with asyncio.timeout(None) as limit:
            await effect("in")
            limit.reschedule(asyncio.get_running_loop().time() + 0.02)
            await effect("rescheduled")
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        found.append(await effect("timed out"))
    async with asyncio.timeout(0.02) as limit:
        limit.reschedule(None)
        await effect("without")
        await asyncio.sleep(0.04)
    return found, limit.expired(), limit.when()


@playbook
async def at_a_time():
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + 0.02):
            await effect("one")
            await effect("two")
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        return await effect("timed out")


@playbook
async def made_before():
    limit = asyncio.timeout(0.2)
    found = [await effect("made"), limit.when() > asyncio.get_running_loop().time()]
    try:
        async with limit:
            found.append("in")
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        return found, await effect("timed out"), limit.expired()


@playbook
async def rests(found, n):
    found.append((n, "begins"))
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        found.append((n, "ends"))


@playbook
async def one_after_another():
    """Before the second is entered, what the handler of the first has done is written."""
    found = []
    for n in range(2):
        try:
            async with asyncio.timeout(0.1):
                await asyncio.gather(rests(found, n))
        except TimeoutError:
            found.append((n, "timed out"))
    return found


@pytest.mark.parametrize("clocks", [(10_000.0, 0.0), (0.0, 10_000.0)], ids=["behind", "ahead"])
@pytest.mark.parametrize("case", [rescheduled, at_a_time, made_before, one_after_another], ids=lambda p: p.__name__)
def test_a_deadline_goes_with_the_agent_to_a_host_whose_clock_is_another(case, clocks, monkeypatch):
    """Seed 20262475: a timeout that was made and not entered yet came back with the deadline of the clock that it was made
    by, and what it was to limit never began."""
    expected = Completed(asyncio.run(case()))
    hosts = [0.0]
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda _: time.monotonic() + hosts[0])

    def first():
        hosts[0] = clocks[0]

    def another():
        hosts[0] = clocks[1]

    assert same_everywhere(case, reset=first, between=another) == expected


class Slow:
    async def __aenter__(self):
        await asyncio.sleep(0.1)

    async def __aexit__(self, *raised):
        pass


@playbook
async def opens_slowly():
    async with Slow():
        await asyncio.sleep(0.4)


@playbook
async def soon_out_of_time():
    task = asyncio.create_task(opens_slowly())
    await asyncio.sleep(0.12)
    seen = []
    try:
        async with asyncio.timeout(0.05):
            seen.append(await effect("a"))
            try:
                seen.append(await effect("b"))
                await asyncio.sleep(1)
            finally:
                seen.append(await effect("c"))
    except TimeoutError:
        seen.append("timed out")
    await task
    return seen


def test_what_was_recorded_is_seen_also_when_time_is_up_before_all_headers_are_entered_again():
    store = Store()
    expected = start(soon_out_of_time, store=store)
    assert expected == Completed(["a", "b", "c", "timed out"])
    b_done = next(n for n, m in enumerate(store.moments) if 'effect(\\"b\\")' in m.stack_json)
    assert resume(store.payloads[b_done]) == expected


async def cancels_itself():
    asyncio.current_task().cancel()
    await effect("told")


@playbook
async def is_told_once(seen, turns):
    """Handles one cancellation; a second one ends it."""
    await effect("first", turns)
    try:
        await cancels_itself()
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()
        await effect("handles", 3)
        await effect("goes on", 3)
        seen.append("handled")


@playbook
async def beside(turns):
    for n in range(8):
        await effect(n, turns)


async def deep(n):
    """Comes back late: its tasks are made again one by one."""
    await (asyncio.create_task(deep(n - 1)) if n else beside(1))


@playbook
async def told_in_a_group(turns):
    """Many checkpoints, one of them between the cancellation and its telling."""
    seen = []
    async with asyncio.TaskGroup() as group:
        for others in range(4):
            group.create_task(beside(others))
        group.create_task(is_told_once(seen, turns))
        await deep(5)
    return seen


@pytest.mark.parametrize("turns", range(6))
def test_a_task_of_a_group_that_its_own_plain_code_cancels_is_told_once(turns):
    """Seed 61263. Given a task of an open group that its own plain code cancels, When the agent is killed before the task is
    told, Then it is cancelled by that code, which runs again, and not by the resume as well."""
    assert same_everywhere(told_in_a_group, turns) == Completed(["handled"])


# --- made before their `async with` ---
MADE_BEFORE = {
    "a timeout": """
        limit = asyncio.timeout(100)
        await effect("one")
        async with limit:
            await effect("two")
            limit.reschedule(asyncio.get_running_loop().time() + 50)
            await effect("three")
        return limit.expired(), await effect("four")
    """,
    "a timeout that expires": """
        limits = [asyncio.timeout(0)]
        try:
            async with limits[0]:
                try:
                    await asyncio.sleep(10)
                finally:
                    await effect("one")
        except TimeoutError:
            await effect("two")
        return limits[0].expired()
    """,
    "a group": """
        group = asyncio.TaskGroup()
        await effect("one")
        async with group:
            task = group.create_task(leaf("a"))
        return task.result(), await effect("two")
    """,
    "a group whose child fails": """
        group = asyncio.TaskGroup()
        try:
            async with group:
                group.create_task(broken(1))
        except* Exception:
            note("failed")
        return await effect("three")
    """,
    "two, of which one holds the other": """
        limit = asyncio.timeout(100)
        async with asyncio.TaskGroup() as group, limit:
            task = group.create_task(leaf("a"))
            held = limit, group
            await task
        return held[0] is limit, held[1] is group
    """,
}


@pytest.mark.parametrize("name", MADE_BEFORE)
def test_a_manager_of_asyncio_may_be_made_before_its_header(name, tmp_path):
    assert snippets.same(MADE_BEFORE[name], tmp_path)


# --- a callback that starts tasks ---


async def after_turns(value, turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


@playbook
async def one_after_the_other():
    found, tasks = [], set()

    def start_one(value, turns):
        task = asyncio.create_task(after_turns(value, turns))
        tasks.add(task)
        task.add_done_callback(done)

    def done(task):
        tasks.discard(task)
        found.append(task.result())
        if len(found) < 3:
            start_one(f"task {len(found)}", 1)

    start_one("first", 2)
    for _ in range(4):
        await after_turns(None, 1)
    while tasks:
        await asyncio.wait(set(tasks))
    return found


def test_a_task_that_a_callback_has_started_comes_back_with_its_own_callback():
    assert same_everywhere(one_after_the_other) == Completed(["first", "task 1", "task 2"])


SPOKEN = contextvars.ContextVar("SPOKEN", default="nothing")


@playbook
async def says_in_a_callback():
    heard = []

    async def says():
        SPOKEN.set("inside")

    SPOKEN.set("outside")
    task = asyncio.create_task(says())
    task.add_done_callback(lambda _: heard.append(SPOKEN.get()))
    await task
    return heard


def test_a_callback_runs_in_the_context_in_which_it_was_added():
    assert start(says_in_a_callback) == Completed(["outside"]) == Completed(asyncio.run(says_in_a_callback()))


# --- `async for` over `as_completed`, from Python 3.13 on ---


@playbook
async def counts_to(number):
    return [await after_turns(n, 1) for n in range(number)]


@playbook
async def as_they_complete():
    tasks = [asyncio.create_task(counts_to(number), name=f"to {number}") for number in (3, 1)]
    found = []
    async for task in asyncio.as_completed(tasks):
        found.append((task.get_name(), await task, task in tasks))
        await after_turns(None, 1)
    try:
        async for task in asyncio.as_completed([asyncio.sleep(9), after_turns("soon", 1)], timeout=0.05):
            found.append(await task)
            await after_turns(None, 1)
    except TimeoutError:
        found.append("too late")
    return found


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a generator before Python 3.13")
def test_async_for_over_as_completed_goes_on_with_those_that_have_not_been_seen():
    expected = [("to 1", [0], True), ("to 3", [0, 1, 2], True), "soon", "too late"]
    assert same_everywhere(as_they_complete) == Completed(expected)


@playbook
async def keeps_an_iterator():
    kept = asyncio.as_completed([after_turns("one", 1)])
    await after_turns(None, 3)
    return [await each for each in kept]


def test_an_as_completed_that_is_kept_is_an_error_after_a_resume_and_waits_for_nobody():
    expected, resumed = kill_everywhere(keeps_an_iterator)
    assert expected == Completed(["one"])
    assert isinstance(resumed[0][1].error, NotRestoredError)
