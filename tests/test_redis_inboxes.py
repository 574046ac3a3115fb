"""Letters, parking and orders in Redis: what stays of an agent, and what is made up for when somebody dies half way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce
from playbooks_providers.letters import Delivered, Gap, Letter, Ordered, Parked, Poke
from playbooks_providers.model import Created, Done, Lock, Order, OrderKind, SessionInfo, Status, Taken
from playbooks_providers.redis import RedisHome, connect, due
from playbooks_providers.testing import entry, eventually, start_record

pytestmark = pytest.mark.redis

A = AgentId("a1")
S = SessionId("s" * 16)
NOTHING = CheckpointId(0, 0)
SOON_S = 30.0
FAR_MS = 4_000_000_000_000
HELLO = Letter("b2", 7, 1, b"hello")
CANCEL = Order("c1", OrderKind.CANCEL)


class Died(Exception):
    """The process ended in front of this call."""


def on(url: str, story: Callable[[RedisHome], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        home = connect(url, **options)
        try:
            async with asyncio.timeout(60):
                await story(home)
        finally:
            await home.close()

    asyncio.run(main())


async def running(home: RedisHome, agent: AgentId = A) -> Lock:
    created = await home.coordination.create(start_record(agent))
    assert isinstance(created, Created) and created.ticket is not None
    taken = await home.coordination.take(created.ticket, S, new_nonce())
    assert isinstance(taken, Taken)
    return taken.lock


async def parked(home: RedisHome, *, payload: bytes = b"state", wake_ms: int | None = None) -> Lock:
    lock = await running(home)
    await home.checkpoints.save(lock, entry(lock, 1, payload), oldest=NOTHING)
    assert await home.coordination.park(lock, CheckpointId(lock.fence, 1), 0, wake_ms) == Parked()
    return lock


async def retaken(home: RedisHome, answer: object) -> Lock:
    assert isinstance(answer, (Delivered, Ordered)) and answer.ticket is not None, answer
    taken = await home.coordination.take(answer.ticket, S, new_nonce())
    assert isinstance(taken, Taken)
    return taken.lock


async def dies_before(home: RedisHome, name: str, act: Awaitable[object]) -> None:
    def until(run: Any) -> Any:
        async def run_until(one: Any, *args: Any, **kwargs: Any) -> Any:
            if one.name == name:
                raise Died
            return await run(one, *args, **kwargs)

        return run_until

    server = home.server
    with pytest.MonkeyPatch.context() as patch:
        for way in ("run", "quick"):
            patch.setattr(server, way, until(getattr(server, way)))
        with pytest.raises(Died):
            await act


async def keys_of(home: RedisHome, agent: AgentId = A) -> list[str]:
    found = await home.server.command("KEYS", f"*{{{agent}}}*")
    return sorted(key.decode().rpartition(":")[2] for key in found)


# --- what stays ------------------------------------------------------------------------------------------------------


def test_a_parked_agent_is_one_string_and_one_small_hash(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        lock = await running(home)
        senders = ["b2", "person:" + "x" * 100, "ü" * 30]
        for sender in senders:
            await home.coordination.deliver(A, Letter(sender, 1_700_000_000_000, 1, b"hi"), limit=9)
        await home.checkpoints.save(lock, entry(lock, 1), oldest=NOTHING)
        await home.coordination.park(lock, CheckpointId(lock.fence, 1), 3, FAR_MS)
        assert await keys_of(home) == ["meta", "state"]
        meta = await home.server.command("HGETALL", home.keys.agent(A).meta)
        assert all(len(part) <= 64 for pair in meta.items() for part in pair), meta
        assert await home.server.command("OBJECT", "ENCODING", home.keys.agent(A).meta) in (b"listpack", b"ziplist")
        for sender in senders:
            again = await home.coordination.deliver(A, Letter(sender, 1_700_000_000_000, 1, b"hi"), limit=9)
            assert again == Delivered(fresh=False)

    on(redis_url, story)


def test_a_large_state_is_not_copied_by_parking_and_does_not_grow(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        lock = await parked(home, payload=b"x" * 200_000)
        at = CheckpointId(lock.fence, 1)
        assert await keys_of(home) == ["checkpoints", "meta", "state"]
        assert await home.server.command("STRLEN", home.keys.agent(A).state) < 1000
        lengths = set()
        for number in range(1, 6):
            lock = await retaken(home, await home.coordination.deliver(A, Letter("b", 1, number, b""), limit=9))
            assert lock.resume_from == at
            assert await home.coordination.park(lock, at, number, None) == Parked()
            lengths.add(await home.server.command("XLEN", home.keys.agent(A).checkpoints))
        assert len(lengths) == 1
        found = await home.checkpoints.load(A)
        assert found is not None and (found.id, len(found.payload)) == (at, 200_000)

    on(redis_url, story)


def test_keys_of_an_agent_that_has_failed_end_together_and_its_mail_with_them(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        lock = await running(home)
        await home.coordination.deliver(A, HELLO, limit=9)
        await home.checkpoints.save(lock, entry(lock, 1), oldest=NOTHING)
        assert await home.coordination.finish(lock, Status.FAILED, entry(lock, 2, b"", kind="failed")) == Done()
        assert await keys_of(home) == ["inbox", "meta", "state"]
        ends = [await home.server.command("PTTL", f"playbooks:{{{A}}}:{name}") for name in await keys_of(home)]
        assert all(900_000 < end <= 1_000_000 for end in ends)

    on(redis_url, story, retention_s=1000.0)


def test_a_terminated_agent_ends_like_a_finished_one_and_a_deleted_one_is_a_tombstone_for_a_day(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        lock = await parked(home, wake_ms=FAR_MS)
        assert await home.coordination.terminate(A, "why " * 100) == Done()
        assert await keys_of(home) == ["meta", "state"]
        assert all([await home.server.command("PTTL", f"playbooks:{{{A}}}:{name}") > 0 for name in ("meta", "state")])
        assert await home.coordination.delete(A) == Done()
        assert await keys_of(home) == ["meta"]
        meta = home.keys.agent(A).meta
        assert set(await home.server.command("HGETALL", meta)) == {b"fence", b"birth"}
        assert 0 < await home.server.command("PTTL", meta) <= 24 * 3600 * 1000
        again = await running(home)
        assert again.birth > lock.birth
        assert await home.server.command("PTTL", meta) == -1

    on(redis_url, story)


# --- timers ----------------------------------------------------------------------------------------------------------


def test_whoever_wakes_an_agent_before_its_time_takes_its_timer_away(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        acts: list[Callable[[], Awaitable[object]]] = [
            lambda: home.coordination.deliver(A, HELLO, limit=9),
            lambda: home.coordination.order(A, CANCEL),
            lambda: home.coordination.order(A, Order("p", OrderKind.PAUSE)),
            lambda: home.coordination.terminate(A, "why"),
            lambda: home.coordination.delete(A),
        ]
        for act in acts:
            await parked(home, wake_ms=FAR_MS)
            assert await home.server.command("ZCARD", home.keys.due) == 1
            await act()
            assert await home.server.command("ZCARD", home.keys.due) == 0
            await home.coordination.delete(A)

    on(redis_url, story)


def test_a_timer_of_a_parked_agent_that_its_owner_did_not_live_to_arm_is_armed_by_recovery(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        created = await home.coordination.create(start_record(A))
        assert isinstance(created, Created) and created.ticket is not None
        await home.coordination.enqueue(created.ticket)
        (ticket,) = await home.coordination.read(S, ["q"], limit=1, wait_s=SOON_S)
        taken = await home.coordination.take(ticket, S, new_nonce())
        assert isinstance(taken, Taken)
        await home.checkpoints.save(taken.lock, entry(taken.lock, 1), oldest=NOTHING)
        at = CheckpointId(taken.lock.fence, 1)
        await dies_before(home, "arm", home.coordination.park(taken.lock, at, 0, 1))
        assert await home.server.command("ZCARD", home.keys.due) == 0
        assert list(await home.coordination.recover(S)) == []
        assert [fired.agent for fired in await home.coordination.fire_due(limit=10)] == [A]

    on(redis_url, story)


def test_a_parked_agent_whose_timer_was_lost_is_armed_again_by_the_sweep(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "_SETTLED_MS", 0)

    async def story(home: RedisHome) -> None:
        await parked(home, wake_ms=1)
        await home.server.command("DEL", home.keys.due)
        cursor = "0"
        while cursor:
            cursor = (await home.coordination.sweep(cursor, limit=10)).cursor
        assert [fired.agent for fired in await home.coordination.fire_due(limit=10)] == [A]

    on(redis_url, story)


# --- half done -------------------------------------------------------------------------------------------------------


def test_an_agent_woken_by_whoever_died_before_enqueueing_is_found_by_the_sweep(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "_SETTLED_MS", 0)

    async def story(home: RedisHome) -> None:
        await parked(home)
        await home.coordination.order(A, CANCEL)  # and a command that dies here is not sent again

        async def found() -> list[AgentId]:
            cursor, enqueued = "0", []
            while cursor:
                swept = await home.coordination.sweep(cursor, limit=10)
                cursor, tickets = swept.cursor, swept.tickets
                enqueued += [ticket.agent for ticket in tickets]
            return enqueued

        assert await eventually(found, SOON_S, "the sweep to find it") == [A]
        (ticket,) = await home.coordination.read(S, ["q"], limit=1, wait_s=SOON_S)
        taken = await home.coordination.take(ticket, S, new_nonce())
        assert isinstance(taken, Taken) and taken.lock.order == CANCEL

    on(redis_url, story)


# --- pokes -----------------------------------------------------------------------------------------------------------


def test_pokes_are_bounded_and_end_with_their_session_or_by_themselves(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        key = home.keys.pokes(S)
        await home.coordination.register(SessionInfo(S, "w", "h", 1, "b", 1))
        for number in range(3000):
            await home.coordination.poke(S, Poke(AgentId(f"agent-{number}")))
        assert await home.server.command("XLEN", key) < 1500
        assert await home.server.command("PTTL", key) > 0
        await home.coordination.bury(S, None)
        assert await home.server.command("EXISTS", key) == 0
        await home.coordination.poke(S, Poke(A))
        assert await home.server.command("PTTL", key) > 0

    on(redis_url, story)


# --- senders ---------------------------------------------------------------------------------------------------------


def test_senders_that_have_been_silent_too_long_are_forgotten_when_there_are_many(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        await running(home)
        meta = home.keys.agent(A).meta

        async def writes(sender: str, number: int) -> object:
            return await home.coordination.deliver(A, Letter(sender, 1, number, b""), limit=100_000)

        for number in range(600):
            await writes(f"old-{number}", 1)
        for number in range(600):  # as if they had last written long ago
            await home.server.command("HSET", meta, f"s:old-{number}", "1-1-10000")
        await writes("silent", 1)
        await writes("silent", 2)
        for number in range(500):
            await writes(f"new-{number}", 1)
        assert await home.server.command("HLEN", meta) < 700
        for sender in ("silent", "new-499"):
            again = await writes(sender, 1)
            assert isinstance(again, Delivered) and not again.fresh
        assert await writes("silent", 4) == Gap(A, 3)
        forgotten = await writes("old-7", 2)  # it counts on, and nobody knows from where
        assert isinstance(forgotten, Delivered) and forgotten.fresh
        assert await writes("old-7", 4) == Gap(A, 3)

    on(redis_url, story)
