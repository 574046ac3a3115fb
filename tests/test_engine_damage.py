"""Damaged checkpoints, as an engine without a signature around it would meet them: it says so, at once, and never breaks."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Blocked, Completed, Failed, ResumeMismatch, changes_of, payload
from playbooks_worker.engine.sinks import Pieces

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, start  # noqa: E402

# loops that were killed are collected with what they held, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LIMIT_S = 5.0


async def effect(name, value=None):
    await asyncio.sleep(0)
    return name if value is None else value


class Thing:
    def __init__(self, n):
        self.n = n


@playbook
async def leaf(box, n):
    for turn in range(2):
        box.append(await effect(turn, (n, turn)))
    return len(box)


@playbook
async def main():
    box, thing = [], Thing("x")
    count = lambda: len(box)  # noqa: E731
    task = asyncio.create_task(leaf(box, 1))
    async with asyncio.timeout(30):
        try:
            found = await asyncio.gather(leaf(box, 2), effect("plain"))
        finally:
            await effect("cleaning up")
    return found, await task, thing.n, count()


def payloads():
    store = Store()
    assert isinstance(start(main, store=store), Completed)
    return store.payloads


def resumed(stored):
    """The outcome, which has to be there in time."""

    async def bounded():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with asyncio.timeout(LIMIT_S):
            return await Agent("a", persist=Store().persist).resume(stored)

    return asyncio.run(bounded())


@pytest.mark.parametrize("flip", [0xFF, 0x01, 0x20])
def test_every_byte_that_is_not_what_was_written_blocks_the_agent(flip):
    began = time.monotonic()
    for stored in payloads()[:2]:
        for position in range(len(stored)):
            damaged = bytearray(stored)
            damaged[position] ^= flip
            assert resumed(bytes(damaged)) == Blocked(
                "agent a: its checkpoint is damaged; resume from the one before it"
            )
    assert time.monotonic() - began < 60


def test_a_checkpoint_that_was_cut_short_blocks_the_agent():
    stored = payloads()[0]
    for size in (0, 1, 3, 4, 7, 8, 9, 100, len(stored) - 1):
        assert resumed(stored[:size]) == Blocked("agent a: its checkpoint is damaged; resume from the one before it")
    with pytest.raises(ResumeMismatch, match="damaged"):
        changes_of(stored[:-1])


def test_an_index_that_says_nonsense_under_the_right_sum_breaks_nothing():
    """Given a writer with a mistake, Then the agent is blocked, or goes on as far as it can; nothing escapes."""
    outcomes = set()
    for stored in payloads()[:3]:
        index, dumps = payload.read(stored)
        for path, number in numbers(index):
            for wrong in (number + 1, number + 250, -1):
                outcome = resumed(payload.written(changed(index, path, wrong), Pieces([dumps])))
                assert isinstance(outcome, Blocked | Completed | Failed)
                if isinstance(outcome, Blocked):
                    assert outcome.why.startswith("agent a: ") and "\n" not in outcome.why
                outcomes.add(type(outcome))
    gc.collect()
    assert Blocked in outcomes


def numbers(value, path=()):
    """(path, number) of each number in the index."""
    if type(value) is int:
        yield path, value
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from numbers(part, (*path, place))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from numbers(part, (*path, key))


def changed(value, path, wrong):
    if not path:
        return wrong
    if isinstance(value, dict):
        return {key: changed(part, path[1:], wrong) if key == path[0] else part for key, part in value.items()}
    parts = [changed(part, path[1:], wrong) if place == path[0] else part for place, part in enumerate(value)]
    return type(value)(parts)


class Fills:
    """Gives a state to a number of the process, which no pickler of ours would say."""

    def __reduce__(self):
        return int, ("7",), {"a": 1}


@playbook
async def fills_a_number():
    held = Fills()
    await effect("one")
    return held


def test_what_belongs_to_the_process_is_never_replaced_by_a_marker():
    store = Store()
    start(fills_a_number, store=store)
    outcome = resumed(store.payloads[0])
    assert isinstance(outcome, Blocked) and "an int is given a state" in outcome.why.replace("a int", "an int")
    assert [7, 3 + 4] == [7, 7]
