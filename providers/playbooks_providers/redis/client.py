"""The connections to one Redis, for everything but the writer's: calls without automatic retries, errors in our words.

Every room of this package goes through `Server`. Three pools, so that nobody waits behind somebody else (DESIGN 4.4):
*main*, *beats* for heartbeats, *blocking* for reads that wait; and two `Line`s below redis-py, one for the small calls of
agents and one that hears their pokes. redis-py's own retries are off: a lost reply would run a
command twice; every transition here may be repeated, and its caller decides when. It must not know what a call means.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from redis import asyncio as driver
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from playbooks_providers import metrics
from playbooks_providers.errors import ConfigError, ProviderError, StorageFull, Unreachable
from playbooks_providers.redis.address import Address
from playbooks_providers.redis.line import Line
from playbooks_providers.redis.link import ReplyError
from playbooks_providers.redis.scripts import Script

Pool = Literal["main", "beats", "blocking"]
Call = tuple[Script, Sequence[str], Sequence[str | bytes | int]]

# A blocking read is cut into pieces of this length, well below the socket's timeout: a timeout then means a broken
# connection and never a quiet queue (redis-py 8 times out sockets after 5 s: BLOCK 5000 was seen to fail).
BLOCK_S = 5.0
_BATCH = 500  # calls in one pipeline: some ms of the server's time, and no reply buffer that grows without bound

# What the server says when it is there but cannot serve us (a replica, still loading, cut off from its primary), or has no
# room. Redis 6.2 puts the words of a script's error behind its own: `ERR Error running script (...): -READONLY ...`.
_ELSEWHERE = re.compile(
    r"(^|: -)(READONLY|LOADING|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|BUSY|NOAUTH|WRONGPASS)\b"
    r"|unauthenticated (multi)?bulk length",  # NOAUTH to a long command
    re.MULTILINE,
)
_FULL = re.compile(
    r"(^|: -)(OOM|MISCONF)\b|^command not allowed when used memory"
)  # redis-py cuts off some first words

Trouble = Literal["unreachable", "full", "unconfirmed", "error"]


def trouble(text: str) -> Trouble:
    """What an error of the server means: go elsewhere or come back, wait for room, or something nobody foresaw."""
    if _ELSEWHERE.search(text):
        return "unreachable"
    return "full" if _FULL.search(text) else "error"


class Server:
    """One Redis, as the rooms of this package see it."""

    def __init__(self, address: Address, *, timeout_s: float, max_connections: int) -> None:
        self.address = address
        self._line = Line(address, timeout_s=timeout_s)
        self._ear = Line(address, timeout_s=BLOCK_S + timeout_s)
        self._pools: dict[Pool, Any] = {
            "main": _client(address, timeout_s=timeout_s, connect_s=timeout_s, most=max_connections),
            "beats": _client(address, timeout_s=timeout_s, connect_s=timeout_s, most=2),
            "blocking": _client(address, timeout_s=BLOCK_S + timeout_s, connect_s=timeout_s, most=max_connections),
        }

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int], pool: Pool = "main"
    ) -> Any:
        """One script. Raises `Unreachable` (the outcome is unknown), `StorageFull`, or `ProviderError`."""
        client = self._pools[pool]
        with _timed(script.name):
            try:
                return await _uncancelled(client.execute_command("EVALSHA", script.sha, len(keys), *keys, *args))
            except exceptions.NoScriptError:
                pass
            except Exception as error:
                raise await self._ours(error, client) from error
            # the server does not know it (yet, or since its restart): its text instead, which also teaches it
            return await self._say(client, "EVAL", script.text, len(keys), *keys, *args)

    async def quick(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """One script on the connection for small calls. Raises like `run`."""
        with _timed(script.name):
            reply = await self._said("EVALSHA", script.sha, len(keys), *keys, *args)
            if isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT"):
                reply = await self._said("EVAL", script.text, len(keys), *keys, *args)
        return self._reply(reply)

    async def quick_command(self, *args: str | bytes | int) -> Any:
        """One plain command on the connection for small calls. Raises like `run`."""
        with _timed(str(args[0]).lower()):
            reply = await self._said(*args)
        return self._reply(reply)

    async def _said(self, *args: str | bytes | int) -> Any:
        try:
            return await self._line.say(*args)
        except Unreachable:
            metrics.REDIS_ERRORS.add("unreachable")
            raise

    async def listen(self, *args: str | bytes | int) -> Any:
        """One command that waits, up to `BLOCK_S`, on a connection for nothing else; one at a time. Raises like `run`."""
        try:
            return self._reply(await self._ear.say(*args))
        except asyncio.CancelledError:
            self._ear.hang_up()  # or whoever listens next would wait until this one has waited
            raise

    def _reply(self, reply: Any) -> Any:
        if not isinstance(reply, ReplyError):
            return reply
        error = self._by_its_words(str(reply)) or ProviderError(f"Redis at {self.address}: {reply}")
        _count(error)
        if isinstance(error, Unreachable):
            self._line.hang_up()  # they lead to the wrong server: the next call opens one anew, and finds the right one
            self._ear.hang_up()
        raise error

    async def run_many(self, calls: Iterable[Call]) -> list[Any]:
        """Many independent scripts, pipelined, answers in order. One that fails leaves the others done, and is raised."""
        todo = list(calls)
        answers: list[Any] = []
        for first in range(0, len(todo), _BATCH):
            answers += await self._pipeline(todo[first : first + _BATCH])
        return answers

    async def _pipeline(self, calls: Sequence[Call]) -> list[Any]:
        answers = await self._pipelined([("EVALSHA", one.sha, len(keys), *keys, *args) for one, keys, args in calls])
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, exceptions.NoScriptError)]
        if unknown:  # the server does not know them (yet, or since its restart): nothing of these was done
            for text in {calls[i][0].text for i in unknown}:
                await self.command("SCRIPT LOAD", text)
            again = [("EVALSHA", calls[i][0].sha, len(calls[i][1]), *calls[i][1], *calls[i][2]) for i in unknown]
            for i, answer in zip(unknown, await self._pipelined(again), strict=True):
                answers[i] = answer
        return await self._good(answers)

    async def _good(self, answers: list[Any]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, Exception):
                raise await self._ours(answer, self._pools["main"]) from answer
        return answers

    async def _pipelined(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        client = self._pools["main"]
        pipeline = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        with _timed("pipeline"):
            try:
                answers: list[Any] = await _uncancelled(pipeline.execute(raise_on_error=False))
            except Exception as error:
                raise await self._ours(error, client) from error
        return answers

    async def command(self, *args: str | bytes | int, pool: Pool = "main") -> Any:
        """One plain command. Raises like `run`."""
        if pool == "blocking":  # its time is that of whoever comes
            return await self._say(self._pools[pool], *args)
        with _timed(str(args[0]).lower().replace(" ", "_")):
            return await self._say(self._pools[pool], *args)

    async def commands(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """Many independent plain commands, pipelined, answers in order. One that fails is raised."""
        return await self._good(await self._pipelined(commands))

    async def _say(self, client: Any, *args: str | bytes | int) -> Any:
        try:
            return await _uncancelled(client.execute_command(*args))
        except Exception as error:
            raise await self._ours(error, client) from error

    async def _ours(self, error: Exception, client: Any) -> Exception:
        """The driver's error in the words of `errors`."""
        if isinstance(error, (exceptions.ReadOnlyError, exceptions.MasterDownError, exceptions.BusyLoadingError)):
            # these connections lead to the wrong server: the next call opens one anew, and finds the right one
            await client.connection_pool.disconnect(inuse_connections=False)
        text = str(error)
        ours = self._in_our_words(error, text)
        if isinstance(ours, ProviderError):
            _count(ours)
        return ours

    def _in_our_words(self, error: Exception, text: str) -> Exception:
        lost = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)
        elsewhere = (exceptions.ReadOnlyError, exceptions.ClusterError)
        if isinstance(error, (*lost, *elsewhere)):
            return self._away(text or type(error).__name__)
        if isinstance(error, exceptions.InvalidResponse):
            return self._away(f"what answers there is no Redis ({text})")
        if isinstance(error, exceptions.OutOfMemoryError):
            return self._full(text)
        if (ours := self._by_its_words(text)) is not None:
            return ours
        return ProviderError(f"Redis at {self.address}: {text}") if isinstance(error, exceptions.RedisError) else error

    def _by_its_words(self, text: str) -> Unreachable | StorageFull | None:
        kind = trouble(text)
        return self._away(text) if kind == "unreachable" else self._full(text) if kind == "full" else None

    def _away(self, text: str) -> Unreachable:
        return Unreachable(f"Redis at {self.address} does not serve us now: {text}")

    def _full(self, text: str) -> StorageFull:
        return StorageFull(f"Redis at {self.address} has no room (maxmemory, or its disk); nothing is lost: {text}")

    async def close(self) -> None:
        await self._line.close()
        await self._ear.close()
        for client in self._pools.values():
            await client.aclose()
            await client.connection_pool.disconnect()


def _count(error: Exception) -> None:
    kinds: dict[type, Trouble] = {Unreachable: "unreachable", StorageFull: "full"}
    metrics.REDIS_ERRORS.add(kinds.get(type(error), "error"))


@contextmanager
def _timed(command: str) -> Iterator[None]:
    began_s = time.perf_counter()
    try:
        yield
    finally:
        metrics.REDIS_COMMAND_SECONDS.observe(time.perf_counter() - began_s, command)


async def _uncancelled(call: Awaitable[Any]) -> Any:
    """What *call* answers. The driver's time limits can swallow a cancellation that comes together with the reply (a
    coordinator was seen to outlive its SIGTERM for that); the task that was cancelled hears of it here."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        return await call
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


def _client(address: Address, *, timeout_s: float, connect_s: float, most: int) -> Any:
    try:
        pool = driver.BlockingConnectionPool.from_url(
            address.url,
            max_connections=most,  # waits for a free connection; the plain pool raises
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=connect_s,
            **({} if address.path is not None else {"socket_keepalive": True}),
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            protocol=2,  # one shape of replies on every version of server and driver
            decode_responses=False,
        )
    except ValueError as error:
        raise ConfigError(f"redis.url: {error}") from error
    return driver.Redis(connection_pool=pool)
