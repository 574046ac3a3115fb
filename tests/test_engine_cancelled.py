"""Branches that are cancelled at any await, killed at any checkpoint: what generated programs have found
(tests/programs/cancelling.py), each as a small program.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from harness import same_everywhere

from playbooks_worker import playbook
from playbooks_worker.engine import Completed


async def effect(value, *, turns=1, cancels=False):
    for _ in range(turns):
        await asyncio.sleep(0)
    if cancels:
        asyncio.current_task().cancel()
    return value


async def after(turns, made):
    await effect(None, turns=turns)
    return await made


@playbook
async def waits(seen):
    await effect("before")
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError as error:
        seen.append(error.args)
        raise


@playbook
async def working(seen, turns, times):
    for number in range(times):
        seen.add(await effect(number, turns=turns))
    return len(seen)


@playbook
async def counts_how_often():
    seen = []
    task = asyncio.create_task(waits(seen))
    await effect(1, turns=9)
    task.cancel("why")
    first = await asyncio.gather(task, return_exceptions=True)
    await effect(2)
    again = await asyncio.gather(task, return_exceptions=True)
    return seen, task.cancelled(), task.cancelling(), [type(error) for error in first], again[0].args


def test_a_task_that_has_ended_knows_how_often_it_was_cancelled_and_says_the_same_to_a_gather():
    outcome = same_everywhere(counts_how_often)
    assert outcome.value[:3] == ([("why",)], True, 1)


async def cancels(task, seen):
    await effect(None, turns=9)
    task.cancel()
    while not task.done():
        await asyncio.sleep(0)
    return "has cancelled"


@playbook
async def cancelled_by_an_effect():
    seen = []
    task = asyncio.create_task(waits(seen))
    work = set()
    got = await asyncio.gather(task, cancels(task, seen), working(work, 3, 8), return_exceptions=True)
    return [type(got[0]), *got[1:]], task.cancelled()


def test_who_was_cancelled_by_an_effect_that_has_ended_does_not_wait_for_it_to_come_to_that_again():
    assert same_everywhere(cancelled_by_an_effect).value == ([asyncio.CancelledError, "has cancelled", 8], True)


@playbook
async def cancels_itself(seen):
    for number in range(6):
        try:
            await effect(number, cancels=True)
            seen.append(await effect("never"))
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
            seen.append("cancelled")
    return seen


@playbook
async def beside_what_arrives_late():
    work = [set(), set()]
    return await asyncio.gather(
        after(7, working(work[0], 1, 12)), cancels_itself([]), working(work[1], 1, 12), return_exceptions=True
    )


def test_who_was_not_told_yet_is_told_at_its_await_although_others_arrive_late():
    assert same_everywhere(beside_what_arrives_late) == Completed([12, ["cancelled"] * 6, 12])


@playbook
async def tidies(seen, name):
    try:
        await waits([])
    except asyncio.CancelledError:
        seen.append(("told", name))
        await effect("tidies")
        raise
    finally:
        seen.append(("finally", name))


@playbook
async def grouped(seen):
    try:
        async with asyncio.TaskGroup() as group:
            for name in "ab":
                group.create_task(tidies(seen, name))
    except asyncio.CancelledError:
        seen.append("group")
        await effect("after")
        raise


@playbook
async def cancels_a_group(turns):
    seen = []
    task = asyncio.create_task(grouped(seen))
    await effect("work", turns=turns)
    task.cancel()
    got = await asyncio.gather(task, return_exceptions=True)
    return sorted(map(str, seen)), task.cancelled(), len(got)


@playbook
async def beside_groups_that_are_cancelled():
    return await asyncio.gather(
        working(set(), 1, 12), working(set(), 2, 8), cancels_a_group(6), cancels_a_group(7), cancels_a_group(8)
    )


def test_the_tasks_of_a_group_that_was_cancelled_and_not_told_yet_stand_at_their_awaits_before_it_is():
    group = (sorted(["group", *(str((what, name)) for what in ("told", "finally") for name in "ab")]), True, 1)
    assert same_everywhere(beside_groups_that_are_cancelled) == Completed([12, 8, group, group, group])


# --- seed 41000097: a group cancels its own task ---


@playbook
async def fails(turns):
    await effect("work", turns=turns)
    raise LookupError(turns)


@playbook
async def a_group_that_fails(turns):
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(turns))
    except* LookupError:
        pass
    return await effect("after")


@playbook
async def beside_groups_that_fail():
    return await asyncio.gather(working(set(), 1, 12), *[a_group_that_fails(turns) for turns in (1, 2, 3, 4)])


def test_a_group_whose_last_task_has_failed_is_told_of_no_cancellation_when_it_is_left_again():
    """It had cancelled itself, and waits for nobody any more: its next await was told instead."""
    assert same_everywhere(beside_groups_that_fail) == Completed([12, *["after"] * 4])


@playbook
async def tidies_for_long():
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await effect("tidies", turns=9)


@playbook
async def says_what_it_was_told(seen):
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(tidies_for_long())
    except asyncio.CancelledError as error:
        seen.append(error.args)
        await effect("after")
        raise


@playbook
async def cancelled_twice(turns):
    seen = []
    task = asyncio.create_task(says_what_it_was_told(seen))
    await effect("work", turns=4)
    task.cancel("one")
    await effect("more", turns=turns)
    task.cancel("two")
    await asyncio.wait([task])
    return seen, task.cancelled(), task.cancelling()


@playbook
async def beside_groups_that_are_cancelled_twice():
    return await asyncio.gather(working(set(), 1, 20), *[cancelled_twice(turns) for turns in (1, 2, 3)])


def test_a_group_that_is_cancelled_again_while_it_is_left_says_what_it_was_told_first():
    told = ([("one",)], True, 2)
    assert same_everywhere(beside_groups_that_are_cancelled_twice) == Completed([20, told, told, told])


async def swallows():
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError as error:
        return [*error.args, await effect(asyncio.current_task().cancelling(), turns=6)]


@playbook
async def goes_on_all_the_same():
    told = await swallows()
    return [*told, await effect("after", turns=3)]


@playbook
async def awaits_its_task(made):
    task = asyncio.create_task(made())
    return await task, task.cancelling(), asyncio.current_task().cancelling()


@playbook
async def cancels_who_awaits(made):
    task = asyncio.create_task(awaits_its_task(made))
    await effect("work", turns=4)
    task.cancel("why")
    return await task


@playbook
async def beside_tasks_that_swallow():
    return await asyncio.gather(
        working(set(), 1, 20), cancels_who_awaits(swallows), cancels_who_awaits(goes_on_all_the_same)
    )


def test_who_awaits_a_task_is_not_told_of_a_cancellation_that_the_task_has_swallowed():
    told = ["why", 1]
    expected = Completed([20, (told, 1, 1), ([*told, "after"], 1, 1)])
    assert same_everywhere(beside_tasks_that_swallow) == expected


async def told_twice():
    told = []
    for _ in range(2):
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as error:
            told += error.args
    return [*told, await effect(asyncio.current_task().cancelling(), turns=3)]


@playbook
async def tidies_up_in_an_effect():
    return await told_twice()


@playbook
async def cancels_twice(made):
    task = asyncio.create_task(made())
    for n, why in enumerate(["one", "two"]):
        await effect("work", turns=4 - n)
        task.cancel(why)
    return (await asyncio.gather(task, return_exceptions=True))[0]


@playbook
async def awaits_who_tidies_up():
    return await asyncio.create_task(tidies_up_in_an_effect())


@playbook
async def beside_effects_that_are_cancelled_twice():
    kinds = [told_twice, tidies_up_in_an_effect, awaits_who_tidies_up]
    return await asyncio.gather(working(set(), 1, 20), *[cancels_twice(made) for made in kinds])


def test_an_effect_that_was_cancelled_twice_before_a_crash_is_told_both_times_again():
    told = ["one", "two", 2]
    assert same_everywhere(beside_effects_that_are_cancelled_twice) == Completed([20, told, told, told])


@playbook
async def gathers_its_task(made):
    return (await asyncio.gather(asyncio.create_task(made()), return_exceptions=True))[0]


@playbook
async def in_a_group_that_fails(awaits, made):
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(awaits(made))
            await effect("work", turns=4)
            raise LookupError
    except* LookupError:
        group = None
    return (await asyncio.gather(task, return_exceptions=True))[0]


@playbook
async def beside_groups_that_cancel_who_awaits():
    made = [in_a_group_that_fails(awaits, swallows) for awaits in (awaits_its_task, gathers_its_task)]
    awaited, gathered = await asyncio.gather(*made)
    return awaited, type(gathered)


def test_what_a_group_cancels_hands_that_on_after_a_resume_too():
    """Nobody told the task that the group's own one awaits, and both waited for ever."""
    assert same_everywhere(beside_groups_that_cancel_who_awaits) == Completed((([1], 1, 1), asyncio.CancelledError))


@playbook
async def waits_for_who_swallows():
    try:
        return await asyncio.wait_for(goes_on_all_the_same(), 30)
    except asyncio.CancelledError:
        return await effect("told")


@playbook
async def cancelled_in_a_wait_for(turns):
    task = asyncio.create_task(waits_for_who_swallows())
    await effect("work", turns=turns)
    task.cancel("why")
    return await task


def test_who_has_swallowed_what_a_wait_for_handed_on_ends_behind_that_again():
    """Seed 54001519: it had ended before the `wait_for` that runs again was told, which then answered its result. (From
    Python 3.12 on a `wait_for` has no task of its own, and answers that.)"""
    for turns in (3, 4, 5):
        plain = asyncio.run(cancelled_in_a_wait_for(turns))
        assert (plain == "told") == (sys.version_info < (3, 12))
        assert same_everywhere(cancelled_in_a_wait_for, turns) == Completed(plain)
