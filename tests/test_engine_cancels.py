"""Cancellations on their way when an agent dies: told once, where they would have been told."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import pytest
from harness import Store, kill_everywhere, resume, same_everywhere, start

from playbooks_worker import playbook
from playbooks_worker.engine import Completed, Failed


async def effect(value):
    await asyncio.sleep(0)
    return value


@playbook
async def effects(number):
    return [await effect(n) for n in range(number)]


async def turns(number):
    for _ in range(number):
        await asyncio.sleep(0)


# --- who cancels -----------------------------------------------------------------------------------------------------


async def cancels_itself():
    asyncio.current_task().cancel()
    try:
        await turns(1)
    finally:
        await turns(8)  # tidies up, while others complete


@playbook
async def member():
    try:
        return await cancels_itself()
    except asyncio.CancelledError:
        left = asyncio.current_task().uncancel()
        return left, await effect("cancelled")


@playbook
async def in_a_group():
    async with asyncio.TaskGroup() as group:
        tasks = group.create_task(member()), group.create_task(effects(6))
    group = None
    return [task.result() for task in tasks]


def test_an_effect_that_cancels_its_own_task_in_a_group_cancels_it_once_after_every_crash():
    """Seed 31569: all that cancels a group's task was taken for the group, and told again beside what the effect repeats."""
    assert same_everywhere(in_a_group) == Completed([(0, "cancelled"), [0, 1, 2, 3, 4, 5]])


# --- where it is told ------------------------------------------------------------------------------------------------

EVENTS: list[str] = []  # of a process that dies, and of the one after it


async def sends():
    """Is cancelled before it sends, and tidies up for long: it begins again after a crash."""
    EVENTS.append("begins")
    try:
        await turns(9)
    except asyncio.CancelledError:
        await turns(9)
        raise
    EVENTS.append("sends")


async def until_begun():
    while "begins" not in EVENTS:
        await asyncio.sleep(0)


async def helper():
    await effects(1)
    await sends()


async def gathers():
    await asyncio.gather(sends(), effects(9))


async def starts():
    await asyncio.create_task(sends())


async def starts_a_helper():
    await asyncio.create_task(helper())


class Door:
    def __init__(self, number):
        self.number = number

    async def __aenter__(self):
        await turns(self.number)

    async def __aexit__(self, *raised):
        return None


@playbook
async def awaits(made):
    async with Door(0):
        return await made()


@playbook
async def gathers_itself(made):
    async with Door(0):
        await asyncio.gather(made(), effects(9))


@playbook
async def starts_itself(made):
    async with Door(0):
        task = asyncio.create_task(made())
        await task


@playbook
async def cancels_behind_a_door(playbook, made):
    async with Door(30):  # longer than it takes to send
        task = asyncio.create_task(playbook(made))
        await until_begun()
        EVENTS.append("is cancelled")
        task.cancel("enough")
        await effects(3)
        try:
            await task
        except asyncio.CancelledError as told:
            return told.args, await effect("after")


@pytest.mark.parametrize("made", (sends, helper, gathers, starts, starts_a_helper), ids=lambda made: made.__name__)
@pytest.mark.parametrize("playbook", (awaits, gathers_itself, starts_itself), ids=lambda playbook: playbook.__name__)
def test_what_was_cancelled_does_not_go_on_while_the_headers_of_others_are_entered_again(playbook, made):
    """Seed 33243: it was told when all others had arrived, and its effect, which the program had cancelled, had happened."""

    def look():
        assert "sends" not in EVENTS[EVENTS.index("is cancelled") :] if "is cancelled" in EVENTS else True
        EVENTS.clear()

    ended = same_everywhere(cancels_behind_a_door, playbook, made, reset=look)
    assert ended == Completed((("enough",), "after"))
    look()


# --- while it has not arrived yet ---------------------------------------------------------------------------------------


class SlowDoor:
    """Is open at once, and takes long when it is entered again."""

    async def __aenter__(self):
        await turns(30 if "door" in EVENTS else 0)
        EVENTS.append("door")

    async def __aexit__(self, *raised):
        return None


@playbook
async def tidies(log):
    try:
        await turns(99)
    except asyncio.CancelledError:
        log.append(await effect("tidied"))
        raise


async def cuts_short(log):
    task = asyncio.create_task(tidies(log))
    await turns(9)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cut short"


@playbook
async def behind_a_slow_door():
    async with SlowDoor():
        return await effects(3)


@playbook
async def beside_a_slow_door():
    log = []
    found = await asyncio.gather(awaits(functools.partial(cuts_short, log)), behind_a_slow_door())
    return log, found


def test_what_plain_code_cancels_while_the_headers_of_others_are_entered_again_is_told_at_its_own_await():
    """It was told where the engine waits: its frame was lost, and no handler of it ran."""
    expected = Completed((["tidied"], ["cut short", [0, 1, 2]]))
    assert same_everywhere(beside_a_slow_door, reset=EVENTS.clear) == expected


# --- a group that fails while it is left ------------------------------------------------------------------------------


async def forever():
    await asyncio.get_running_loop().create_future()


@playbook
async def fails_after(number):
    await effects(number)
    raise LookupError(number)


@playbook
async def tidies_for_long():
    try:
        await forever()
    finally:
        await effects(3)


@playbook
async def counts(within):
    """How often it is said to be cancelled, once its group has failed: within the block, or as that is left."""
    asyncio.current_task().cancel()
    try:
        await turns(1)
    except asyncio.CancelledError:
        before = asyncio.current_task().cancelling()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails_after(2))
            group.create_task(tidies_for_long())
            if within:
                await forever()
    except* LookupError:
        group = None
    after = asyncio.current_task().cancelling()
    try:
        await turns(1)
    except asyncio.CancelledError:  # from Python 3.13 on: a group keeps who was cancelled before cancelled
        pass
    return before, after


@playbook
async def counts_as_a_branch(within):
    return await asyncio.create_task(counts(within))


@pytest.mark.parametrize("within", [True, False], ids=["in its block", "as it is left"])
def test_a_group_that_had_failed_when_it_was_left_again_takes_back_no_cancellation_that_it_had_not(within):
    """Seed 20262835: Python up to 3.12 begins the exit by taking back what the group had asked of its own task."""
    plain = asyncio.run(counts_as_a_branch(within))
    assert plain == (1, 1 if within or sys.version_info >= (3, 13) else 2)
    assert same_everywhere(counts_as_a_branch, within) == Completed(plain)


# --- a cancellation that is taken back before it was told ---


async def failing(turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    raise KeyError("failed")


@playbook
async def a_group_that_fails(turns):
    found = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing(turns))
            await effect("one")
            await effect("two")
    except* KeyError as errors:
        found.append(repr(errors.exceptions))
    return found, await effect("after")


@pytest.mark.parametrize("turns", range(6))
def test_a_group_whose_task_fails_while_an_outcome_is_being_written_cancels_nothing_behind_it(turns):
    expected = ["(KeyError('failed'),)"], "after"
    assert same_everywhere(a_group_that_fails, turns) == Completed(expected)


async def too_late(limit):
    await asyncio.sleep(0)
    limit.reschedule(0)  # expires in the turn in which this outcome is being written
    return "in time"


@playbook
async def a_timeout_that_expires_behind_its_last_await():
    async with asyncio.timeout(None) as limit:
        found = await too_late(limit)
    return found, await effect("after")


def test_a_timeout_that_expires_while_the_last_outcome_in_it_is_being_written_cancels_nothing_behind_it():
    assert same_everywhere(a_timeout_that_expires_behind_its_last_await) == Completed(("in time", "after"))


async def long_turn():
    await asyncio.sleep(0)
    time.sleep(0.02)  # noqa: ASYNC251  # the loop looks at its clock too late
    return "in time"


@playbook
async def in_time():
    return await long_turn()


async def bounded():
    async with asyncio.timeout(0.01):
        return await in_time()


@playbook
async def bounded_by_a_helper():
    found = await bounded()
    return found, await effect("after")


def test_a_timeout_of_a_helper_that_expires_while_an_outcome_in_it_is_being_written_cancels_nothing_behind_it():
    assert same_everywhere(bounded_by_a_helper) == Completed(("in time", "after"))


@playbook
async def cancels_itself_at_its_end():
    await effect("one")
    asyncio.current_task().cancel("at the end")
    return "done"


def test_an_agent_that_cancels_itself_as_it_returns_has_failed_as_in_plain_python():
    outcome = same_everywhere_but_for_the_error(cancels_itself_at_its_end)
    assert (type(outcome.error), outcome.error.args) == (asyncio.CancelledError, ("at the end",))


def same_everywhere_but_for_the_error(playbook):
    expected, resumed = kill_everywhere(playbook)
    assert all(type(outcome) is type(expected) is Failed for _, outcome in resumed)
    return expected


class Connection:
    """Tries two ways as it is opened, the second when the first takes too long."""

    async def __aenter__(self):
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(9)
        except TimeoutError:
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)

    def __reduce__(self):
        raise TypeError("nobody can save a live connection")


@playbook
async def uses_a_connection():
    async with Connection():
        return [await turns(7) for _ in range(3)]


@playbook
async def beside_a_connection():
    return await asyncio.gather(uses_a_connection(), effects(12))


def test_a_timeout_that_has_expired_as_a_header_was_entered_again_is_told_nobody_in_the_next_life():
    whole = Store()
    expected = start(beside_a_connection, store=whole)
    for number in range(1, len(whole.payloads) + 1):
        store = Store(number)
        outcome = start(beside_a_connection, store=store)
        while outcome is None:
            payload, store = store.payloads[-1], Store(1)
            outcome = resume(payload, store)
        assert outcome == expected
