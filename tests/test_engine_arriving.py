"""The way back: no statement of a playbook runs before every saved frame that can stands at its site again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from harness import same_everywhere

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

PATIENCE = [0]


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
