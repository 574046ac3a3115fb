"""Who cancels a task again, which tidies up in an ordinary coroutine and begins that again after a crash: what is told again
is told first, and what a statement says meanwhile behind it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import pytest
from harness import same_everywhere

from playbooks_worker import playbook
from playbooks_worker.engine import Completed


class Told:
    """When somebody waits to be cancelled, and was; in this process."""

    waits, last = False, None

    def __getstate__(self):
        return {}


async def turns(number):
    for _ in range(number):
        await asyncio.sleep(0)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


async def tidies_up(times, told):
    """Told so often, it goes on; and is told so often again when it begins again."""
    heard = []
    for _ in range(times):
        told.waits = True
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as error:
            heard += error.args
            told.last = object()
    told.waits = False
    await turns(1)
    return heard


@playbook
async def insists(task, times, told, pause):
    for number in range(times):
        await until(lambda: told.waits or task.done())
        before = told.last
        task.cancel(f"for the {number}th time")
        await until(lambda: told.last is not before or task.done())
        if number % 2 or pause:
            await turns(pause)


@playbook
async def beside(number):
    for _ in range(number):
        await turns(1)


@playbook
async def cancelled_again(times, pause, others):
    told = Told()
    task = asyncio.create_task(tidies_up(times, told))
    await asyncio.gather(insists(task, times, told, pause), beside(others))
    return await task, task.cancelling()


@pytest.mark.parametrize(("times", "pause", "others"), [(2, 0, 3), (2, 1, 3), (3, 0, 0), (4, 2, 3)])
def test_who_is_told_again_hears_behind_that_what_a_statement_says_meanwhile(times, pause, others):
    heard = [f"for the {number}th time" for number in range(times)]
    assert same_everywhere(cancelled_again, times, pause, others) == Completed((heard, times))
