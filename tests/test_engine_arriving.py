"""The way back: no statement of a playbook runs before every saved frame that can stands at its site again."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

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
