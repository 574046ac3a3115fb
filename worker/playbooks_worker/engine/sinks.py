"""Where a pickler writes to. Chosen by `snapshot.Saver`; knows nothing of what is written.

A buffer that grows to megabytes is new memory each time, which the kernel clears page by page: 10 MB cost 11 ms that way,
and pickling is 2.5 of them. So large states go into memory that is used again. The payload itself is new: whoever it is
given to may keep it.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

LARGE = 512 << 10
"""Bytes from which used memory is worth its bookkeeping."""

_KEPT_BYTES = 32 << 20  # a larger one is given back to the system
_UNUSED: list[io.BytesIO] = []  # one at most: for all agents of the process, one checkpoint after the other


class Sink(Protocol):
    """What a pickler sees as a file."""

    @property
    def write(self) -> Callable[[Any], object]: ...

    def size(self) -> int:
        """Bytes written so far."""

    def crc(self, before: int) -> int:
        """The check sum of what was written, going on from that of what is *before* it."""

    def joined(self, before: Iterable[bytes] = ()) -> bytes:
        """*before*, then all that was written. The last thing that is asked of it."""


def _size(piece: Any) -> int:
    """Bytes in what a pickler writes: an array's memory has no `len`, or another one."""
    return len(piece) if type(piece) is bytes else memoryview(piece).nbytes


class Pieces(list[Any]):
    """What the pickler hands over, as it is: frames of 64 KB, and larger objects without a copy.

    (A list, whose making calls no Python: one for each checkpoint.)"""

    __slots__ = ()
    write = list.append

    def size(self) -> int:
        return sum(map(_size, self))

    def crc(self, before: int) -> int:
        for piece in self:
            before = zlib.crc32(piece, before)
        return before

    def joined(self, before: Iterable[bytes] = ()) -> bytes:
        return b"".join((*before, *self))


class Used:
    """Memory that was written to before."""

    __slots__ = ("_memory", "write")

    def __init__(self) -> None:
        try:
            self._memory = _UNUSED.pop()
        except IndexError:
            self._memory = io.BytesIO()
        self._memory.seek(0)  # keeps its memory, and what it held is written over
        self.write = self._memory.write

    def size(self) -> int:
        return self._memory.tell()

    def crc(self, before: int) -> int:
        with self._memory.getbuffer() as memory, memory[: self.size()] as written:
            return zlib.crc32(written, before)

    def joined(self, before: Iterable[bytes] = ()) -> bytes:
        with self._memory.getbuffer() as memory, memory[: self.size()] as written:
            whole = b"".join((*before, written))
            held = len(memory)
        if not _UNUSED and held <= _KEPT_BYTES:
            _UNUSED.append(self._memory)
        return whole
