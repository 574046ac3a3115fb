"""Managers that cannot be saved, or say themselves how, and hold what others share: each entry counts once, whatever is
killed."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import trials
from harness import same_everywhere, start
from observing import Counted

from playbooks_worker import playbook
from playbooks_worker.engine import Completed


async def effect(value):
    await asyncio.sleep(0)
    return value


class Pool:
    def __init__(self):
        self.permits = asyncio.Semaphore(1)
        self.out = self.times = 0

    async def __aenter__(self):
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *raised):
        assert self.out == 0 and not self.permits.locked()

    def lease(self):
        return Lease(self)


class Lease:
    """Only its own entering refers to it."""

    def __init__(self, pool):
        self.pool = pool

    def __reduce__(self):
        raise TypeError("a live lease")

    async def __aenter__(self):
        await self.pool.permits.acquire()
        self.pool.out += 1
        self.pool.times += 1
        return self

    async def __aexit__(self, *raised):
        self.pool.out -= 1
        self.pool.permits.release()


class Counter:
    """Says itself how it is pickled."""

    def __init__(self, entries=0):
        self.entries = entries

    def __reduce__(self):
        return Counter, (self.entries,)

    def __enter__(self):
        self.entries += 1
        return self

    def __exit__(self, *raised):
        pass


@playbook
async def leases(pool, n):
    async with pool.lease() as lease:
        return await effect(n) + await effect(lease.pool.out)


@playbook
async def in_its_own_frame():
    async with Pool() as pool, pool.lease():
        return await effect(1) + pool.out, pool.times


@playbook
async def below():
    async with Pool() as pool:
        return await leases(pool, 1), pool.times


@playbook
async def in_a_task_of_the_header_beside():
    async with Pool() as pool, asyncio.TaskGroup() as group:
        task, other = group.create_task(leases(pool, 1)), group.create_task(leases(pool, 1))
    return task.result() + other.result() - 2, pool.times - 1


@playbook
async def in_a_task_that_the_header_waits_for():
    async with Pool() as pool:
        task = asyncio.create_task(leases(pool, 0))
        await effect("between")
        return await task + await leases(pool, 0), pool.times - 1


@playbook
async def counted():
    counter = Counter()
    with counter as same:
        await effect("one")
        with counter:
            await effect("two")
    return counter.entries, int(same is counter)


@pytest.mark.parametrize(
    "case", [in_its_own_frame, below, in_a_task_of_the_header_beside, in_a_task_that_the_header_waits_for, counted]
)
def test_what_entering_changes_behind_a_manager_counts_once(case):
    """Seed 4033: a lease that cannot be saved took its permit of a pool that is saved; resumed, all waited for ever."""
    assert same_everywhere(case) == Completed((2, 1))


# --- the header of a task's maker comes behind an effect of plain code ---


@playbook
async def uses(pool, group):
    async with pool.lease() as lease:
        await effect("one")
        child = group.create_task(leases(pool, 1))
    return await effect(lease.pool.out), child


@playbook
async def opens():
    async with Live() as pool, asyncio.TaskGroup() as group:
        task = group.create_task(uses(pool, group))
    return task.result()[1].result()


class Live(Pool):
    def __reduce__(self):
        raise TypeError("a live pool")


async def twice(made):
    one = await made()
    for _ in range(5):
        await effect("between")
    return one + await made()


@playbook
async def opens_behind_an_effect():
    return await asyncio.gather(twice(opens), leases(Pool(), 1), twice(opens))


def test_a_task_waits_for_the_headers_that_it_was_made_in_however_late_plain_code_comes_to_them():
    """Seeds 5213, 6075: it went on with a placeholder where the target of the header was to be."""
    assert same_everywhere(opens_behind_an_effect) == Completed([4, 2, 4])


# --- what is no manager ---


@playbook
async def enters(*managers):
    said = []
    for manager in managers:
        try:
            with manager:
                await effect("never")
        except TypeError as error:
            said.append((str(error), error.__context__))
        try:
            async with manager:
                await effect("never")
        except TypeError as error:
            said.append((str(error), error.__context__))
    return said


class Half:
    def __enter__(self):
        return self

    async def __aenter__(self):
        return self


def test_what_is_no_manager_is_refused_in_the_words_of_python_and_with_no_other_error():
    """Seed 20261166: the error had another behind it."""
    assert start(enters, 0, Half()) == Completed(asyncio.run(enters(0, Half())))


LEAVES_A_GROUP = """
from fuzzing import *
from pooling import *
from sharing import *

@playbook
async def leaves(s, me, v):
    s.live[me] = 0
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(parks(s, (me, 1), 10, me, False))
            group.create_task(parks(s, (me, 0), 10, me, True))
            group.create_task(fails_last(s, (me, "last"), 10, me, 2))
    except* Err:
        group = None
    s.at(me, 11, v)
    return v

@playbook
async def case():
    s = State()
    return await twice(leaves, s, "m", 4, 1), s.report()
"""


def test_a_task_that_waits_for_its_headers_hears_of_its_cancellation_when_they_have_come(tmp_path):
    """Seed 5232: cancelled by its group in the turn in which the group had come, it went on waiting for it."""
    module = trials.load("leaves_a_group", LEAVES_A_GROUP, tmp_path)
    loop = asyncio.new_event_loop()
    for seed in range(3):
        random.seed(seed)
        trials.Trial(loop, Counted(), module, seed, longest_s=5).all()
    loop.close()
