"""`asyncio.as_completed` in the header of a loop, as an iterator that can be saved (iterators.py asks).

Python's own keeps what it knows in a generator, or in callbacks. This one behaves like it and is saved with its futures.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator, Iterable
from types import GeneratorType
from typing import Any

_MAKER = asyncio.as_completed
_GENERATOR = _MAKER.__code__ if inspect.isgeneratorfunction(_MAKER) else None  # until Python 3.12
_ITERATOR = getattr(asyncio.tasks, "_AsCompletedIterator", None)  # from 3.13 on


class AsCompleted:
    """What `asyncio.as_completed` answers. ``timeout`` in seconds; it starts anew after a resume."""

    def __init__(self, futures: Iterable[asyncio.Future[Any]], timeout: float | None) -> None:
        self._pending = list(futures)
        self._left = len(self._pending)
        self._done: asyncio.Queue[asyncio.Future[Any] | None] = asyncio.Queue()
        self._timeout = timeout
        self._listen()

    def _listen(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        for future in list(self._pending):
            future.add_done_callback(self._completed)
        if self._pending and self._timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._timed_out)

    def _completed(self, future: asyncio.Future[Any]) -> None:
        if future in self._pending:
            self._pending.remove(future)
            self._done.put_nowait(future)
        if not self._pending and self._timer is not None:
            self._timer.cancel()

    def _timed_out(self) -> None:
        for future in self._pending:
            future.remove_done_callback(self._completed)
            self._done.put_nowait(None)
        self._pending.clear()

    async def next(self) -> asyncio.Future[Any]:
        """The next one that has completed. Raises `TimeoutError`."""
        future = await self._done.get()
        if future is None:
            raise TimeoutError
        return future

    def __iter__(self) -> AsCompleted:
        return self

    def __next__(self) -> Next:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return Next(self)

    def __aiter__(self) -> AsCompleted:
        return self

    async def __anext__(self) -> asyncio.Future[Any]:
        if not self._left:
            raise StopAsyncIteration
        future = await self.next()
        self._left -= 1  # not before: in flight it is begun again
        return future

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_timer"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._listen()


class Next:
    """The result of the next future that completes: what a turn of the loop awaits."""

    def __init__(self, completed: AsCompleted) -> None:
        self._completed = completed

    def __await__(self) -> Generator[Any, Any, Any]:
        future = yield from self._completed.next().__await__()
        return future.result()


def saved(iterator: Any) -> AsCompleted | None:
    """*iterator* as one that can be saved, when `asyncio.as_completed` has just made it; None for any other."""
    if type(iterator) is GeneratorType:
        if iterator.gi_code is not _GENERATOR or inspect.getgeneratorstate(iterator) != inspect.GEN_CREATED:
            return None
        assert iterator.gi_frame is not None  # it has not started
        given = iterator.gi_frame.f_locals
        awaitables, timeout = given["fs"], given["timeout"]
        if isinstance(awaitables, asyncio.Future) or asyncio.iscoroutine(awaitables):
            return None  # a mistake that Python's own complains of at the first turn
        iterator.close()
        return AsCompleted([asyncio.ensure_future(each) for each in dict.fromkeys(awaitables)], timeout)
    if _ITERATOR is not None and type(iterator) is _ITERATOR:
        return _taken_over(iterator)
    return None


def _taken_over(iterator: Any) -> AsCompleted:
    waiting, handle = list(iterator._todo), iterator._timeout_handle
    for future in waiting:
        future.remove_done_callback(iterator._handle_completion)
    timeout = None
    if handle is not None:
        handle.cancel()
        timeout = handle.when() - asyncio.get_running_loop().time()
    # a set has no order of its own; branches are numbered as they were made
    waiting.sort(key=lambda future: branch.id if (branch := getattr(future, "branch", None)) is not None else 0)
    made = AsCompleted([*iterator._done._queue, *waiting], timeout)
    return made
