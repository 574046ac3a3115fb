"""Futures that a program keeps: those that have ended, by their outcome, and `asyncio.gather`, by its children.

A gather that is awaited where it is made needs none of this: its expression is evaluated again.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from itertools import chain
from types import CellType, FunctionType
from typing import Any


def reduced(future: asyncio.Future[Any]) -> tuple[Any, ...] | None:
    """How *future* is pickled; None when nobody could make it again."""
    if future.done():
        if future.cancelled():
            return _ended, (), (None, future._cancel_message), None, None, _end  # type: ignore[attr-defined]
        error = future._exception
        outcome = (True, future.result()) if error is None else (False, error)
        return _ended, (), outcome, None, None, _end
    children = getattr(future, "_children", None)
    flag = None if not children else _return_exceptions(future, children)
    return None if flag is None else (_gathered, (list(children or ()), flag, future._cancel_requested))  # type: ignore[attr-defined]


def _return_exceptions(future: asyncio.Future[Any], children: list[Any]) -> bool | None:
    """It is known only to the callback that each child calls when it is done."""
    for callback in chain(_registered(children), _scheduled(future)):
        if type(callback) is FunctionType and "return_exceptions" in callback.__code__.co_freevars:
            kept = dict(zip(callback.__code__.co_freevars, callback.__closure__ or (), strict=True))
            if kept["outer"].cell_contents is future:
                return bool(kept["return_exceptions"].cell_contents)
    return None


def _registered(children: list[Any]) -> Iterator[Any]:
    for child in children:
        for callback, _ in child._callbacks or ():
            yield callback


def _scheduled(future: asyncio.Future[Any]) -> Iterator[Any]:
    """Where all children have ended in this turn: the loop alone has the callback, and the collector finds it."""
    for cell in gc.get_referrers(future):
        for closure in gc.get_referrers(cell) if type(cell) is CellType else ():
            if type(closure) is tuple:
                yield from gc.get_referrers(closure)


def _gathered(children: list[Any], return_exceptions: bool, cancelled: bool) -> asyncio.Future[Any]:
    future = asyncio.gather(*children, return_exceptions=return_exceptions)
    if cancelled:  # its children have been told, and it says so when they have ended
        future._cancel_requested = True  # type: ignore[attr-defined]
    return future


def _ended() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def _end(future: asyncio.Future[Any], outcome: tuple[bool | None, Any]) -> None:
    done, value = outcome
    if done:
        future.set_result(value)
    elif done is None:
        future.cancel(value)
    else:
        future.set_exception(value)
        future._log_traceback = False  # the process that saw it raised has said so
