"""Tracebacks as people want them: the user's own files and lines, without the engine's frames between them.

Emitted handlers take the engine's frames out of what they catch, so that `logging.exception` in a playbook prints what it
prints in plain Python. A checkpoint keeps where an error was raised, and its resume builds a traceback of frames that stand
there again (the technique of tblib: code that raises at that file and line and under that name). Called by exceptions.py,
reentry.py, headers.py and agent.py.
"""

from __future__ import annotations

import ast
import functools
import itertools
import os
import traceback
from collections.abc import Iterator, Sequence
from types import CodeType, TracebackType
from typing import TypeAlias

_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_KEPT = 100  # a recursion that went too deep need not be kept whole

Place: TypeAlias = tuple[str, str, int, int, int, int]
"""File, name of the function, line, last line, column, last column (-1: not known)."""


def readable(error: BaseException) -> str:
    """The printed traceback of *error* with its causes, engine frames removed."""
    summary = traceback.TracebackException.from_exception(error)
    _settle(summary, set())
    return "".join(summary.format())


def _settle(summary: traceback.TracebackException | None, seen: set[int]) -> None:
    if summary is None or id(summary) in seen:
        return
    seen.add(id(summary))
    summary.stack[:] = [frame for frame in summary.stack if not _is_ours(frame.filename)]
    for other in (summary.__cause__, summary.__context__, *(summary.exceptions or ())):
        _settle(other, seen)


@functools.lru_cache(maxsize=4096)
def _is_ours(filename: str) -> bool:
    return os.path.abspath(filename).startswith(_ENGINE)


def cleaned(error: BaseException | None) -> None:
    """Take the engine's frames out of the traceback of *error*, in place: whoever holds a part of it has it cleaned too."""
    if error is not None:
        error.__traceback__ = _users(error.__traceback__)


def _users(trace: TracebackType | None) -> TracebackType | None:
    first = entry = _next_of_users(trace)
    while entry is not None:
        following = _next_of_users(entry.tb_next)
        if following is not entry.tb_next:
            entry.tb_next = following
        entry = following
    return first


def _next_of_users(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


# --- through a checkpoint ------------------------------------------------------------------------------------------------
def places(error: BaseException) -> list[Place]:
    """Where *error* was raised, for a checkpoint."""
    return places_of(error.__traceback__)


def places_of(trace: TracebackType | None) -> list[Place]:
    return [_place(entry) for entry in _entries(trace)][-_KEPT:]


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while (trace := _next_of_users(trace)) is not None:
        yield trace
        trace = trace.tb_next


def _place(trace: TracebackType) -> Place:
    code = trace.tb_frame.f_code
    positions = next(itertools.islice(code.co_positions(), trace.tb_lasti // 2, None), (None,) * 4)
    line, *others = (trace.tb_lineno, *positions[1:])
    last, column, last_column = (-1 if one is None else one for one in others)
    return code.co_filename, code.co_name, line or 0, last, column, last_column


def made(places: Sequence[Place]) -> TracebackType | None:
    """A traceback that says *places*."""
    trace: TracebackType | None = None
    for place in reversed(places):
        raised = _raised_at(place)
        if raised is not None:
            trace = TracebackType(trace, raised.tb_frame, raised.tb_lasti, raised.tb_lineno)
    return trace


def _raised_at(place: Place) -> TracebackType | None:
    try:
        exec(_raising(place), {"__name__": "", "__file__": place[0]})
    except _Here as here:
        trace = here.__traceback__
        assert trace is not None
        return trace.tb_next
    return None


class _Here(Exception):
    """Raised by the code of a place."""


@functools.lru_cache(maxsize=4096)
def _raising(place: Place) -> CodeType:
    """Code that raises at *place*."""
    filename, name, line, last, column, last_column = place
    raised = ast.Constant(None)
    statement = ast.Raise(raised, None)
    for node in (raised, statement):
        node.lineno, node.col_offset = max(line, 1), max(column, 0)
        if last >= line and last_column >= 0 and column >= 0:
            node.end_lineno, node.end_col_offset = last, last_column
    code = compile(ast.Module([statement], []), filename, "exec")
    return code.replace(co_name=name, co_consts=tuple(_Here if value is None else value for value in code.co_consts))
