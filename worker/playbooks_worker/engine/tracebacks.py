"""Tracebacks as people want them: the user's own files and lines, without the engine's frames between them."""

from __future__ import annotations

import os
import traceback

_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep
SAVED = ".traceback"  # where an exception that went through a checkpoint keeps its printed traceback


def readable(error: BaseException) -> str:
    """The printed traceback of *error* with its causes, engine frames removed; what a checkpoint had kept comes first."""
    summary = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    _strip(summary, seen)
    text = "".join(summary.format())
    saved = vars(error).get(SAVED)
    return f"{saved}\n(resumed; then:)\n{text}" if isinstance(saved, str) and saved not in text else text


def _strip(summary: traceback.TracebackException | None, seen: set[int]) -> None:
    if summary is None or id(summary) in seen:
        return
    seen.add(id(summary))
    summary.stack[:] = [frame for frame in summary.stack if not os.path.abspath(frame.filename).startswith(_ENGINE)]
    _strip(summary.__cause__, seen)
    _strip(summary.__context__, seen)
    for inner in summary.exceptions or ():
        _strip(inner, seen)
