"""The slow sweep over a real Redis: what was left half done is found, and what only waits its turn is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from playbooks_providers.ids import AgentId, SessionId, new_nonce
from playbooks_providers.model import Created, SessionInfo, Taken, Ticket
from playbooks_providers.redis import RedisHome, connect, due
from playbooks_providers.testing import eventually, start_record

pytestmark = pytest.mark.redis

SOON_S = 30.0
SESSION = SessionId("s")


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is at work here, so nothing needs time to settle (but the server's full seconds)."""
    monkeypatch.setattr(due, "_SETTLED_MS", 0)


def on(url: str, story: Callable[[RedisHome], Awaitable[None]]) -> None:
    async def main() -> None:
        home = connect(url)
        try:
            await story(home)
        finally:
            await home.close()

    asyncio.run(main())


async def create(home: RedisHome, agent: str) -> Ticket:
    created = await home.coordination.create(start_record(agent))
    assert isinstance(created, Created) and created.ticket is not None
    return created.ticket


async def a_round(home: RedisHome) -> list[str]:
    """The agents that one whole round of the sweep enqueues."""
    cursor, enqueued = "", []
    while True:
        swept = await home.coordination.sweep(cursor, limit=10)
        cursor = swept.cursor
        enqueued += [ticket.agent for ticket in swept.tickets]
        if not cursor:
            return enqueued


async def tickets(home: RedisHome) -> list[Ticket]:
    await home.coordination.register(SessionInfo(SESSION, "worker", "host", 1, "build", 0))
    return list(await home.coordination.read(SESSION, [start_record("a").queue], limit=1000, wait_s=0.0))


def test_an_agent_that_was_created_and_never_enqueued_is_found_and_can_be_taken(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        await create(home, "left")
        assert await eventually(lambda: a_round(home), SOON_S, "the sweep finds it") == ["left"]
        (ticket,) = await tickets(home)
        assert isinstance(await home.coordination.take(ticket, SESSION, new_nonce()), Taken)

    on(redis_url, story)


def test_agents_that_wait_their_turn_are_not_enqueued_twice(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        for number in range(20):
            await home.coordination.enqueue(await create(home, f"a{number}"))
        await create(home, "left")
        assert await eventually(lambda: a_round(home), SOON_S, "the sweep finds the other") == ["left"]
        for _ in range(3):
            assert await a_round(home) == []
        assert len(await tickets(home)) == 21

    on(redis_url, story)


def test_a_long_queue_is_not_read_to_its_end_and_is_looked_at_again_when_it_is_shorter(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        queued = [await create(home, f"a{number}") for number in range(80)]
        for ticket in queued:
            await home.coordination.enqueue(ticket)
        await create(home, "left")
        later = await create(home, "later")
        await home.coordination.enqueue(later)

        async def later_is_settled() -> bool:
            now_s, _ = await home.server.command("TIME")
            return int(now_s) * 1000 > later.fence

        await eventually(later_is_settled, SOON_S, "the server's clock goes on")
        assert await a_round(home) == []
        for ticket in await tickets(home):
            await home.coordination.acknowledge(SESSION, ticket)
            await home.coordination.take(ticket, SESSION, new_nonce())
        assert await a_round(home) == ["left"]

    on(redis_url, story)


def test_a_delay_whose_timer_was_lost_is_armed_again(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        await home.coordination.enqueue(await create(home, "a1"))
        (ticket,) = await tickets(home)
        taken = await home.coordination.take(ticket, SESSION, new_nonce())
        assert isinstance(taken, Taken)
        await home.coordination.release(taken.lock, "not here", delay_s=0.01)
        await home.coordination.acknowledge(SESSION, ticket)
        await home.server.command("DEL", home.keys.due)  # a lost node of a Cluster, say

        async def fired() -> list[str]:
            await a_round(home)
            return [ticket.agent for ticket in await home.coordination.fire_due(limit=10)]

        assert await eventually(fired, SOON_S, "it is due") == [AgentId("a1")]

    on(redis_url, story)
