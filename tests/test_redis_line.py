"""The connection for small calls: answers in the order of the questions, and what becomes of them when it breaks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from playbooks_providers.errors import StorageFull, Unreachable
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.redis.scripts import Script
from playbooks_providers.testing import RedisServer, eventually, redis_server

PONG = Script("pong", "return {KEYS[1], ARGV[1]}")


def on(url: str, story: Any, **options: Any) -> None:
    async def main() -> None:
        home = connect(url, **options)
        try:
            await story(home)
        finally:
            await home.close()

    asyncio.run(main())


def test_many_calls_at_once_get_each_its_own_answer(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        asked = [home.server.quick(PONG, ["k"], [number]) for number in range(500)]
        assert [int(number) for _, number in await asyncio.gather(*asked)] == list(range(500))

    on(redis_url, story)


def test_a_call_that_is_given_up_shifts_no_other_answer(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        asked = [asyncio.ensure_future(home.server.quick(PONG, ["k"], [number])) for number in range(50)]
        await asyncio.sleep(0)
        for one in asked[::2]:
            one.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [int(answer[1]) for answer in answers[1::2]] == list(range(1, 50, 2))

    on(redis_url, story)


def test_what_was_asked_of_a_server_that_dies_is_unknown_and_the_next_call_finds_the_one_that_came() -> None:
    with redis_server() as server:

        async def story(home: RedisHome) -> None:
            await home.server.quick_command("PING")
            server.pause()
            asked = [asyncio.ensure_future(home.server.quick_command("PING")) for _ in range(3)]
            await asyncio.sleep(0)
            server.kill()
            for answer in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(answer, Unreachable) and "does not serve us now" in str(answer)
            with pytest.raises(Unreachable):
                await home.server.quick_command("PING")
            server.start()
            assert await home.server.quick_command("PING") == b"PONG"

        on(server.url, story)


def test_a_server_that_says_nothing_is_given_up(shared_redis: RedisServer) -> None:
    async def story(home: RedisHome) -> None:
        await home.server.quick_command("PING")
        shared_redis.pause()
        try:
            with pytest.raises(Unreachable):
                await home.server.quick_command("PING")
        finally:
            shared_redis.unpause()
        assert await home.server.quick_command("PING") == b"PONG"

    on(shared_redis.url, story, timeout_s=0.2)


def test_a_server_without_room_says_so_and_a_replica_is_left() -> None:
    with redis_server() as server:

        async def story(home: RedisHome) -> None:
            await home.server.command("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(StorageFull):
                await home.server.quick_command("SET", "k", "v")
            await home.server.command("CONFIG", "SET", "maxmemory", "0")
            await home.server.command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(Unreachable):
                await home.server.quick_command("SET", "k", "v")
            await home.server.command("REPLICAOF", "NO", "ONE")
            assert await home.server.quick_command("SET", "k", "v") == b"OK"

        on(server.url, story)


def test_one_that_stops_listening_keeps_no_other_waiting(redis_url: str) -> None:
    async def story(home: RedisHome) -> None:
        first = asyncio.ensure_future(home.server.listen("XREAD", "BLOCK", 4000, "STREAMS", "none", "0"))

        async def blocked() -> bool:
            return b"cmd=xread" in (await home.server.command("CLIENT", "LIST")).__repr__().encode()

        await eventually(blocked, 5.0, "the first to listen")
        first.cancel()
        await asyncio.wait([first])
        async with asyncio.timeout(2.0):
            assert await home.server.listen("PING") == b"PONG"

    on(redis_url, story)
