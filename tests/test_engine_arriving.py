"""The way back: no statement of a playbook runs before every saved frame that can stands at its site again."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import pytest
from harness import Store, resume, same_everywhere, start

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

PATIENCE = [0]
SAID: list[str] = []


async def effect(value):
    await asyncio.sleep(0)
    return value


class Stock:
    def __init__(self):
        self.number = 0
        self.lock = asyncio.Lock()


@playbook
async def adds(stock):
    async with stock.lock:
        before = stock.number
        await effect("holding")
        stock.number = before + 1


async def patient(stock):
    """A plain coroutine that calls late when it runs first, and at once when it runs again."""
    for _ in range(PATIENCE[0]):
        await asyncio.sleep(0)
    return await adds(stock)


@playbook
async def both_add():
    stock = Stock()
    await asyncio.gather(patient(stock), adds(stock))
    return stock.number


EVENTS: list[tuple[str, str]] = []
AGAIN = [False]  # in the process that resumes


class Door:
    """Slow where it is entered again, if *far*, and where it is left the first time."""

    def __init__(self, far=False):
        self.far = far

    async def __aenter__(self):
        for _ in range(5 if AGAIN[0] and self.far else 0):
            await asyncio.sleep(0)

    async def __aexit__(self, kind, error, trace):
        for _ in range(0 if AGAIN[0] else 40):
            await asyncio.sleep(0)
        if isinstance(error, KeyError):
            raise LookupError


async def observed(name, turns):
    EVENTS.append(("began", name))
    for _ in range(turns):
        await asyncio.sleep(0)


async def cancelled_again():
    """A cancellation of its own that comes at once when it runs again."""
    for _ in range(0 if AGAIN[0] else 40):
        await asyncio.sleep(0)
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


@playbook
async def leaves():
    async with Door():
        await observed("inside", 1)
    EVENTS.append(("ran", "behind a door"))


@playbook
async def leaves_by_an_error():
    try:
        async with Door():
            await observed("inside", 1)
            raise KeyError
    except LookupError:
        EVENTS.append(("ran", "a handler behind a door"))


@playbook
async def is_cancelled():
    async with Door():
        try:
            await cancelled_again()
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
            EVENTS.append(("ran", "a handler"))


@playbook
async def goes_on():
    async with Door():  # so that it does not wait for the headers of others before it comes back
        for n in range(8):
            await observed("short", 1)
            EVENTS.append(("ran", f"statement {n}"))


@playbook
async def beneath_a_door():
    async with Door(far=True), asyncio.TaskGroup() as group:
        group.create_task(waits_long())


@playbook
async def waits_long():
    await observed("long", 40)


@playbook
async def comes_last(*beside):
    await asyncio.gather(goes_on(), *[one() for one in beside], beneath_a_door())


@pytest.mark.parametrize("beside", [leaves, leaves_by_an_error, is_cancelled])
def test_no_statement_runs_before_the_effect_of_the_frame_that_comes_back_last_has_begun_again(beside):
    """Seed 32269. Given an effect in flight below a header that is slow to be entered again, and beside it a manager that is
    left at once when it is left again, or an effect that is cancelled at once (the way back then owes a checkpoint), When
    the agent is resumed, Then that effect begins again before any statement runs."""
    AGAIN[0] = False
    store = Store()
    assert start(comes_last, beside, store=store) == Completed(None)
    AGAIN[0] = True
    checked = 0
    for payload in store.payloads[:8]:  # meanwhile the long effect is in flight
        EVENTS.clear()
        assert resume(payload) == Completed(None)
        said = [event for event, name in EVENTS if event == "ran" or name == "long"]
        checked += said[:2] == ["began", "ran"]
        assert said[0] == "began", EVENTS
    assert checked > 3


def test_a_call_that_a_helper_makes_after_a_resume_waits_for_the_holder_of_the_lock():
    """Given a branch that holds a lock, and a helper before it that had not called yet, When the agent is resumed, Then what
    the helper calls gets the lock after the branch: nothing that the branch has read is changed under it."""
    outcome = same_everywhere(
        both_add, reset=lambda: PATIENCE.__setitem__(0, 20), between=lambda: PATIENCE.__setitem__(0, 0)
    )
    assert outcome == Completed(2)


class Header:
    def __init__(self, turns):
        self.turns = turns

    async def __aenter__(self):
        for _ in range(self.turns):
            await asyncio.sleep(0)

    async def __aexit__(self, *raised):
        pass


async def cancels_itself():
    asyncio.current_task().cancel()
    for _ in range(20 if PATIENCE[0] else 0):  # plain code may wait for its end
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
            asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def says(text):
    SAID.append(text)
    for _ in range(20 * PATIENCE[0]):
        await asyncio.sleep(0)


@playbook
async def handles():
    async with Header(0):
        try:
            await cancels_itself()
        except asyncio.CancelledError:
            while asyncio.current_task().uncancel():
                pass
            SAID.append("handled")


@playbook
async def stands_behind_a_header():
    async with Header(5):
        await says("stands again")


@playbook
async def has_a_checkpoint():
    for _ in range(3):
        await effect("")


@playbook
async def both():
    await asyncio.gather(handles(), stands_behind_a_header(), has_a_checkpoint())


def test_a_handler_of_a_cancellation_that_comes_again_at_once_waits_for_the_other_frames():
    """Seed 5019: an effect that is issued again is cancelled before a header beside it has been entered again."""
    PATIENCE[0] = 1
    store = Store()
    start(both, store=store)
    PATIENCE[0] = 0
    SAID.clear()
    assert resume(store.payloads[2]) == Completed(None)
    assert SAID == ["stands again", "handled"]


class Watched(Door):
    async def __aexit__(self, *raised):
        await super().__aexit__(*raised)
        EVENTS.append(("ended", "manager"))


@playbook
async def leaves_a_watched_door():
    async with Watched():
        await observed("inside", 1)
    EVENTS.append(("ran", "what follows"))
    return await observed("outside", 1)


async def short_again(turns):
    for _ in range(0 if AGAIN[0] else turns):
        await asyncio.sleep(0)


@playbook
async def ends_at_once(turns):
    """Its effects, when they begin again."""
    for _ in range(4):
        await short_again(turns)


class Noting(Store):
    """Notes what had happened whenever a snapshot is taken."""

    def __init__(self):
        super().__init__()
        self.found = []

    def persist(self, moment, payload):
        self.found.append(tuple(event for event in EVENTS if event[0] in ("ended", "ran")))
        return super().persist(moment, payload)


@playbook
async def leaves_beside_others():
    await asyncio.gather(leaves_a_watched_door(), *[ends_at_once(number) for number in range(1, 5)])


def test_no_checkpoint_is_taken_between_the_end_of_a_manager_on_the_way_back_and_what_follows_it():
    """Given a manager that ends as it is left again (a group would forget what it knew), and effects that end just before
    the last frame comes back, When the agent is resumed, Then no snapshot is taken while its frame waits for the others."""
    AGAIN[0] = False
    store = Store()
    assert start(leaves_beside_others, store=store) == Completed(None)
    AGAIN[0] = True
    found = set()
    for payload in store.payloads:
        EVENTS.clear()
        later = Noting()
        assert resume(payload, later) == Completed(None)
        found |= set(later.found)
    assert found == {(), (("ended", "manager"), ("ran", "what follows"))}


# --- what is loaded late ---


@playbook
async def works(number):
    for n in range(number):
        await effect(n)
    return number


async def helps(number):
    return await works(number)


@playbook
async def fails_after(number):
    await works(number)
    raise LookupError


@playbook
async def outlived_by_a_helper():
    async with Header(0):  # so that it does not wait for the headers of others before it comes back
        try:
            return await asyncio.gather(helps(12), fails_after(6))
        except LookupError:
            return await works(9)


@playbook
async def works_behind_a_header():
    async with Header(5):
        return await works(12)


@playbook
async def beside_a_slow_header():
    return await asyncio.gather(outlived_by_a_helper(), works_behind_a_header())


def test_a_task_that_has_begun_again_before_it_is_loaded_can_still_be_saved():
    """Given a helper's task, which its gather makes again while a header beside it is being entered again, When the rest of
    the checkpoint is loaded behind that header, Then the next checkpoint knows how to make the task."""
    assert same_everywhere(beside_a_slow_header) == Completed([9, 12])


@playbook
async def gathers_helpers():
    return await asyncio.gather(helps(9), helps(9))


async def takes_its_time():
    for _ in range(30):
        await asyncio.sleep(0)
    return await gathers_helpers()


@playbook
async def beside_who_comes_late():
    return await asyncio.gather(takes_its_time(), works(40))


def test_checkpoints_are_taken_while_a_gather_has_not_been_come_to_again():
    """Seed 33243: its tasks are still to be made."""
    assert same_everywhere(beside_who_comes_late) == Completed([[9, 9], 40])
