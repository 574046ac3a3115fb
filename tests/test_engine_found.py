"""Bugs that generated programs have found (tests/programs/fuzz.py), each as the smallest program that shows it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from types import MethodType

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from harness import same_everywhere

from playbooks_worker import playbook
from playbooks_worker.engine import Completed
from playbooks_worker.engine.replacing import replace


async def effect(value, *, cancels=False):
    await asyncio.sleep(0)
    if cancels:
        asyncio.current_task().cancel()
    return value


async def helper(made):
    await effect("before")
    return await made


@playbook
async def cancels_itself_last():
    """In plain Python the cancellation is raised at the next await."""
    seen = [await effect(1, cancels=True)]
    try:
        seen.append(await effect(2))
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()
        seen.append("cancelled")
    seen.append(await effect(3))
    return seen


@playbook
async def awaited():
    return await cancels_itself_last()


@playbook
async def below_a_helper():
    return await helper(cancels_itself_last())


@playbook
async def gathered():
    return (await asyncio.gather(effect(0), cancels_itself_last()))[1]


@playbook
async def gathered_below_a_helper():
    return (await asyncio.gather(effect(0), helper(cancels_itself_last())))[1]


@playbook
async def held():
    task = asyncio.create_task(cancels_itself_last())
    await effect(0)
    return await task


@playbook
async def answers(value):
    return await effect(value)


async def calls_before(made):
    await answers("before")
    await effect("between")
    return await made


@playbook
async def gathered_behind_another_call():
    return (await asyncio.gather(effect(0), calls_before(cancels_itself_last())))[1]


@playbook
async def waited_for():
    return await asyncio.wait_for(cancels_itself_last(), 30)


@playbook
async def waited_for_below_a_helper():
    return await asyncio.wait_for(helper(cancels_itself_last()), 30)


def test_an_effect_that_cancels_its_own_task_as_it_completes_is_told_once_after_every_crash():
    """Seeds 20261145, 20261155: saved between the completion and the next await, the cancellation was forgotten; 55: also
    where plain code had made the task, as `wait_for` does on Python 3.11; 161: a helper was told at an earlier call."""
    for case in (
        awaited,
        below_a_helper,
        gathered,
        gathered_below_a_helper,
        held,
        waited_for,
        waited_for_below_a_helper,
    ):
        assert same_everywhere(case) == Completed([1, "cancelled", 3])


@playbook
async def adds(value):
    return await effect(value) + await effect(1)


async def twice(value):
    one = await adds(value)
    two = await effect(one)
    return await adds(two)


async def late(value):
    for _ in range(3):
        await asyncio.sleep(0)
    return await adds(value)


@playbook
async def in_a_group():
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(twice(5))]
        tasks.append(group.create_task(late(6)))
    group = None
    return [task.result() for task in tasks]


@playbook
async def as_they_complete():
    found = []
    for each in asyncio.as_completed([adds(1), in_a_group()]):
        found.append(str(await each))
        await effect(2)
    return sorted(found)


def test_the_result_of_a_branch_that_had_ended_is_there_before_the_headers_of_others_have_been_entered():
    """`await each` of `as_completed` raised InvalidStateError while the group of another branch was being entered again."""
    assert same_everywhere(as_they_complete) == Completed(["2", "[7, 7]"])


def test_what_a_header_brings_replaces_its_placeholder_in_whatever_order_the_collector_tells_who_holds_that():
    """Seed 20261159: on Python 3.11 the replacing function itself held the placeholder, in a cell; found first, it forgot
    what to replace."""
    old, new = object.__new__(type("Old", (), {})), "new"
    holders = [{"name": old, old: 1}, [old], {old}, (old,), {"deep": [(old, 1)]}]
    replace(old, new)
    assert holders == [{"name": new, new: 1}, [new], {new}, (new,), {"deep": [(new, 1)]}]
    assert not replace.__code__.co_cellvars


# --- seeds 31481, 32181: a method of what a header brings, taken before its arguments were awaited ---


class Door:
    def __init__(self, name):
        self.name = name

    async def __aenter__(self):
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *raised):
        return None


def named(name):
    return name


async def one_more(n):
    await asyncio.sleep(0)
    return n


@playbook
async def enters_into_a_stack(n):
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(Door(named(await one_more(n))))
        again = await stack.enter_async_context(Door(named(n + 1)))
        await one_more(0)
        return door.name, again.name


@playbook
async def several_enter():
    return await asyncio.gather(*[enters_into_a_stack(n) for n in range(3)])


def test_a_bound_method_of_what_a_header_brings_is_bound_to_the_fresh_one():
    assert isinstance(same_everywhere(several_enter), Completed)
    old, new = object(), "new"
    held = [MethodType(len, old)]
    replace(old, new)
    assert held[0]() == 3 and held[0].__self__ is new


# --- seed 5274: a gather that is kept, and whose last child has ended in this turn ---


@playbook
async def kept_beside(turns):
    both = asyncio.gather(effect(1), several(turns), return_exceptions=True)
    for _ in range(6):
        await effect(0)
    return await both


async def several(turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    return "last"


def test_a_kept_gather_comes_back_also_in_the_turn_in_which_its_last_child_has_ended():
    for turns in range(1, 12):
        assert same_everywhere(kept_beside, turns) == Completed([1, "last"])


# --- seed 16073: a comprehension of nested coroutines, over a name that a nested function has, too ---


@playbook
async def gathers_nested_coroutines():
    async def local(n):
        return await effect(n)

    found = await asyncio.gather(*[local(n) for n in range(3)])
    for n in found:
        await effect(n)
    return found


def test_a_comprehension_that_is_evaluated_again_binds_its_own_variables():
    """On Python 3.12, which keeps them among those of the playbook, the first resume raised UnboundLocalError."""
    assert same_everywhere(gathers_nested_coroutines) == Completed([0, 1, 2])


# --- an iterator among the arguments of an effect that is in flight ---


async def takes_its_time(*values):
    for _ in range(6):
        await asyncio.sleep(0)
    return values


@playbook
async def spreads():
    numbers = iter([1, 2])
    held = {"letters": iter("ab")}
    one = await takes_its_time(*numbers)
    two = await takes_its_time(0, *held["letters"], last := 5)
    return one, two, await takes_its_time(*map(str, [3, 4])), last


@playbook
async def checkpoints():
    for n in range(15):
        await effect(n)


@playbook
async def spreads_beside_checkpoints():
    return (await asyncio.gather(spreads(), checkpoints()))[0]


def test_an_effect_that_is_issued_again_gets_what_an_iterator_gave_the_first_time():
    """It was issued again without these arguments."""
    expected = (1, 2), (0, "a", "b", 5), ("3", "4"), 5
    assert same_everywhere(spreads_beside_checkpoints) == Completed(expected)


# --- seed 74200224: the way not taken of a conditional awaitable reads a variable that its handler has unbound ---


async def cancelled():
    await asyncio.sleep(0)
    raise asyncio.CancelledError


@playbook
async def chooses(first):
    got = []
    try:
        try:
            raise ValueError("first")
        except ValueError as first:  # noqa: F841 - unbound when its handler has ended
            await effect(1)
            await cancelled()
    finally:
        got.append(await (takes_its_time(first) if got else takes_its_time(2)))
        got.append(await (takes_its_time(3) if got else takes_its_time(first)))
        try:
            got.append(await (takes_its_time(first) if got else takes_its_time(5)))
        except UnboundLocalError as error:
            got.append(str(error))
        return got  # noqa: B012


@playbook
async def chooses_beside_checkpoints():
    return (await asyncio.gather(chooses(0), checkpoints()))[0]


def test_a_variable_that_is_not_bound_is_missed_only_where_it_is_read():
    """It was missed as soon as the awaitable was made again, whichever way was taken."""
    missed = "cannot access local variable 'first' where it is not associated with a value"
    assert same_everywhere(chooses_beside_checkpoints) == Completed([(2,), (3,), missed])
