"""Tracebacks as people want them: the user's own files and lines, without the engine's frames between them.

An exception that went through a checkpoint has lost its frames; where they were is kept beside it and shown again.
"""

from __future__ import annotations

import os
import traceback
from typing import TypeAlias

_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep
SAVED = ".traceback"  # the attribute of an exception that holds the places a checkpoint has kept
_KEPT = 100  # a recursion that went too deep need not be kept whole
Place: TypeAlias = tuple[str, int | None, str, str]  # file, line, name, text


def readable(error: BaseException) -> str:
    """The printed traceback of *error* with its causes, engine frames removed."""
    summary = traceback.TracebackException.from_exception(error)
    _settle(summary, error, set())
    return "".join(summary.format())


def places(error: BaseException) -> list[Place]:
    """Where *error* was raised, for a checkpoint."""
    stack = _merged(traceback.extract_tb(error.__traceback__), error)
    return [(frame.filename, frame.lineno, frame.name, frame.line or "") for frame in stack[-_KEPT:]]


def _settle(summary: traceback.TracebackException | None, error: BaseException | None, seen: set[int]) -> None:
    if summary is None or error is None or id(summary) in seen:
        return
    seen.add(id(summary))
    summary.stack[:] = _merged(summary.stack, error)
    _settle(summary.__cause__, error.__cause__, seen)
    _settle(summary.__context__, error.__context__, seen)
    if isinstance(error, BaseExceptionGroup):
        for inner, one in zip(summary.exceptions or (), error.exceptions, strict=False):
            _settle(inner, one, seen)


def _merged(stack: traceback.StackSummary, error: BaseException) -> list[traceback.FrameSummary]:
    """The user's frames of *stack*, then those that *error* had before it was raised again."""
    frames = [frame for frame in stack if not os.path.abspath(frame.filename).startswith(_ENGINE)]
    saved: list[Place] = vars(error).get(SAVED) or []
    known = {(frame.filename, frame.lineno, frame.name) for frame in frames}
    for filename, line, name, text in saved:
        if (filename, line, name) not in known:
            frames.append(traceback.FrameSummary(filename, line, name, lookup_line=False, line=text))
    return frames
