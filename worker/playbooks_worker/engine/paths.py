"""The path of a task that plain code makes: what a resume recognises it by when the plain code runs again.

Tasks are numbered as they are made. Two functions of asyncio need more: what they do differs between versions of Python, or
between two runs of one. They are found on the stack, since a task factory is not told who wants the task.
"""

from __future__ import annotations

import asyncio
import sys
from types import CodeType
from typing import Any

from playbooks_worker.engine.place import Path

_DEEP = 6  # calls from a task factory up to who wanted the task: `create_task`, `ensure_future`, a comprehension


def _as_completed() -> tuple[CodeType, str]:
    """The code that makes the tasks of `asyncio.as_completed`, and the name of its argument."""
    if sys.version_info >= (3, 13):
        return asyncio.tasks._AsCompletedIterator.__init__.__code__, "aws"  # type: ignore[attr-defined]
    return asyncio.as_completed.__code__, "fs"


_AS_COMPLETED, _AWAITABLES = _as_completed()
_WAIT_FOR = asyncio.wait_for.__code__ if sys.version_info < (3, 12) else None


def path_of(coroutine: Any, place: Any) -> Path:
    """The path of the task that is being made for *coroutine* by the plain code at *place*."""
    parent: Path = place.path
    frame = sys._getframe(2)
    for _ in range(_DEEP):
        code = frame.f_code
        if code is _WAIT_FOR:
            return parent  # later versions await it where `wait_for` is awaited
        if code is _AS_COMPLETED:  # from a set, in any order
            parent = (*parent, f"of{_position(coroutine, frame.f_locals[_AWAITABLES])}")
            break
        if frame.f_back is None:
            break
        frame = frame.f_back
    path: Path = place.below.next_path(parent)
    return path


def _position(coroutine: Any, given: Any) -> int:
    if isinstance(given, list | tuple):
        for number, one in enumerate(given):
            if one is coroutine:
                return number
    return -1
