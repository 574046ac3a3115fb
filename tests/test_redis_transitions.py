"""What follows a transition when its maker dies between two steps, and what is kept of an agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from playbooks_providers.errors import ProviderError
from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce
from playbooks_providers.model import (
    Created,
    Done,
    Entry,
    Lock,
    Minted,
    ProgramInfo,
    SessionInfo,
    Stale,
    Status,
    Taken,
    Ticket,
)
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.redis.scripts import script
from playbooks_providers.testing import RedisServer, entry, eventually, proxy, redis_server, start_record

pytestmark = pytest.mark.redis

A = AgentId("a1")
DEAD, HEIR = SessionId("dead"), SessionId("heir")
NOTHING = CheckpointId(0, 0)
SOON_S = 30.0
DAY_MS = 24 * 3600 * 1000


class Died(Exception):
    """The process ended in front of this call."""


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[RedisHome]:
    home = connect(url, **options)
    try:
        yield home
    finally:
        await home.close()


def on(url: str, story: Callable[[RedisHome], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), opened(url, **options) as home:
            await story(home)

    asyncio.run(main())


async def ready(home: RedisHome, agent: AgentId = A, queue: str = "q") -> Ticket:
    created = await home.coordination.create(start_record(agent, queue=queue))
    assert isinstance(created, Created) and created.ticket is not None
    await home.coordination.enqueue(created.ticket)
    return created.ticket


async def running(home: RedisHome, session: SessionId, agent: AgentId = A) -> tuple[Ticket, Lock]:
    await ready(home, agent)
    (ticket,) = await home.coordination.read(session, ["q"], limit=1, wait_s=SOON_S)
    taken = await home.coordination.take(ticket, session, new_nonce())
    assert isinstance(taken, Taken)
    return ticket, taken.lock


async def dies_before(home: RedisHome, name: str, act: Awaitable[object]) -> None:
    """*act*, by a process that ends in front of the first call of this script, or plain command."""
    run, command = home.server.run, home.server.command

    async def run_until(one: Any, *args: Any, **kwargs: Any) -> Any:
        if one.name == name:
            raise Died
        return await run(one, *args, **kwargs)

    async def command_until(*args: Any, **kwargs: Any) -> Any:
        if args[0] == name:
            raise Died
        return await command(*args, **kwargs)

    home.server.run, home.server.command = run_until, command_until  # type: ignore[method-assign]
    try:
        with pytest.raises(Died):
            await act
    finally:
        home.server.run, home.server.command = run, command  # type: ignore[method-assign]


# --- delays ----------------------------------------------------------------------------------------------------------


def test_a_delay_whose_owner_died_before_it_was_armed_is_armed_by_recovery(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        _, lock = await running(home, DEAD)
        await dies_before(home, "arm", home.coordination.release(lock, "not here", delay_s=0.05))
        assert await home.server.command("ZCARD", home.keys.due) == 0
        assert list(await home.coordination.recover(DEAD)) == []  # it waits, so nothing is enqueued
        assert await home.server.command("ZCARD", home.keys.due) == 1
        fired = await eventually(lambda: home.coordination.fire_due(limit=10), SOON_S, "the delay to be over")
        assert [ticket.agent for ticket in fired] == [A]
        assert await home.server.command("ZCARD", home.keys.due) == 0

    on(redis_url, story)


@pytest.mark.parametrize("step", ["note_queues", "enqueue", "ZREM"])
def test_a_timer_whose_firing_was_cut_short_fires_again(redis_url: str, step: str) -> None:
    async def story(home: RedisHome) -> None:
        ticket, lock = await running(home, DEAD)
        await home.coordination.release(lock, "not here", delay_s=0.001)
        await home.coordination.acknowledge(DEAD, ticket)

        async def is_due() -> bool:
            return bool(await home.server.run(script("due"), [home.keys.due], [1]))

        await eventually(is_due, SOON_S, "the delay to be over")
        await dies_before(home, step, home.coordination.fire_due(limit=10))
        assert [again.agent for again in await home.coordination.fire_due(limit=10)] == [A]
        answers = [
            await home.coordination.take(copy, HEIR, new_nonce())
            for copy in await home.coordination.read(HEIR, ["q"], limit=10, wait_s=0)
        ]
        assert sorted(type(answer).__name__ for answer in answers) in (["Taken"], ["Stale", "Taken"])

    on(redis_url, story)


def test_a_timer_of_an_agent_that_moved_on_fires_into_nothing(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        _, lock = await running(home, HEIR)
        await home.coordination.release(lock, "later", delay_s=0.001)
        fired = await eventually(lambda: home.coordination.fire_due(limit=10), SOON_S, "the delay to be over")
        await home.coordination.take(fired[0], HEIR, new_nonce())
        await home.server.command("ZADD", home.keys.due, 1, f"{A}:{lock.fence}", 1, "unknown:77")
        assert list(await home.coordination.fire_due(limit=10)) == []
        assert await home.server.command("ZCARD", home.keys.due) == 0

    on(redis_url, story)


# --- attempts --------------------------------------------------------------------------------------------------------


def test_attempts_count_deaths_start_over_with_a_write_and_are_given_back_by_a_hand_over(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        async def again(minted: object) -> Lock:
            assert isinstance(minted, Minted)
            taken = await home.coordination.take(minted.ticket, DEAD, new_nonce())
            assert isinstance(taken, Taken)
            return taken.lock

        _, lock = await running(home, DEAD)
        assert lock.attempts == 1
        lock = await again(await home.coordination.wake(A, lock.fence, DEAD))
        assert lock.attempts == 2
        lock = await again(await home.coordination.release(lock, "drain"))
        assert lock.attempts == 2
        lock = await again(await home.coordination.release(lock, "it crashed here", blameless=False))
        assert lock.attempts == 3
        one = entry(lock, 1)
        await home.checkpoints.save(lock, one, oldest=NOTHING)
        lock = await again(await home.coordination.wake(A, lock.fence, DEAD))
        assert lock.attempts == 1
        lock = await again(await home.coordination.wake(A, lock.fence, DEAD))
        assert (lock.attempts, lock.resume_from) == (2, one.id)

    on(redis_url, story)


def test_an_agent_that_nobody_can_run_does_not_grow(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        _, lock = await running(home, DEAD)
        one = entry(lock, 1)
        await home.checkpoints.save(lock, one, oldest=NOTHING)
        for _ in range(50):
            minted = await home.coordination.release(lock, "its program is not here")
            assert isinstance(minted, Minted)
            taken = await home.coordination.take(minted.ticket, DEAD, new_nonce())
            assert isinstance(taken, Taken)
            lock = taken.lock
        # the mint of its first owner, its checkpoint, and the newest mint
        assert await home.server.command("XLEN", home.keys.agent(A).checkpoints) == 3
        assert (lock.resume_from, await home.checkpoints.load(A)) == (one.id, one)

    on(redis_url, story)


# --- the end ---------------------------------------------------------------------------------------------------------


def test_a_failed_agent_keeps_its_last_state_and_its_error(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        _, lock = await running(home, HEIR)
        entries = [entry(lock, seq, b"state %d" % seq * 1000) for seq in (1, 2, 3)]
        final = entry(lock, 4, b"", kind="failed")
        for one in [*entries, final]:
            await home.checkpoints.save(lock, one, oldest=NOTHING)
        assert await home.coordination.finish(lock, Status.FAILED, final) == Done()
        assert await home.checkpoints.load(A) == final
        assert await home.checkpoints.load(A, entries[2].id) == entries[2]
        assert await home.checkpoints.load(A, entries[1].id) is None
        listed = [Entry(one.id, one.header, b"") for one in (entries[2], final)]
        assert list(await home.checkpoints.list(A)) == listed
        view = await home.coordination.describe(A)
        assert view is not None and (view.status, view.last, view.header) == (Status.FAILED, final.id, final.header)

    on(redis_url, story)


def test_a_finished_agent_is_one_hash_and_one_string_that_end_together(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        _, lock = await running(home, HEIR)
        await home.checkpoints.save(lock, entry(lock, 1), oldest=NOTHING)
        final = entry(lock, 2, b"", kind="completed", result={"a": 1})
        assert await home.coordination.finish(lock, Status.COMPLETED, final) == Done()
        keys = home.keys.agent(A)
        found = await home.server.command("KEYS", f"*{{{A}}}*")
        assert sorted(found) == sorted([keys.meta.encode(), keys.state.encode()])
        ends = {await home.server.command("PTTL", key) for key in found}
        assert all(DAY_MS - 60_000 < end <= DAY_MS for end in ends)
        # deleting its history neither hides its status nor makes it stay for ever
        await home.checkpoints.delete(A)
        assert await home.checkpoints.load(A) is None
        assert await home.server.command("PTTL", keys.state) > 0
        view = await home.coordination.describe(A)
        assert view is not None and (view.status, view.start) == (Status.COMPLETED, lock.start)

    on(redis_url, story, retention_s=DAY_MS / 1000)


def test_values_of_the_hash_are_short_whatever_the_agent_was_given(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        agent = AgentId("x" * 128)
        created = await home.coordination.create(start_record(agent, text="long " * 1000))
        assert isinstance(created, Created) and created.ticket is not None
        taken = await home.coordination.take(created.ticket, SessionId("s" * 16), new_nonce())
        assert isinstance(taken, Taken)
        await home.coordination.stop(taken.lock, Status.BLOCKED, "because " * 100)
        meta = await home.server.command("HGETALL", home.keys.agent(agent).meta)
        assert all(len(part) <= 64 for pair in meta.items() for part in pair)
        assert await home.server.command("OBJECT", "ENCODING", home.keys.agent(agent).meta) in (b"listpack", b"ziplist")

    on(redis_url, story)


# --- reading the queue -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def where_a_ticket_was_lost(server: RedisServer) -> AsyncIterator[RedisHome]:
    """A home whose queue has one ticket, which was read, and nobody knows by whom."""
    async with proxy(server.port) as middle, opened(middle.url) as home:
        await ready(home)
        middle.lose_reply_to(b"XREADGROUP")
        with pytest.raises(ProviderError):
            await home.coordination.read(HEIR, ["q"], limit=1, wait_s=SOON_S)
        yield home


def test_a_ticket_whose_reply_was_lost_comes_with_the_next_read(redis_url: str, shared_redis: RedisServer) -> None:
    async def main() -> None:
        async with where_a_ticket_was_lost(shared_redis) as home:
            (missed,) = await home.coordination.read(HEIR, ["q"], limit=1, wait_s=SOON_S)
            assert missed.agent == A
            assert list(await home.coordination.read(HEIR, ["q"], limit=1, wait_s=0)) == []
            assert await home.coordination.pending(HEIR, ["q"]) == [missed]

    asyncio.run(main())


def test_a_ticket_whose_reply_was_lost_comes_with_the_next_read_of_whatever_queue(
    redis_url: str, shared_redis: RedisServer
) -> None:
    async def main() -> None:
        async with where_a_ticket_was_lost(shared_redis) as home:
            (missed,) = await home.coordination.read(HEIR, ["another"], limit=1, wait_s=SOON_S)
            assert missed.agent == A

    asyncio.run(main())


def test_a_read_that_was_cancelled_loses_no_ticket(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        for number in range(20):
            reading = asyncio.create_task(home.coordination.read(HEIR, ["q"], limit=1, wait_s=SOON_S))
            await asyncio.sleep(0)
            enqueued = asyncio.create_task(ready(home, AgentId(f"agent-{number}")))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading, enqueued])
            if reading.cancelled():
                (ticket,) = await home.coordination.read(HEIR, ["q"], limit=1, wait_s=SOON_S)
            else:
                (ticket,) = reading.result()
            assert ticket.agent == f"agent-{number}"

    on(redis_url, story)


def test_of_several_queues_a_reader_gets_no_more_than_its_limit(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        queues = ["one", "two", "three"]
        for round in range(10):
            reading = asyncio.create_task(home.coordination.read(HEIR, queues, limit=1, wait_s=SOON_S))
            await asyncio.wait([reading], timeout=0.002)
            await asyncio.gather(*(ready(home, AgentId(f"{queue}-{round}"), queue) for queue in queues))
            got = list(await reading)
            assert len(got) == 1
            while len(got) < 3:
                got += await home.coordination.read(HEIR, queues, limit=1, wait_s=SOON_S)
            assert sorted(ticket.agent for ticket in got) == sorted(f"{queue}-{round}" for queue in queues)

    on(redis_url, story)


def test_a_busy_queue_starves_no_other(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        for number in range(20):
            await ready(home, AgentId(f"busy-{number}"), "busy")
        await ready(home, AgentId("quiet"), "quiet")
        first = [await home.coordination.read(HEIR, ["busy", "quiet"], limit=1, wait_s=0) for _ in range(2)]
        assert "quiet" in [tickets[0].queue for tickets in first]

    on(redis_url, story)


def test_a_queue_that_the_server_forgot_is_made_again(redis_url: str, shared_redis: RedisServer) -> None:
    async def story(home: RedisHome) -> None:
        assert list(await home.coordination.read(HEIR, ["q"], limit=1, wait_s=0)) == []
        assert shared_redis.command("FLUSHALL").startswith(b"+OK")
        await ready(home)
        (ticket,) = await home.coordination.read(HEIR, ["q"], limit=1, wait_s=SOON_S)
        assert ticket.agent == A

    on(redis_url, story)


def test_many_pending_tickets_are_all_found_and_all_recovered(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        count = 1234  # more than two pages
        for number in range(count):
            await ready(home, AgentId(f"agent-{number}"))
        held: list[Ticket] = []
        while more := await home.coordination.read(DEAD, ["q"], limit=400, wait_s=0):
            held += more
        assert sorted(await home.coordination.pending(DEAD, ["q"]), key=str) == sorted(held, key=str)
        assert len(await home.coordination.recover(DEAD)) == count
        assert await home.server.command("XLEN", home.keys.queue("q")) == count
        assert len(await home.coordination.agents()) == count

    on(redis_url, story)


# --- sessions --------------------------------------------------------------------------------------------------------


def test_a_registration_that_was_cut_short_leaves_nothing_for_ever(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        info = SessionInfo(DEAD, "w", "h", 1, "b", 1)
        await dies_before(home, "open_session", home.coordination.register(info))
        assert await home.coordination.sessions() == {}
        assert await home.server.command("TTL", home.keys.session(DEAD)) > 0
        await home.coordination.register(info)
        assert await home.server.command("TTL", home.keys.session(DEAD)) == -1
        await home.coordination.bury(DEAD, None)
        assert await home.server.command("TTL", home.keys.session(DEAD)) > 0

    on(redis_url, story)


def test_what_a_session_published_is_forgotten_though_its_burial_was_cut_short(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        await home.coordination.register(SessionInfo(DEAD, "w", "h", 1, "b", 1))
        await home.coordination.publish(DEAD, [ProgramInfo("audit", "audit", "b", {})])
        await dies_before(home, "HDEL", home.coordination.bury(DEAD, None))
        assert list(await home.coordination.programs()) == []
        assert await home.server.command("EXISTS", home.keys.programs) == 0

    on(redis_url, story)


def test_a_consumer_whose_session_is_over_and_that_holds_nothing_is_forgotten(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        await ready(home)
        (ticket,) = await home.coordination.read(DEAD, ["q"], limit=1, wait_s=SOON_S)
        await home.coordination.acknowledge(DEAD, ticket)
        assert len(await home.server.command("XINFO CONSUMERS", home.keys.queue("q"), "workers")) == 1
        assert list(await home.coordination.ownerless()) == []
        assert len(await home.server.command("XINFO CONSUMERS", home.keys.queue("q"), "workers")) == 0

    on(redis_url, story)


# --- the server ------------------------------------------------------------------------------------------------------


def test_a_restarted_server_is_taught_the_scripts_again() -> None:
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:

        async def story(home: RedisHome) -> None:
            await running(home, DEAD)
            server.kill()
            server.start()

            async def recovered() -> list[Ticket]:
                try:
                    return list(await home.coordination.recover(DEAD))  # one pipeline among its calls
                except ProviderError:
                    return []

            (ticket,) = await eventually(recovered, SOON_S, "the server to be back")
            server.command("SCRIPT", "FLUSH")
            assert isinstance(await home.coordination.take(ticket, HEIR, new_nonce()), Taken)
            assert isinstance(await home.coordination.take(ticket, DEAD, new_nonce()), Stale)

        on(server.url, story)


def test_a_server_that_may_lose_agents_is_told_of_at_start_up() -> None:
    with redis_server() as server:

        async def story(home: RedisHome) -> None:
            assert [line.split(":")[0] for line in await home.advice()] == ["persistence is off"]
            server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            server.command("CONFIG", "SET", "save", "60 1")
            assert [line.split(" is ")[0] for line in await home.advice()] == ["maxmemory-policy", "appendonly"]
            server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
            server.command("CONFIG", "SET", "appendonly", "yes")
            assert await home.advice() == []
            server.command("CONFIG", "SET", "proto-max-bulk-len", "5000000")
            assert [line.split(":")[0] for line in await home.advice()] == ["proto-max-bulk-len is 5 MB"]
            server.command("ACL", "SETUSER", "default", "-info", "-config")
            assert await home.advice() == []  # it may not ask

        on(server.url, story)
