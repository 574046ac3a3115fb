"""What had ended before a kill goes on in the order in which it had ended, also where one checkpoint holds several."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed
from playbooks_worker.engine.endings import Ending, order_of
from playbooks_worker.engine.restore import read_index

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, run, same_everywhere, start  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


async def fails(name, turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    raise ValueError(name)


async def passes(name, turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    return name


@playbook
async def failing(name, turns):
    await fails(name, turns)


@playbook
async def of_effects(slow=2):
    try:
        return await asyncio.gather(fails("first of the list", slow), fails("first in time", 1))
    except ValueError as error:
        return str(error)


@playbook
async def of_playbooks(slow=2):
    try:
        return await asyncio.gather(failing("first of the list", slow), failing("first in time", 1))
    except ValueError as error:
        return str(error)


@playbook
async def mixed(slow=2):
    try:
        return await asyncio.gather(
            failing("first of the list", slow), fails("first in time", 1), failing("third", slow)
        )
    except ValueError as error:
        return str(error)


@playbook
async def grouped(slow=2):
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing("first of the list", slow))
            group.create_task(failing("first in time", 1))
    except ExceptionGroup as errors:
        return str(errors.exceptions[0])


@playbook
async def in_turn(order, name, turns):
    await passes(name, turns)
    order.append(name)


@playbook
async def going_on(slow=2):
    order = []
    await asyncio.gather(in_turn(order, "a", slow), in_turn(order, "b", 1), in_turn(order, "c", slow))
    return order


async def by_hand(slow):
    """A plain coroutine: its tasks are no branches."""
    return await asyncio.gather(failing("first of the list", slow), failing("first in time", 1))


@playbook
async def below_plain_code(slow=2):
    try:
        return await by_hand(slow)
    except ValueError as error:
        return str(error)


PROGRAMS = [of_effects, of_playbooks, mixed, grouped, going_on, below_plain_code]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.parametrize("slow", range(1, 6))
def test_the_first_in_time_stays_the_first(program, slow):
    same_everywhere(program, slow)


class Slow(Store):
    """Its writes take some turns of the loop, in which more ends."""

    async def _later(self):
        for _ in range(3):
            await asyncio.sleep(0)

    def persist(self, moment, payload):
        return super().persist(moment, payload) or self._later()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.parametrize("slow", range(1, 9))
def test_it_does_so_where_writes_are_slow(program, slow):
    whole = Slow()
    expected = start(program, slow, store=whole)
    assert type(expected) is Completed
    for payload in whole.payloads:
        assert resume(payload) == expected


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_order_outlives_a_second_kill(program):
    """Killed on the way back at every checkpoint, too: what was loaded is older than what ends now."""
    whole = Store()
    expected = start(program, 2, store=whole)
    for payload in whole.payloads:
        again = Slow()
        resume(payload, again)
        for later in again.payloads:
            assert resume(later) == expected


def test_a_checkpoint_says_the_order_only_where_it_is_not_that_of_the_ids():
    assert order_of([]) == ()
    assert order_of([Ending(7, 1), Ending(8, 2)]) == ()
    assert order_of([Ending(9, 1), Ending(8, 2), Ending(0, 3)]) == (3, 2, 1)


def test_the_programs_have_such_checkpoints():
    """A checkpoint of theirs holds two errors, the later one first."""
    for program in (of_effects, of_playbooks, mixed, grouped, below_plain_code):
        whole = Slow()
        run(Agent("a", persist=whole.persist).start(program, (2,)))
        assert any(read_index(payload)[0][-2] for payload in whole.payloads), program
