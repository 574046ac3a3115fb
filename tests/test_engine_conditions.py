"""`asyncio.Condition` shared by branches: who waits for it at a kill holds no lock, and misses no notification."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, same_everywhere, start  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


async def effect(name, turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)
    return name


@playbook
async def waits_for(condition, box, n):
    async with condition:
        await condition.wait_for(lambda: box["value"] >= n)
        await effect(n)
    return n


@playbook
async def by_predicate():
    condition, box = asyncio.Condition(), {"value": 0}
    tasks = [asyncio.create_task(waits_for(condition, box, n)) for n in (1, 2)]
    for k in (1, 2):
        await effect(k, 3)
        async with condition:
            box["value"] += 1
            condition.notify_all()
            await effect("notified")
    return await asyncio.gather(*tasks)


@playbook
async def waits(condition, log, name):
    async with condition:
        await condition.wait()
        log.append((name, condition.locked()))
        await effect((name, "woken"))
        log.append((name, condition.locked()))


@playbook
async def one_by_one():
    condition, log = asyncio.Condition(), []
    tasks = [asyncio.create_task(waits(condition, log, name)) for name in "ab"]
    await effect("begin", 3)
    for _ in range(2):
        async with condition:
            await effect("holds", 2)
            condition.notify()
            await effect("still holds", 2)
        await effect("between", 3)
    await asyncio.gather(*tasks)
    return log


@playbook
async def a_shared_lock():
    lock = asyncio.Lock()
    full, empty, log = asyncio.Condition(lock), asyncio.Condition(lock), []
    tasks = [asyncio.create_task(waits(full, log, "full")), asyncio.create_task(waits(empty, log, "empty"))]
    await effect("begin", 3)
    for condition in (empty, full):
        async with lock:
            await effect("holds", 2)
            condition.notify_all()
        await effect("between", 3)
    await asyncio.gather(*tasks)
    return log, lock.locked()


@playbook
async def cancelled_waiter():
    condition, log = asyncio.Condition(), []
    task, other = [asyncio.create_task(waits(condition, log, name)) for name in "ab"]
    await effect("begin", 3)
    task.cancel()
    got = await asyncio.gather(task, return_exceptions=True)
    log.append(type(got[0]).__name__)
    await effect("between", 2)
    async with condition:
        log.append(condition.locked())
        condition.notify()
        await effect("holds")
    await other
    return sorted(map(str, log))  # 3.13 wakes another one when a waiter is cancelled


CASES = [by_predicate, one_by_one, a_shared_lock, cancelled_waiter]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_who_waits_for_a_condition_waits_for_it_after_a_resume(case):
    outcome = same_everywhere(case)
    assert isinstance(outcome, Completed)
    assert outcome.value == asyncio.run(case())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_and_after_a_resume_of_a_resume(case):
    first = Store()
    expected = start(case, store=first)
    for payload in first.payloads:
        second = Store(2)
        assert resume(payload, second) in (expected, None)
        assert resume(second.payloads[-1] if second.payloads else payload) == expected


# --- seed 32000007: both come behind plain code that takes its time ---


@playbook
async def notifies_late(condition, box):
    await effect("before")
    async with condition:
        box.append("told")
        condition.notify_all()


@playbook
async def waits_late(condition, box):
    async with condition:
        while not box:
            await condition.wait()
    return box


@playbook
async def both_late():
    condition, box = asyncio.Condition(), []
    return (await asyncio.gather(notifies_late(condition, box), waits_late(condition, box)))[1]


async def in_its_own_time(made):
    for _ in range(30):
        await asyncio.sleep(0)
    return await made()


@playbook
async def conditions_behind_plain_code():
    return await in_its_own_time(both_late)


def test_frames_that_plain_code_comes_to_late_wait_for_one_another():
    """One went on and notified before the other waited again, which then waited for ever."""
    assert same_everywhere(conditions_behind_plain_code) == Completed(["told"])


# --- seed 41000299: one of them waits to enter ---


@playbook
async def tells(condition, box):
    for n in range(2):
        await effect("comes")
        async with condition:
            box.append(n)
            condition.notify_all()


@playbook
async def waits_for_both(condition, box):
    async with condition:
        while len(box) < 2:
            await condition.wait()
        return list(box)


@playbook
async def one_waits_to_enter():
    condition, box = asyncio.Condition(), []
    return (await asyncio.gather(tells(condition, box), *[waits_for_both(condition, box) for _ in range(2)]))[1:]


@playbook
async def headers_behind_plain_code():
    return await in_its_own_time(one_waits_to_enter)


def test_who_comes_late_to_a_header_it_waited_to_enter_enters_behind_who_held_it():
    """It entered first and notified before one that comes with it waited again."""
    assert same_everywhere(headers_behind_plain_code) == Completed([[0, 1], [0, 1]])


# --- seed 64000060: notified, and written before it knows that again ---


@playbook
async def waits_and_holds(condition, box, turns):
    async with condition:
        while len(box) < 2:
            await condition.wait()
        await effect("holds")
    await effect("goes", turns)
    return len(box)


@playbook
async def two_hold_in_turn(turns):
    condition, box = asyncio.Condition(), []
    return (await asyncio.gather(tells(condition, box), *[waits_and_holds(condition, box, turns) for _ in range(2)]))[
        1:
    ]


@pytest.mark.parametrize("turns", range(3))
def test_a_notification_is_not_lost_when_it_is_saved_again_as_the_agent_goes_on(turns):
    """Given an agent that was resumed as one of its waiters had been notified, and waited for the lock, When it is
    killed at any checkpoint that follows, Then that waiter goes on."""
    first = Store()
    assert start(two_hold_in_turn, turns, store=first) == Completed([2, 2])
    for payload in first.payloads:
        second = Store()
        assert resume(payload, second) == Completed([2, 2])
        for again in second.payloads:
            assert resume(again) == Completed([2, 2])
