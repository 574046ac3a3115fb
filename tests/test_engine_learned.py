"""What an engine learns of one agent's temporaries (that they cannot be saved, and are to be made again) is no harm to
another agent of the same program, which has come back with its own as values.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, start  # noqa: E402


async def effect(name, turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)
    return name


class Lease:
    def __reduce__(self):
        raise TypeError("a live lease")

    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        pass


class Pool:
    def lease(self):
        return Lease()

    async def query(self, name):
        return await effect(name, 6)

    def joined(self, *parts):
        return "".join(parts)


class LivePool(Pool):
    def __reduce__(self):
        raise TypeError("a live pool")


@playbook
async def in_a_header(pools):
    async with pools[0].lease():
        return [await effect(n) for n in range(4)]


@playbook
async def in_an_await(pools):
    return await pools[0].query("q")


@playbook
async def in_a_statement(pools):
    return pools[0].joined(await effect("a", 3), await effect("b", 3))


@playbook
async def works():
    return [await effect(n) for n in range(8)]


@playbook
async def beside_work(uses, pool):
    return (await asyncio.gather(uses([pool]), works()))[0]


@pytest.mark.parametrize("uses", [in_a_header, in_an_await, in_a_statement], ids=lambda made: made.__name__)
def test_what_came_as_a_value_is_saved_again_although_another_agent_has_one_that_cannot_be(uses):
    """Seed 32000723, 52000057: its method was to be looked up again on a pool that no checkpoint held any more."""
    first = Store()
    expected = start(beside_work, uses, Pool(), store=first)
    assert start(beside_work, uses, LivePool()) == expected
    for number, payload in enumerate(first.payloads):
        second = Store()
        assert resume(payload, second) == expected
        for again, later in enumerate(second.payloads):
            assert resume(later) == expected, f"resumed from {number}, then from {again}"
    assert isinstance(expected, Completed)
