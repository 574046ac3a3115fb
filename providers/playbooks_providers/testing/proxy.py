"""A TCP proxy that loses replies and cuts connections at a chosen moment: after a request was sent, before its answer.

What a client sees then is an unknown outcome, the hardest thing to be right about. Used by tests of providers that speak to
a server; it knows nothing of the protocol beyond the bytes that a test names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Passes bytes through until it is told to lose a reply. ``cuts`` counts the connections that it cut."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._losing: bytes | None = None
        self._streams: set[asyncio.StreamWriter] = set()
        self._down = False
        self.port = 0
        self.cuts = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def lose_reply_to(self, word: bytes) -> None:
        """The next request that contains *word* reaches the server; its connection is cut instead of an answer."""
        self._losing = word

    def cut(self) -> None:
        """Every connection, now."""
        for stream in self._streams:
            stream.transport.abort()
        self.cuts += 1

    def lead_to(self, port: int) -> None:
        """Every connection from now on goes to the server on *port*: the address stays, and another server answers there."""
        self._upstream = port
        self.cut()

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Nobody gets through while this is open."""
        self._down = True
        self.cut()
        yield
        self._down = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._streams |= {writer, up_writer}
        losing = False
        try:
            async with asyncio.TaskGroup() as group:

                async def requests() -> None:
                    nonlocal losing
                    while data := await reader.read(65_536):
                        if self._losing is not None and self._losing in data:
                            self._losing, losing = None, True
                        up_writer.write(data)
                    up_writer.transport.abort()

                async def replies() -> None:
                    while data := await up_reader.read(65_536):
                        if losing:  # the server has done it, and says so; nobody hears
                            self.cuts += 1
                            break
                        writer.write(data)
                    writer.transport.abort()

                group.create_task(requests())
                group.create_task(replies())
        except* OSError:
            pass
        finally:
            self._streams -= {writer, up_writer}
            writer.transport.abort()
            up_writer.transport.abort()


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy before the server on *port* of this machine, in this event loop."""
    middle = Proxy(port)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(middle.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    middle.port = server.sockets[0].getsockname()[1]
    try:
        yield middle
    finally:
        server.close()
        middle.cut()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
