"""Longer sequences of orders than the conformance kit takes, crossing with what the owner of the agent does."""

from __future__ import annotations

import asyncio
import datetime
import random
import tempfile
from pathlib import Path

import pytest
from tests.test_conformance_filesystem import FilesystemHome

from playbooks_providers.clock import ManualClock
from playbooks_providers.ids import AgentId
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Status
from playbooks_providers.redis import connect
from playbooks_providers.testing import CoordinatedHome, crossed, crossings

BEGINS = (Status.RUNNING, Status.READY, Status.WAITING)
SEED = datetime.date.today().toordinal()  # others each day


async def all_cross(home, chosen):
    for number, crossing in enumerate(chosen):
        try:
            await crossed(home, AgentId(f"agent-{number}"), crossing)
        except AssertionError as error:
            raise AssertionError(f"SEED {SEED}: {crossing}: {error}") from error


def some(acts, count, begins=BEGINS):
    return random.Random(SEED).sample(list(crossings(acts, begins)), count)


@pytest.mark.parametrize("begins", BEGINS)
def test_three_orders_cross_in_memory(begins):
    store = MemoryStore(ManualClock())
    home = CoordinatedHome(MemoryCheckpoints(store), MemoryCoordination(store))
    asyncio.run(all_cross(home, crossings(3, [begins])))


@pytest.mark.redis
def test_some_of_three_and_four_orders_cross_in_redis(redis_url):
    async def main():
        home = connect(redis_url)
        try:
            chosen = [*some(3, 300), *some(4, 300, BEGINS[:1])]
            await all_cross(CoordinatedHome(home.checkpoints, home.coordination), chosen)
        finally:
            await home.close()

    asyncio.run(main())


def test_some_of_three_orders_cross_in_a_folder():
    with tempfile.TemporaryDirectory(prefix="playbooks-test-") as folder:
        asyncio.run(all_cross(FilesystemHome(Path(folder, "checkpoints")), some(3, 25, BEGINS[:2])))
