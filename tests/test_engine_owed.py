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


async def cancels_its_task():
    await waits(0 if "resumed" in STARTED else 12)
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


@playbook
async def cancels_itself():
    try:
        await cancels_its_task()
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()
        STARTED.append("handler")
    return await effect("after")


@playbook
async def takes(turns):
    await waits(turns)
    return await waits(turns)


async def waits(turns):
    for _ in range(turns):
        await asyncio.sleep(0)


async def soon(call):
    await waits(5)
    return await call


@playbook
async def cancelled_while_others_arrive(turns):
    return (await asyncio.gather(cancels_itself(), takes(turns), soon(takes(1))))[0]


@pytest.mark.parametrize("turns", range(12))
def test_what_a_handler_saw_after_a_resume_is_durable_before_the_next_effect_starts(turns):
    """Given a playbook that is cancelled in the effect that it was resumed in, while others are on their way back, When a
    checkpoint is taken in the turn in which they stand, Then its handler is written before its next effect starts.
    (Seed 32001199.)"""
    kept: list[bytes] = []

    def persist(moment, payload):
        STARTED.append("durable")
        if moment.kind == "step":
            kept.append(payload)

    assert isinstance(
        asyncio.run(Agent("a", persist=persist).start(cancelled_while_others_arrive, (turns,))), Completed
    )
    told = 0
    for payload in kept.copy():
        STARTED[:] = ["resumed"]
        assert asyncio.run(Agent("a", persist=persist).resume(payload)) == Completed("after")
        if "handler" in STARTED:
            told += 1
            assert "durable" in STARTED[STARTED.index("handler") : STARTED.index("after")]
    assert told
