"""Iterators of `async for` loops: saved locals where they can be saved, one atomic region for the whole loop where not.

Which of the two it is, is decided when the loop begins: emitted code is the same for both (async_loops.py). Knows nothing of
how the loop was written.
"""

from __future__ import annotations

import types
from collections.abc import AsyncIterable, AsyncIterator
from types import CellType, TracebackType
from typing import Any

from playbooks_worker.engine import capture, completed, regions
from playbooks_worker.engine.frames import HELPERS, Call, Frame
from playbooks_worker.engine.place import here, in_region


def saved_aiter(frame: Frame, iterator: AsyncIterator[Any]) -> AsyncIterator[Any] | None:
    """*iterator*, or one of a kind that can be saved which does the same; None when there is none."""
    if type(iterator) is types.AsyncGeneratorType or not capture.can_save(frame.agent, iterator):
        return None
    return iterator


def _iterator_of(iterable: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """`aiter(iterable)`, with the complaints of `async for`."""
    kind = type(iterable)
    method = getattr(kind, "__aiter__", None)
    if method is None:
        raise TypeError(f"'async for' requires an object with __aiter__ method, got {kind.__name__}")
    iterator: AsyncIterator[Any] = method(iterable)
    if getattr(type(iterator), "__anext__", None) is None:
        name = type(iterator).__name__
        raise TypeError(f"'async for' received an object from __aiter__ that does not implement __anext__: {name}")
    return iterator


class AsyncLoop:
    """The iterator of one `async for`, which is also the manager of an emitted `with` around the loop."""

    __slots__ = ("_frame", "_iterator")

    def __init__(self, iterator: AsyncIterator[Any] | None, frame: Frame | None = None) -> None:
        self._iterator = iterator
        self._frame = frame  # of an atomic one

    @classmethod
    def over(cls, frame: Frame, iterable: AsyncIterable[Any]) -> AsyncLoop:
        iterator = _iterator_of(iterable)
        if frame.agent.regions and in_region(here.get()):
            return cls(iterator)
        iterator = completed.saved(iterator) or iterator
        saved = saved_aiter(frame, iterator)
        return cls(iterator, frame) if saved is None else cls(saved)

    def __reduce__(self) -> tuple[Any, ...]:
        return AsyncLoop, (self._iterator,)

    def __enter__(self) -> None:
        if self._frame is not None:
            regions.enter(self._frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._iterator = None
        if self._frame is not None:
            regions.leave(self._frame)

    def next(self) -> Any:
        """What `async for` awaits for the next item."""
        iterator: Any = self._iterator
        found = type(iterator).__anext__(iterator)
        if type(found) is not Call and not _is_awaitable(found):
            raise TypeError(f"'async for' received an invalid object from __anext__: {type(found).__name__}")
        return found


def _is_awaitable(value: Any) -> bool:
    if isinstance(value, types.GeneratorType):
        return bool(value.gi_code.co_flags & 0x100)  # types.coroutine
    return isinstance(value, types.CoroutineType) or hasattr(type(value), "__await__")


HELPERS[".aiter"] = CellType(AsyncLoop.over)
HELPERS[".anext"] = CellType(AsyncLoop.next)
HELPERS[".StopAsyncIteration"] = CellType(StopAsyncIteration)
