"""A future that tells its callbacks in the very turn of the loop in which it is decided. Made by homes, used by the host.

Why: a checkpoint is on the way of every await, and a turn of asyncio's loop costs as much as a signature (about 3 µs).
`asyncio.Future` tells its callbacks a turn later, and a coroutine needs a task, which costs three. This one is what asyncio
calls a future-compatible object (`asyncio.isfuture`): it can be awaited, waited for and cancelled like any other. Callbacks
should do little; they run inside whoever decides it, often the transport that has just received a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_Told = tuple[Callable[["Answer[Any]"], object], Context | None]


class Answer(Generic[T]):
    """Pending until `set_result`, `set_exception` or `cancel`; then it stays as it is. Belongs to one event loop."""

    __slots__ = ("_asyncio_future_blocking", "_callbacks", "_done", "_error", "_loop", "_result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False  # the mark by which asyncio knows its kind; `__await__` never yields self
        self._loop = loop
        self._done = False
        self._error: BaseException | None = None
        self._result: Any = None  # a T once it is decided
        self._callbacks: list[_Told] | None = None

    # --- deciding -------------------------------------------------------------------------------------------------
    def set_result(self, result: T) -> None:
        if self._done:
            raise asyncio.InvalidStateError("this answer has been given")
        self._result = result
        if self._callbacks is None:  # nobody to tell
            self._done = True
        else:
            self._tell()

    def set_exception(self, error: BaseException) -> None:
        if self._done:
            raise asyncio.InvalidStateError("this answer has been given")
        self._error = error
        self._tell()

    def cancel(self, msg: Any = None) -> bool:
        if self._done:
            return False
        self._error = asyncio.CancelledError(msg) if msg is not None else asyncio.CancelledError()
        self._tell()
        return True

    def _tell(self) -> None:
        self._done = True
        told, self._callbacks = self._callbacks, None
        for callback, context in told or ():
            try:
                if context is None:
                    callback(self)
                else:
                    context.run(callback, self)
            except Exception as error:  # whoever decides must not pay for whoever listens
                message = "an error in a callback of an answer"
                self._loop.call_exception_handler({"message": message, "exception": error})

    # --- asking ---------------------------------------------------------------------------------------------------
    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return isinstance(self._error, asyncio.CancelledError)

    def result(self) -> T:
        error = self.exception_or_cancelled()
        if error is not None:
            raise error
        result: T = self._result
        return result

    def exception(self) -> BaseException | None:
        error = self.exception_or_cancelled()
        if isinstance(error, asyncio.CancelledError):
            raise error
        return error

    def exception_or_cancelled(self) -> BaseException | None:
        """What `result` would raise. Raises `InvalidStateError` while nothing is decided."""
        if not self._done:
            raise asyncio.InvalidStateError("this answer is still to come")
        return self._error

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    # --- being told -----------------------------------------------------------------------------------------------
    def add_done_callback(self, callback: Callable[[Answer[T]], object], *, context: Context | None = None) -> None:
        """*callback* is called in the turn of the decision, or in the next one when it has been made already."""
        if self._done:
            self._loop.call_soon(callback, self, context=context)
        elif self._callbacks is None:
            self._callbacks = [(callback, context)]
        else:
            self._callbacks.append((callback, context))

    def remove_done_callback(self, callback: Callable[[Answer[T]], object]) -> int:
        kept = [told for told in self._callbacks or () if told[0] != callback]
        removed = len(self._callbacks or ()) - len(kept)
        self._callbacks = kept or None
        return removed

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            # a real future in between: tasks are stepped by their loop, never by the one who decides
            waiter: asyncio.Future[None] = self._loop.create_future()

            def told(_: Answer[T]) -> None:
                if not waiter.done():
                    waiter.set_result(None)

            self.add_done_callback(told)
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()
