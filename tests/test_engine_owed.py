"""What a resume could not repeat is durable before the next effect starts, also one that another branch starts meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed

STARTED: list[str] = []
TURNS = 50


async def effect(name):
    STARTED.append(name)
    await asyncio.sleep(0)
    return name


async def forever():
    await asyncio.get_running_loop().create_future()


class Slow:
    """The first write waits for the test; `opened` says that it is under way."""

    def __init__(self):
        self.opened = asyncio.Event()
        self.written = asyncio.get_running_loop().create_future()
        self.writes = 0

    def persist(self, moment, payload):
        self.writes += 1
        if self.writes > 1:
            return None
        self.opened.set()
        return self.written


@playbook
async def leaf():
    return await effect("beside")


@playbook
async def late():
    try:
        async with asyncio.timeout(0.001):
            await forever()
    except TimeoutError:
        STARTED.append("late")
    return await effect("after")


async def when(opened):
    """A plain coroutine: nothing of it is recorded until it calls a playbook."""
    await opened.wait()
    return await leaf()


@playbook
async def beside_a_helper(opened):
    return await asyncio.gather(when(opened), late())


@playbook
async def starting_tasks():
    made = await late_alone()
    return [await task for task in made]


@playbook
async def late_alone():
    try:
        async with asyncio.timeout(0.001):
            await forever()
    except TimeoutError:
        return [asyncio.create_task(effect("a task"))]


async def while_the_first_is_written(playbook_, *given):
    """What has started while the first checkpoint is being written, and how the agent ends. *given*: names of what the
    playbook gets of `Slow`."""
    slow = Slow()
    running = asyncio.create_task(
        Agent("a", persist=slow.persist).start(playbook_, [vars(slow)[name] for name in given])
    )
    await slow.opened.wait()
    for _ in range(TURNS):
        await asyncio.sleep(0)
    before = list(STARTED)
    slow.written.set_result(None)
    return before, await running


@pytest.fixture(autouse=True)
def anew():
    STARTED.clear()


def test_no_branch_starts_an_effect_while_an_expired_timeout_is_being_written():
    """Given a timeout that has expired and whose checkpoint is being written, When a helper beside it calls a playbook, Then
    its effect waits until that is durable: it may follow from what the handler has done."""

    before, outcome = asyncio.run(while_the_first_is_written(beside_a_helper, "opened"))
    assert before == ["late"]
    assert outcome == Completed(["beside", "after"])
    assert sorted(STARTED) == ["after", "beside", "late"]


def test_a_task_over_a_plain_coroutine_starts_after_what_was_owed_is_durable():
    """Given a handler of an expired timeout that makes a task, When its turn comes, Then the checkpoint comes first."""

    before, outcome = asyncio.run(while_the_first_is_written(starting_tasks))
    assert before == []
    assert outcome == Completed(["a task"])
