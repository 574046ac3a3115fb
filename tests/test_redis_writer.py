"""The writer: what happens to a checkpoint when replies are lost, servers die, fill up, are demoted, or time is up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from redis import asyncio as driver

from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce
from playbooks_providers.model import Created, Lock, Lost, Minted, Saved, SessionInfo, Status, Taken
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.redis.append import append, head
from playbooks_providers.redis.link import pack
from playbooks_providers.testing import RedisServer, entry, eventually, proxy, redis_server, start_record

pytestmark = pytest.mark.redis

A = AgentId("a1")
S = SessionId("s1")
NOTHING = CheckpointId(0, 0)
STREAM = "playbooks:{a1}:checkpoints"
LONG_S = 30.0


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[RedisHome]:
    home = connect(url, **options)
    try:
        yield home
    finally:
        await home.close()


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Any]:
    client = driver.Redis.from_url(url, protocol=2)
    try:
        yield client
    finally:
        await client.aclose()


async def own(home: RedisHome, agent: AgentId = A) -> Lock:
    created = await home.coordination.create(start_record(agent))
    assert isinstance(created, Created) and created.ticket is not None
    taken = await home.coordination.take(created.ticket, S, new_nonce())
    assert isinstance(taken, Taken)
    return taken.lock


async def usurp(home: RedisHome, lock: Lock) -> Lock:
    """Somebody else becomes the owner."""
    woken = await home.coordination.wake(lock.agent, lock.fence, lock.session)
    assert isinstance(woken, Minted)
    taken = await home.coordination.take(woken.ticket, SessionId("usurper"), new_nonce())
    assert isinstance(taken, Taken)
    return taken.lock


async def save(home: RedisHome, lock: Lock, seq: int, payload: bytes = b"state") -> Saved | Lost:
    return await home.checkpoints.save(lock, entry(lock, seq, payload), oldest=NOTHING)


def saved(lock: Lock, seq: int) -> Saved:
    return Saved(CheckpointId(lock.fence, seq))


async def kept(home: RedisHome, agent: AgentId = A) -> list[int]:
    return [one.id.seq for one in await home.checkpoints.list(agent)]


class Switch:
    """A gate that a test opens and closes."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._event.set()
        self.waiting = 0

    @property
    def is_open(self) -> bool:
        return self._event.is_set()

    async def wait_open(self) -> None:
        self.waiting += 1
        await self._event.wait()
        self.waiting -= 1

    def open(self) -> None:
        self._event.set()

    def close(self) -> None:
        self._event.clear()


# --- lost replies ----------------------------------------------------------------------------------------------------


def test_a_save_whose_reply_was_lost_is_one_checkpoint_and_saved(redis_url: str, shared_redis: RedisServer) -> None:
    async def main() -> None:
        async with proxy(shared_redis.port) as middle, opened(middle.url) as home, raw(redis_url) as client:
            lock = await own(home)
            for seq in range(1, 21):
                middle.lose_reply_to(b"XADD")
                assert await save(home, lock, seq) == saved(lock, seq)
            assert middle.cuts == 20
            assert await kept(home) == list(range(1, 21))
            assert await client.xlen(STREAM) == 21  # the mint's, and twenty

    asyncio.run(main())


def test_lost_replies_of_many_agents_in_one_pipeline_are_sorted_out(redis_url: str, shared_redis: RedisServer) -> None:
    async def main() -> None:
        async with proxy(shared_redis.port) as middle, opened(middle.url) as home:
            locks = [await own(home, AgentId(f"agent-{number}")) for number in range(30)]

            async def life(lock: Lock) -> None:
                for seq in range(1, 11):
                    assert await save(home, lock, seq) == saved(lock, seq)
                    if seq % 3 == 0:
                        middle.lose_reply_to(b"XADD")

            await asyncio.gather(*map(life, locks))
            assert middle.cuts >= 3
            for lock in locks:
                assert await kept(home, lock.agent) == list(range(1, 11))

    asyncio.run(main())


def test_a_save_whose_reply_was_lost_is_saved_even_when_somebody_took_over_since(
    redis_url: str, shared_redis: RedisServer
) -> None:
    async def main() -> None:
        async with proxy(shared_redis.port) as middle, opened(middle.url) as home, opened(redis_url) as other:
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            middle.lose_reply_to(b"XADD")
            waiting = asyncio.create_task(save(home, lock, 2))
            await eventually(lambda: middle.cuts == 1, LONG_S, "the reply to be lost")
            new = await usurp(other, lock)
            answer = await waiting
            # it had arrived before the new owner came, so it is part of the history that the new owner goes on from
            assert (answer, new.resume_from) == (saved(lock, 2), CheckpointId(lock.fence, 2))
            assert await save(home, lock, 3) == Lost(A)

    asyncio.run(main())


def test_a_save_that_never_arrived_is_refused_after_somebody_took_over(
    redis_url: str, shared_redis: RedisServer
) -> None:
    async def main() -> None:
        async with proxy(shared_redis.port) as middle, opened(middle.url) as home, opened(redis_url) as other:
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            async with middle.down():
                waiting = asyncio.create_task(save(home, lock, 2))
                await usurp(other, lock)
            assert await waiting == Lost(A)
            assert await kept(home) == [1]

    asyncio.run(main())


def test_an_outage_is_told_once_and_its_end_too(redis_url: str, shared_redis: RedisServer) -> None:
    async def main() -> None:
        async with proxy(shared_redis.port) as middle, opened(middle.url) as home:
            locks = [await own(home, AgentId(f"agent-{number}")) for number in range(5)]
            await asyncio.gather(*(save(home, lock, 1) for lock in locks))
            with structlog.testing.capture_logs() as logs:
                async with middle.down():
                    waiting = [asyncio.create_task(save(home, lock, 2)) for lock in locks]
                    done, _ = await asyncio.wait(waiting, timeout=0.5)
                    assert not done
                await asyncio.gather(*waiting)
            assert [(log["log_level"], log["trouble"]) for log in logs] == [
                ("warning", "unreachable"),
                ("info", "unreachable"),
            ]

    asyncio.run(main())


# --- the end of the history on a new connection ----------------------------------------------------------------------


def test_an_owner_whose_last_checkpoint_the_server_lost_is_lost(redis_url: str, shared_redis: RedisServer) -> None:
    async def main() -> None:
        async with proxy(shared_redis.port) as middle, opened(middle.url) as home, raw(redis_url) as client:
            lock = await own(home)
            for seq in (1, 2, 3):
                await save(home, lock, seq)
            # a failover to a replica that had not got the third one
            await client.xdel(STREAM, f"{lock.fence}-3")
            await client.execute_command("XSETID", STREAM, f"{lock.fence}-2")
            middle.cut()
            assert await save(home, lock, 4) == Lost(A)
            assert await kept(home) == [1, 2]

    asyncio.run(main())


def test_a_server_that_lost_everything_loses_the_agent() -> None:
    async def main() -> None:
        with redis_server() as server:  # no persistence
            async with opened(server.url) as home:
                lock = await own(home)
                await save(home, lock, 1)
                server.kill()
                server.start()
                assert await save(home, lock, 2) == Lost(A)

    asyncio.run(main())


# --- servers that die, are demoted, fall silent ----------------------------------------------------------------------


def test_a_save_goes_on_when_its_killed_server_is_back() -> None:
    async def main() -> None:
        with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
            async with opened(server.url) as home:
                lock = await own(home)
                for seq in range(1, 4):
                    assert await save(home, lock, seq) == saved(lock, seq)
                    server.kill()
                    waiting = asyncio.create_task(save(home, lock, seq + 10))
                    await asyncio.wait([waiting], timeout=0.1)
                    server.start()
                    assert await waiting == saved(lock, seq + 10)
                    lock = await usurp(home, lock)
                assert len(await kept(home)) == 6

    asyncio.run(main())


def test_a_demoted_server_is_left_until_a_primary_answers() -> None:
    async def main() -> None:
        with redis_server("--repl-diskless-sync-delay", "0") as server, redis_server() as primary:
            async with opened(server.url) as home, raw(server.url) as client:
                lock = await own(home)
                assert await save(home, lock, 1) == saved(lock, 1)
                # the other one gets its data, and becomes its primary; both stay reachable
                async with raw(primary.url) as other:
                    await other.replicaof("127.0.0.1", server.port)

                    async def synced() -> bool:
                        return bool(await other.exists(STREAM))

                    await eventually(synced, LONG_S, "the replica to have the stream")
                    await other.replicaof("NO", "ONE")
                await client.replicaof("127.0.0.1", primary.port)
                waiting = asyncio.create_task(save(home, lock, 2))
                await asyncio.wait([waiting], timeout=0.5)
                assert not waiting.done()
                await client.replicaof("NO", "ONE")
                assert await waiting == saved(lock, 2)

    asyncio.run(main())


def test_a_silent_server_is_given_up_and_asked_again() -> None:
    async def main() -> None:
        with redis_server() as server:
            async with opened(server.url, timeout_s=0.3) as home:
                lock = await own(home)
                assert await save(home, lock, 1) == saved(lock, 1)
                with structlog.testing.capture_logs() as logs:
                    server.pause()
                    waiting = asyncio.create_task(save(home, lock, 2))
                    await eventually(lambda: logs, LONG_S, "the silence to be noticed")
                    server.unpause()
                    assert await waiting == saved(lock, 2)
                assert "no reply" in logs[0]["reason"]
                assert await kept(home) == [1, 2]

    asyncio.run(main())


# --- a full server ---------------------------------------------------------------------------------------------------


def test_a_save_waits_for_room_and_transitions_run_without_it() -> None:
    async def main() -> None:
        with redis_server("--maxmemory", "100mb") as server:
            async with opened(server.url) as home, raw(server.url) as client:
                lock, other = await own(home), await own(home, AgentId("other"))
                assert await save(home, lock, 1) == saved(lock, 1)
                await home.coordination.publish_timeout(5)
                await client.config_set("maxmemory", "1mb")
                with structlog.testing.capture_logs() as logs:
                    waiting = asyncio.create_task(save(home, lock, 2))
                    await eventually(lambda: logs, LONG_S, "the full server to be noticed")
                    assert (logs[0]["trouble"], waiting.done()) == ("full", False)
                    # everything that lets agents go on elsewhere still runs
                    woken = await usurp(home, other)
                    assert isinstance(await home.coordination.release(woken, "drain", delay_s=60), Minted)
                    await create_and_hand_over(home)
                    await client.config_set("maxmemory", "100mb")
                    assert await waiting == saved(lock, 2)
                assert [log["trouble"] for log in logs] == ["full", "full"]
                assert await kept(home) == [1, 2]

    asyncio.run(main())


async def create_and_hand_over(home: RedisHome) -> None:
    """Each kind of step that recovery is made of."""
    dead = SessionId("dead")
    await home.coordination.register(SessionInfo(dead, "w", "h", 1, "b", 1))
    await home.coordination.beat([dead])
    created = await home.coordination.create(start_record("third", queue="fresh queue"))
    assert isinstance(created, Created) and created.ticket is not None
    await home.coordination.enqueue(created.ticket)
    (ticket,) = await home.coordination.read(dead, ["fresh queue"], limit=1, wait_s=5)
    taken = await home.coordination.take(ticket, dead, new_nonce())
    assert isinstance(taken, Taken)
    assert len(await home.coordination.recover(dead)) == 1
    assert await home.coordination.lead(new_nonce(), 60)
    assert await home.coordination.bury(dead, 1)


# --- the gate --------------------------------------------------------------------------------------------------------


def test_nothing_is_written_while_the_gate_is_closed(redis_url: str) -> None:
    async def main() -> None:
        gate = Switch()
        async with opened(redis_url, gate=gate) as home, raw(redis_url) as client:
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            gate.close()
            waiting = asyncio.create_task(save(home, lock, 2))
            await eventually(lambda: gate.waiting == 1, LONG_S, "the writer to wait at the gate")
            assert await client.xlen(STREAM) == 2
            gate.open()
            assert await waiting == saved(lock, 2)

    asyncio.run(main())


def test_a_frozen_retry_sends_nothing(redis_url: str, shared_redis: RedisServer) -> None:
    async def main() -> None:
        gate = Switch()
        async with proxy(shared_redis.port) as middle, opened(middle.url, gate=gate) as home, raw(redis_url) as client:
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            async with middle.down():
                waiting = asyncio.create_task(save(home, lock, 2))
                await asyncio.wait([waiting], timeout=0.1)
                gate.close()
            await eventually(lambda: gate.waiting == 1, LONG_S, "the retry to wait at the gate")
            assert await client.xlen(STREAM) == 2
            gate.open()
            assert await waiting == saved(lock, 2)

    asyncio.run(main())


def test_a_save_that_was_cancelled_at_the_gate_is_never_sent(redis_url: str) -> None:
    async def main() -> None:
        gate = Switch()
        async with opened(redis_url, gate=gate) as home:
            lock = await own(home)
            gate.close()
            waiting = asyncio.create_task(save(home, lock, 1))
            await eventually(lambda: gate.waiting == 1, LONG_S, "the writer to wait at the gate")
            waiting.cancel()
            await asyncio.wait([waiting])
            gate.open()
            assert await save(home, lock, 2) == saved(lock, 2)
            assert await kept(home) == [2]

    asyncio.run(main())


# --- fence and trimming ----------------------------------------------------------------------------------------------


def test_trimming_never_moves_the_fence_back(redis_url: str) -> None:
    async def main() -> None:
        async with opened(redis_url) as home, opened(redis_url) as zombie, raw(redis_url) as client:
            old = await own(zombie)
            assert await save(zombie, old, 1) == saved(old, 1)
            new = await usurp(home, old)
            for seq in range(2, 30):
                one = entry(new, seq)
                assert await home.checkpoints.save(new, one, oldest=one.id) == Saved(one.id)
                top = (await client.xinfo_stream(STREAM))["last-generated-id"]
                assert top == str(one.id).encode()
            assert await save(zombie, old, 31) == Lost(A)
            # also when everything but the newest is forgotten, or more than there is
            await home.checkpoints.cleanup(new, oldest=CheckpointId(new.fence + 1, 0))
            assert await kept(home) == [29]
            assert (await client.xinfo_stream(STREAM))["last-generated-id"] == f"{new.fence}-29".encode()
            # also when every entry is deleted by hand
            await client.xtrim(STREAM, maxlen=0)
            assert await client.xadd(STREAM, {"x": "y"}, id=f"{new.fence}-30", nomkstream=True)
            with pytest.raises(driver.ResponseError):
                await client.xadd(STREAM, {"x": "y"}, id=f"{old.fence}-99", nomkstream=True)

    asyncio.run(main())


def test_a_late_owner_of_a_finished_agent_makes_no_stream(redis_url: str) -> None:
    async def main() -> None:
        async with opened(redis_url) as home, opened(redis_url) as zombie, raw(redis_url) as client:
            old = await own(zombie)
            await save(zombie, old, 1)
            new = await usurp(home, old)
            final = entry(new, 2, b"", kind="completed", result=1)
            await home.checkpoints.save(new, final, oldest=final.id)
            await home.coordination.finish(new, Status.COMPLETED, final)
            assert await save(zombie, old, 3) == Lost(A)
            assert not await client.exists(STREAM)

    asyncio.run(main())


def test_close_cancels_what_still_waits(redis_url: str, shared_redis: RedisServer) -> None:
    async def main() -> None:
        async with proxy(shared_redis.port) as middle:
            home = connect(middle.url)
            lock = await own(home)
            async with middle.down():
                waiting = asyncio.create_task(save(home, lock, 1))
                await asyncio.wait([waiting], timeout=0.05)
                await home.close()
                await asyncio.wait([waiting], timeout=LONG_S)
                assert waiting.cancelled()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not [task for task in others if "Writer" in repr(task)]

    asyncio.run(main())


def test_the_command_packed_by_hand_is_what_the_library_would_pack() -> None:
    key, header, payload = "playbooks:{ä1}:checkpoints", b"\r\n$5\r\nheader", b""
    words = ["XADD", key, "NOMKSTREAM", "MINID", "=", "17-0", "18-5", "h", header, "d", payload, "n", "0a"]
    mine = append(head(key), CheckpointId(17, -1), CheckpointId(18, 5), header, payload, b"0a")
    assert mine == pack(*words)
