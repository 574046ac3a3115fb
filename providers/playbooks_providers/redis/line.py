"""One connection for the small calls that agents wait for: letters, pokes, look-ups. Only client.py uses it.

Everybody's calls go out on it in one piece per turn of the loop, and at once when nothing is under way; redis-py's pool
takes three times as long for each (measured: 190 against 60 µs of a round trip on loopback). There is no second try here,
and no order of calls to rely on: one whose answer did not come is `Unreachable`, and its caller says it again. It must
not know what a call means.
"""

from __future__ import annotations

import asyncio
from typing import Any

from playbooks_providers.answer import Answer
from playbooks_providers.errors import Unreachable
from playbooks_providers.redis.address import Address
from playbooks_providers.redis.link import Link, open_link, pack


class _Call(Answer[Any]):
    """What was asked: a reply, which may be a `ReplyError`, or `Unreachable`."""

    __slots__ = ()

    def answered(self, reply: Any) -> None:
        if not self.done():
            self.set_result(reply)


class Line:
    """Connects when it is first needed, and again when the connection was lost."""

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._connecting: asyncio.Task[Link] | None = None
        self._gathered: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None

    async def say(self, *args: str | bytes | int) -> Any:
        """The reply; a `ReplyError` is answered, not raised. Raises `Unreachable`: the outcome is unknown."""
        link = self._link
        if link is None:
            link = await self._connected()
        call = _Call(asyncio.get_running_loop())
        quiet = not link.waiting
        link.waiting.append(call)
        if quiet:
            link.send([pack(*args)])
        else:
            self._gathered.append(pack(*args))
            if len(self._gathered) == 1:
                asyncio.get_running_loop().call_soon(self._flush, link)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(self._timeout_s, self._look, link, link.replies)
        return await call

    def hang_up(self) -> None:
        """What has no answer yet is unknown; the next call connects anew, perhaps to another server."""
        link = self._link
        if link is not None:
            self._let_go()
            link.abort()  # `_lost` tells who waits

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._watch is not None:
            self._watch.cancel()
        self.hang_up()

    def _flush(self, link: Link) -> None:
        if self._link is link and self._gathered:  # else they were lost with their connection
            gathered, self._gathered = self._gathered, []
            link.send(gathered)

    async def _connected(self) -> Link:
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(self._has_connected)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Link:
        self._link = await open_link(self._address, self._lost, self._timeout_s)
        return self._link

    def _has_connected(self, done: asyncio.Task[Link]) -> None:
        self._connecting = None
        if not done.cancelled():
            done.exception()  # whoever waits for it is told; nobody may by now

    def _lost(self, link: Link, error: Exception | None) -> None:
        if self._link is link:
            self._let_go()
        why = f"Redis at {self._address} does not serve us now: {error or 'connection closed'}"
        waiting = [call for call in link.waiting if isinstance(call, _Call)]
        link.waiting.clear()
        for call in waiting:
            if not call.done():
                call.set_exception(Unreachable(why))

    def _let_go(self) -> None:
        self._link = None
        self._gathered.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self, link: Link, replies: int) -> None:
        """Is the other side alive?"""
        self._watch = None
        if self._link is not link or not link.waiting:
            return
        if link.replies == replies:
            self.hang_up()
        else:
            self._watch = asyncio.get_running_loop().call_later(self._timeout_s, self._look, link, link.replies)
