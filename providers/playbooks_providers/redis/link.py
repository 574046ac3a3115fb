"""One raw connection to Redis: bytes out, replies in, in order. Only the writer uses it.

redis-py's asyncio client spends most of a small command's time in its pool, its retries and its stream reader; below it
are asyncio's transport and the hiredis parser, and this is them put together. It must not know what is sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis

from playbooks_providers.errors import Unreachable
from playbooks_providers.redis.address import Address

ReplyError = cast("type[Exception]", hiredis.ReplyError)


def pack(*args: str | bytes | int) -> bytes:
    """A command as Redis reads it."""
    return cast(bytes, hiredis.pack_command(cast(Any, args)))


class Answered(Protocol):
    """Something that was sent. *reply* is bytes, int, list, None, or a `ReplyError`."""

    def answered(self, reply: Any) -> None: ...


class Link(asyncio.Protocol):
    """`send` what was packed, having put who awaits the replies into `waiting`, one each, in order."""

    def __init__(self, lost: Callable[[Link, Exception | None], None]) -> None:
        self.waiting: deque[Answered] = deque()
        self.replies = 0  # so that a watcher sees whether anything comes
        self._lost = lost
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                if not self.waiting:
                    return self.abort()  # a reply that nobody asked for: no longer in step, nothing it says can be used
                self.replies += 1
                self.waiting.popleft().answered(reply)
        except hiredis.ProtocolError:  # not Redis
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost(self, exc)

    def send(self, packed: list[bytes]) -> None:
        if self._transport is not None:  # else the loss is being told, and everything in `waiting` with it
            self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))

    def unsent(self) -> int:
        """Bytes that the socket has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Reply:
    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(self, reply: Any) -> None:
        if not self.future.done():
            self.future.set_result(reply)


async def open_link(address: Address, lost: Callable[[Link, Exception | None], None], timeout_s: float) -> Link:
    """Connect, authenticate, choose the database. Raises `Unreachable` with the reason."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _open(address, lost)
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"Redis at {address} cannot be reached: {error or type(error).__name__}") from error


async def _open(address: Address, lost: Callable[[Link, Exception | None], None]) -> Link:
    loop = asyncio.get_running_loop()
    greeting: list[tuple[str, ...]] = []
    if address.password is not None:
        greeting.append(("AUTH", *([address.username] if address.username else []), address.password))
    if address.db:
        greeting.append(("SELECT", str(address.db)))
    greeting.append(("PING",))  # a server that is loading, or wants a password, says so here and not at the first write

    replies = [_Reply() for _ in greeting]
    ready = False

    def gone(link: Link, error: Exception | None) -> None:
        if ready:
            lost(link, error)
        for reply in replies:
            if not reply.future.done():
                reply.future.set_exception(error or ConnectionResetError("closed by the server"))

    if address.path is not None:
        _, link = await loop.create_unix_connection(lambda: Link(gone), address.path)
    else:
        tls = address.tls
        name = address.host if tls is not None else None
        _, link = await loop.create_connection(
            lambda: Link(gone), address.host, address.port, ssl=tls, server_hostname=name
        )
    try:
        link.waiting.extend(replies)
        link.send([pack(*command) for command in greeting])
        for command, reply in zip(greeting, replies, strict=True):
            answer = await reply.future
            if isinstance(answer, ReplyError):
                raise Unreachable(f"Redis at {address} refused {command[0]}: {answer}")
    except BaseException:
        link.abort()
        for reply in replies:
            if not reply.future.cancel() and not reply.future.cancelled():
                reply.future.exception()  # looked at: asyncio need not complain
        raise
    ready = True
    return link
