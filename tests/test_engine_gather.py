"""`asyncio.gather` in playbooks, and plain coroutines between playbooks that use whatever asyncio offers."""

from __future__ import annotations

import asyncio
import random
import sys
import types
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Blocked, Completed, Failed, matching

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, run, same_everywhere, start, to_end  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

STARTED: list[object] = []
CHANCE = random.Random(7)


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
async def leaf(x):
    y = await effect(("leaf", x, 1), x + 1)
    return await effect(("leaf", x, 2), y * 2)


# --- shapes of gather ---


@playbook
async def nested_gathers():
    return await asyncio.gather(
        asyncio.gather(leaf(1), leaf(2)),
        asyncio.gather(leaf(3), asyncio.gather(leaf(4), effect("plain", turns=3))),
        leaf(5),
    )


@playbook
async def kept_calls():
    table = {n: leaf(n) for n in range(3)}
    spare = leaf(99)
    await effect("between")
    first = await asyncio.gather(table[0], table[2])
    again = await table[1]
    await effect("after")
    del spare
    return first, again


@playbook
async def same_call_twice():
    call = leaf(1)
    both = await asyncio.gather(call, call)
    return both


@playbook
async def never_awaited():
    leaf(1)
    kept = leaf(2)
    await effect("one")
    await effect("two")
    return kept is not None


@playbook
async def mixed_with_kept_calls():
    calls = [leaf(1), leaf(2)]
    found = await asyncio.gather(effect("a", turns=5), *calls, effect("b", turns=2), leaf(3))
    return found, await asyncio.gather(*[leaf(n) for n in (4, 5)], return_exceptions=True)


@playbook
async def empty():
    return await asyncio.gather(), await asyncio.gather(*[leaf(n) for n in ()], return_exceptions=True)


@playbook
async def branches_in_branches(depth):
    if depth == 0:
        return await effect(("deep", depth))
    return await asyncio.gather(branches_in_branches(depth - 1), branches_in_branches(depth - 1), leaf(depth))


@playbook
async def top_branches():
    return await branches_in_branches(2)


@playbook
async def in_a_comprehension():
    return [await asyncio.gather(leaf(n), leaf(n + 1)) for n in range(2)]


async def failing_effect(name, turns):
    await effect(name, turns=turns)
    raise ValueError(name)


@playbook
async def failing(name, turns):
    await effect(name, turns=turns)
    raise ValueError(name)


@playbook
async def errors_returned():
    found = await asyncio.gather(
        failing("a", 1), leaf(1), failing_effect("b", 4), effect("c", turns=6), return_exceptions=True
    )
    await effect("after")
    return [str(one) for one in found]


@playbook
async def first_error_caught():
    seen = []
    try:
        await asyncio.gather(failing("a", 2), counting(seen, 6))
    except ValueError as error:
        seen.append(str(error))
        await effect("in the handler", turns=2)
        await effect("in the handler, again", turns=30)
    return sorted(map(str, seen))


@playbook
async def counting(seen, turns):
    for n in range(turns):
        seen.append(await effect(("counting", n)))


@playbook
async def plain_sibling_goes_on():
    try:
        await asyncio.gather(failing("a", 1), effect("slow", turns=12))
    except ValueError:
        await effect("in the handler")
    await effect("after")
    return "end"


@playbook
async def shares(shared, name, turns):
    for n in range(turns):
        shared.setdefault(name, []).append(await effect((name, n), turns=turns))
    return shared


@playbook
async def sharing():
    shared = {}
    found = await asyncio.gather(*[shares(shared, name, n) for n, name in enumerate("abc", 1)])
    return all(one is shared for one in found), shared


SHAPES = [
    nested_gathers,
    kept_calls,
    same_call_twice,
    never_awaited,
    mixed_with_kept_calls,
    empty,
    top_branches,
    in_a_comprehension,
    errors_returned,
    first_error_caught,
    plain_sibling_goes_on,
    sharing,
]


@pytest.mark.parametrize("case", SHAPES, ids=lambda p: p.__name__)
def test_killed_at_every_await_a_gather_ends_the_same(case):
    outcome = same_everywhere(case) if case is not empty else start(case)
    STARTED.clear()
    if case is not same_call_twice:
        assert outcome == Completed(asyncio.run(case()))


@pytest.mark.parametrize("case", SHAPES, ids=lambda p: p.__name__)
def test_a_gather_leaves_nothing_behind(case):
    async def main():
        assert isinstance(await Agent("a", persist=Store().persist).start(case), Completed)

    to_end(main())


# --- batches ---


@playbook
async def one_step(n):
    return await effect(n, n)


@playbook
async def a_hundred():
    return sum(await asyncio.gather(*[one_step(n) for n in range(100)]))


def test_branches_that_complete_in_one_turn_share_their_checkpoints():
    store = Store()
    assert start(a_hundred, store=store) == Completed(4950)
    assert len(store.payloads) <= 4  # the effects, the ends of the branches, the gather


def test_completions_during_a_write_share_the_next_checkpoint():
    async def main():
        moments = []

        async def persist(moment, payload):
            moments.append(moment)
            for _ in range(50):
                await asyncio.sleep(0)

        agent = Agent("a", persist=persist)
        assert await agent.start(uneven) == Completed(sum(range(20)))
        assert len(moments) < 10

    to_end(main())


@playbook
async def waits_and_steps(n):
    return await effect(n, n, turns=n + 1)


@playbook
async def uneven():
    return sum(await asyncio.gather(*[waits_and_steps(n) for n in range(20)]))


def test_a_hundred_branches_resume():
    store = Store()
    start(a_hundred, store=store)
    for payload in store.payloads:
        STARTED.clear()
        assert resume(payload) == Completed(4950)
    assert not STARTED  # the last one knows everything


# --- calls awaited twice ---


@playbook
async def awaits_one(call):
    return await call


@playbook
async def two_wait_for_one():
    call = leaf(1)
    found = await asyncio.gather(awaits_one(call), awaits_one(call), return_exceptions=True)
    await effect("after")
    return [str(one) if isinstance(one, Exception) else one for one in found], await call


def test_a_call_that_two_await_at_once_fails_for_the_second_only():
    outcome = start(two_wait_for_one)
    assert isinstance(outcome, Completed)
    (first, second), again = outcome.value
    assert first == again == 4 and "awaited twice" in second


# --- plain coroutines between playbooks ---


async def random_waits(name, value):
    for _ in range(CHANCE.randrange(6)):
        await asyncio.sleep(0)
    first = await leaf(value)
    for _ in range(CHANCE.randrange(6)):
        await asyncio.sleep(0)
    return name, first, await leaf(first)


@playbook
async def helpers_that_wait():
    return await asyncio.gather(*[random_waits(name, n) for n, name in enumerate("abcd")])


async def inner_gather(n):
    found = await asyncio.gather(leaf(n), leaf(n + 1), random_waits("inner", n))
    return found, await leaf(n)


async def inner_tasks(n):
    one = asyncio.create_task(leaf(n))
    two = asyncio.create_task(random_waits("task", n))
    await asyncio.sleep(0)
    return await one, await two


async def inner_wait_for(n):
    return await asyncio.wait_for(leaf(n), 30), await asyncio.wait_for(random_waits("wait_for", n), 30)


async def inner_group(n):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(leaf(n + i)) for i in range(2)]
        tasks.append(group.create_task(random_waits("group", n)))
    return [task.result() for task in tasks]


async def inner_timeout(n):
    async with asyncio.timeout(30):
        return await leaf(n)


async def inner_shield(n):
    return await asyncio.shield(leaf(n))


async def inner_completed(n):
    return sorted([await one for one in asyncio.as_completed([leaf(n), leaf(n + 3)])])


HELPERS = [inner_gather, inner_tasks, inner_wait_for, inner_group, inner_timeout, inner_shield, inner_completed]


@playbook
async def with_helper(which):
    one = await HELPERS[which](1)
    both = await asyncio.gather(HELPERS[which](2), leaf(9), HELPERS[which](3))
    return one, both, await effect("end")


def test_helpers_that_wait_random_times_find_their_calls_again():
    for _ in range(5):
        same_everywhere(helpers_that_wait)


@pytest.mark.parametrize("which", range(len(HELPERS)), ids=[helper.__name__ for helper in HELPERS])
def test_a_helper_may_use_all_of_asyncio_around_playbooks(which):
    same_everywhere(with_helper, which)


# --- timeouts and cancellations in helpers ---


@playbook
async def endless(n):
    await effect(("endless", n))
    await asyncio.get_running_loop().create_future()


async def times_out(n):
    try:
        await asyncio.wait_for(endless(n), 0.01)
    except TimeoutError:
        return "timed out", await leaf(n)


async def times_out_too(n):
    try:
        async with asyncio.timeout(0.01):
            await endless(n)
    except TimeoutError:
        return "timed out", await leaf(n)


async def cancels_a_task(n):
    task = asyncio.create_task(endless(n))
    await effect("look")
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled", await leaf(n)


async def group_fails(n):
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(endless(n))
            group.create_task(failing("group", 3))
    except* ValueError as errors:
        caught = str(errors.exceptions[0])
    return caught, await leaf(n)


CANCELLING = [times_out, times_out_too, cancels_a_task, group_fails]


@playbook
async def with_cancelling(which):
    one = await CANCELLING[which](1)
    return one, await asyncio.gather(CANCELLING[which](2), leaf(5))


@pytest.mark.parametrize("which", range(len(CANCELLING)), ids=[helper.__name__ for helper in CANCELLING])
def test_a_playbook_cancelled_by_a_helper_is_cancelled_after_a_resume_too(which):
    outcome = same_everywhere(with_cancelling, which)
    assert isinstance(outcome, Completed)


# --- mismatches ---

FLIP = {"value": 0}


async def other_arguments():
    try:
        return await leaf(FLIP["value"])
    except BaseException:
        STARTED.append("caught")
        return "swallowed"


async def other_playbook():
    try:
        return await (leaf(1) if FLIP["value"] == 0 else one_step(1))
    except BaseException:
        STARTED.append("caught")
        return "swallowed"


async def no_call():
    return await leaf(1) if FLIP["value"] == 0 else "no call"


@playbook
async def flips_arguments():
    try:
        return await other_arguments()
    except BaseException:
        STARTED.append("handler")
    finally:
        STARTED.append("finally")


@playbook
async def flips_playbook():
    return await other_playbook()


@playbook
async def flips_call():
    return await no_call()


@pytest.mark.parametrize("case", [flips_arguments, flips_playbook, flips_call], ids=lambda p: p.__name__)
def test_a_helper_that_makes_another_call_blocks_the_agent(case):
    FLIP["value"] = 0
    store = Store()
    start(case, store=store)
    try:
        FLIP["value"] = 1
        outcome = resume(store.payloads[0])
    finally:
        FLIP["value"] = 0
    assert isinstance(outcome, Blocked), outcome
    assert "leaf" in outcome.why and "test_engine_gather.py" in outcome.why and "same" in outcome.why
    assert "handler" not in STARTED and "finally" not in [one for one in STARTED if one == "finally"][1:]


class Plain:
    def __init__(self, tags):
        self.tags = tags
        self.me = self


@playbook
async def takes(thing, items, function):
    await effect("one")
    items.append(1)
    if thing is not None:
        thing.tags.add(f"more{len(items)}")
    await effect("two")
    return len(items), function(2), sorted(thing.tags)


async def fresh_arguments():
    return await takes(Plain({"a", "b", "c", "d", "e"}), [], lambda x: x + 1)


@playbook
async def mutates():
    items = [0]
    thing = Plain({"x"})
    one = await passes(thing, items)
    return one, await fresh_arguments(), len(items)


async def passes(thing, items):
    return await takes(thing, items, len_of) if items else None


def len_of(x):
    return x


def test_arguments_that_the_playbook_mutates_are_no_mismatch():
    async def in_process():
        return await Agent("a", persist=Store().persist).start(mutates)

    assert isinstance(run(in_process()), Completed)
    assert isinstance(same_everywhere(mutates_fresh), Completed)


@playbook
async def grows(state, items, tag):
    items.append(await effect((tag, 1)))
    state["more"] = await effect((tag, 2))
    state = None
    items.append(await effect((tag, 3)))
    return len(items)


async def passes_on(state, items, tag):
    await effect(("wait", tag), turns=2)
    thing = Plain(items)
    grown = await grows(state, items, tag)
    return grown, await takes_all({"fresh": [items, thing], "state": state}, tag), thing.tags


@playbook
async def takes_all(everything, tag):
    items, thing = everything["fresh"]
    everything["state"][tag] = await effect((tag, 4))
    everything["own"] = await effect((tag, 5))
    thing.new = items.append(await effect((tag, 6)))
    return len(items), sorted(map(str, everything["state"]))


@playbook
async def shared_with_helpers():
    state, items = {}, [0]
    one = await passes_on(state, items, "a")
    return one, await asyncio.gather(passes_on({}, [], "b"), passes_on({}, [], "c")), state, items


def test_what_a_helper_passes_may_be_changed_by_the_playbook_that_gets_it():
    assert isinstance(same_everywhere(shared_with_helpers), Completed)


@playbook
async def mutates_fresh():
    return await fresh_arguments(), await asyncio.gather(fresh_arguments(), fresh_arguments())


def fit(made_with, made_again):
    return matching._alike(made_again, matching._then(matching.given(made_with)), None, set())


def test_arguments_are_compared_by_what_they_say():
    words = [f"word {n}" for n in range(50)]
    one, two = Plain(set(words)), Plain(set(reversed(words)))
    shared = ["x"]
    same = [
        ((one, [shared, shared]), (two, [["x"], ["x"]])),
        ((float("nan"), {"k": one}), (float("nan"), {"k": two})),
        ((Plain([one]),), (Plain([two]),)),
    ]
    for first, second in same:
        assert fit(first, second)
    for first, second in [
        ((1,), (2,)),
        ((Plain({1}),), (Plain({2}),)),
        (([1],), ((1,),)),
        ((Plain([1]),), (Plain([]),)),
    ]:
        assert not fit(first, second)


# --- tasks whose maker has ended ---


async def calls_later(log):
    await effect("wait", turns=3)
    try:
        await leaf(1)
    except Exception as error:
        log.append(str(error))


@playbook
async def makes_a_task(log):
    asyncio.create_task(calls_later(log))
    return await effect("made")


@playbook
async def ends_before_its_task():
    log = []
    await makes_a_task(log)
    await effect("long", turns=9)
    return log


def test_a_playbook_called_from_a_task_whose_maker_has_ended_is_an_error_at_that_call():
    outcome = same_everywhere(ends_before_its_task)
    (said,) = outcome.value
    assert "leaf was called from a task whose maker" in said and "has ended" in said and "await the task" in said


def spawn(coroutine):
    return asyncio.get_running_loop().create_task(coroutine)


@playbook
async def spawned_by_a_function():
    task = spawn(effect("spawned", turns=5))
    await effect("one")
    return await task


def test_a_task_that_an_ordinary_function_makes_for_a_playbook_is_a_branch():
    assert same_everywhere(spawned_by_a_function) == Completed("spawned")


@types.coroutine
def generated():
    yield from effect("generated", turns=9).__await__()


@playbook
async def not_describable():
    task = spawn(generated())
    await effect("one")
    return await task


def test_a_task_that_cannot_be_made_again_is_an_error_that_names_the_line():
    outcome = start(not_describable)
    assert isinstance(outcome, Failed)
    assert "test_engine_gather.py" in str(outcome.error) and "async def" in str(outcome.error)


async def leaves_a_task():
    task = asyncio.create_task(one_step("background"))
    await effect("foreground")
    return task is not None


@playbook
async def with_background():
    await leaves_a_task()
    for n in range(5):
        await effect(("on", n))
    return "end"


def test_a_call_that_a_helper_leaves_running_goes_on():
    assert same_everywhere(with_background) == Completed("end")


# --- agents beside and inside each other ---


async def runs_an_agent(n):
    return await Agent(f"inner{n}", persist=Store().persist).start(leaf, [n])


@playbook
async def with_inner_agent():
    one = await runs_an_agent(1)
    two = await asyncio.gather(leaf(1), runs_an_agent(2))
    return one.value, two[0], two[1].value


def test_an_agent_may_run_inside_an_effect_of_another():
    assert same_everywhere(with_inner_agent) == Completed((4, 4, 6))


def test_agents_of_one_loop_do_not_mix():
    async def main():
        stores = [Store() for _ in range(10)]
        found = await asyncio.gather(
            *[Agent(f"a{n}", persist=stores[n].persist).start(with_helper, [n % len(HELPERS)]) for n in range(10)]
        )
        alone = [await Agent("x", persist=Store().persist).start(with_helper, [n % len(HELPERS)]) for n in range(10)]
        assert [f.value[2] for f in found] == [f.value[2] for f in alone]
        assert found[1] == alone[1]
        for store in stores:
            assert [moment.seq for moment in store.moments] == list(range(1, len(store.moments) + 1))

    to_end(main())


def test_outside_an_agent_a_playbook_is_an_ordinary_coroutine_function():
    async def main():
        assert await leaf(1) == 4
        assert await asyncio.gather(leaf(1), leaf(2)) == [4, 6]
        assert await asyncio.create_task(leaf(3)) == 8
        assert await Agent("a", persist=Store().persist).start(leaf, [1]) == Completed(4)
        assert await leaf(1) == 4

    to_end(main())
