"""The conversations of tests/test_talk_kill.py on a real server: on one worker and on two, and killed at calls of the home.

A kill takes some of the calls, others each day; `PLAYBOOKS_TEST_EVERY_CALL=1` takes all of them.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import sys
from pathlib import Path

import pytest

from playbooks_providers.model import OrderKind, Status

sys.path.insert(0, str(Path(__file__).parent / "programs"))
sys.path.insert(0, str(Path(__file__).parent))
from perishing import CONVERSATIONS, PARKING, WHEN, at_every_call, killed  # noqa: E402
from perishing_on_redis import on_redis  # noqa: E402
from test_talk_kill import ordered  # noqa: E402

pytestmark = pytest.mark.redis

EVERY = os.environ.get("PLAYBOOKS_TEST_EVERY_CALL") == "1"
STRIDE = 1 if EVERY else 5
TALKS = [*CONVERSATIONS, ("naps", (0.05,), 0.05)]
TALKING = pytest.mark.parametrize(("entry", "args", "expected"), TALKS, ids=lambda value: str(value)[:20])


def some_calls():
    return range(1 + datetime.date.today().toordinal() % STRIDE, sys.maxsize, STRIDE)


@TALKING
@PARKING
@pytest.mark.parametrize("workers", [1, 2])
def test_conversations_on_one_worker_and_on_two(entry, args, expected, park_after_s, workers, redis_url):
    async def main():
        world = on_redis(redis_url)(park_after_s)
        try:
            for number in range(workers):
                await world.worker(f"w{number}", concurrency=50)
            await world.submit(entry, *args)
            assert await world.result() == expected
        finally:
            await world.close()

    asyncio.run(main())


@TALKING
@PARKING
@WHEN
def test_a_conversation_whose_worker_dies_at_a_call_ends_as_without(
    entry, args, expected, park_after_s, after, redis_url
):
    async def scenario(world, fuse):
        await world.submit(entry, *args)
        assert await killed(world, fuse, world.result()) == expected

    assert at_every_call(scenario, park_after_s, after=after, begins=on_redis(redis_url), calls=some_calls()) > 0


@PARKING
@WHEN
def test_a_cancelled_parent_whose_worker_dies_at_a_call_ends_as_cancelled_and_so_do_its_children(
    park_after_s, after, redis_url
):
    async def scenario(world, fuse):
        await world.submit("parent_of_sleepers")

        async def over():
            await ordered(world, OrderKind.CANCEL)
            await world.ended()
            for child in await world.coordination.agents():
                await world.ended(child)

        await killed(world, fuse, over())
        for agent in await world.coordination.agents():
            assert (await world.view(agent)).status is Status.CANCELLED, agent

    assert at_every_call(scenario, park_after_s, after=after, begins=on_redis(redis_url), calls=some_calls()) > 0
