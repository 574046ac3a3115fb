"""No agent hangs since an ordinary coroutine that runs again waits for a permit that it had before the crash."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, same_everywhere, start  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def effect(value, turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


class Limiter:
    def __init__(self, kind=asyncio.Semaphore):
        self.permits = kind()

    async def __aenter__(self):
        await self.permits.acquire()

    async def __aexit__(self, *raised):
        self.permits.release()


@playbook
async def inside():
    return await effect(1), await effect(2)


async def helper(limiter):
    async with limiter:
        return await inside()


async def by_hand(limiter):
    await limiter.permits.acquire()
    try:
        return await inside()
    finally:
        limiter.permits.release()


async def calls_a_model(limiter, name):
    async with limiter:
        return await effect(name, turns=3)


@playbook
async def alone():
    return await helper(Limiter())


@playbook
async def gathered():
    limiter = Limiter()
    return await asyncio.gather(helper(limiter), by_hand(limiter), helper(limiter))


@playbook
async def grouped():
    limiter = Limiter(asyncio.Lock)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(helper(limiter)) for _ in range(2)]
    return [task.result() for task in tasks]


@playbook
async def held():
    task = asyncio.create_task(helper(Limiter(asyncio.BoundedSemaphore)))
    await effect("a pause")
    return await task


@playbook
async def models():
    limiter = Limiter()
    return await asyncio.gather(*[calls_a_model(limiter, name) for name in "abc"])


@pytest.mark.parametrize("case", [alone, gathered, grouped, held, models], ids=lambda case: case.__name__)
def test_a_permit_that_plain_code_had_before_the_crash_is_given_back_when_it_takes_that_again(case):
    assert same_everywhere(case) == Completed(asyncio.run(case()))


SHARED = asyncio.Lock()


@playbook
async def wants_what_belongs_to_the_process():
    await effect("before")
    return await shared()


async def shared():
    await SHARED.acquire()
    SHARED.release()
    return "had it"


def test_a_lock_of_the_process_is_nobodys_to_give_back():
    store = Store()
    start(wants_what_belongs_to_the_process, store=store)

    async def resumed():
        await SHARED.acquire()
        task = asyncio.create_task(Agent("a", persist=Store().persist).resume(store.payloads[0]))
        _, pending = await asyncio.wait([task], timeout=0.4)  # it may look three times
        assert pending and SHARED.locked()
        SHARED.release()
        return await task

    assert asyncio.run(resumed()) == Completed("had it")


@playbook
async def takes_it_for_good():
    lock = asyncio.Lock()
    await lock.acquire()
    await effect("a pause")
    return await lock.acquire()


def test_a_program_that_waits_for_itself_is_told_in_the_log_where(caplog):
    payloads = []

    async def hangs(operation):
        task = asyncio.create_task(operation)
        await asyncio.wait([task], timeout=0.4)
        task.cancel()

    def keep(moment, payload):
        payloads.append(payload)

    asyncio.run(hangs(Agent("a", persist=keep).start(takes_it_for_good)))
    with caplog.at_level(logging.WARNING, "playbooks_worker.engine"):
        asyncio.run(hangs(Agent("a", persist=keep).resume(payloads[1])))
    [line] = [record.getMessage() for record in caplog.records]
    assert "agent a: nothing goes on since it was resumed" in line and "acquire" in line
