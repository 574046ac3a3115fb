"""Objects of the standard library that pickle refuses although they tell all that made them: they are made again from it.

Called by reducers.py. What holds anything of the process (a connection, a thread) does not belong here.
"""

from __future__ import annotations

import concurrent.futures
import json.scanner
import re
import sqlite3
import types
import weakref
from collections.abc import Callable
from typing import Any

from playbooks_worker.engine import losses, tracebacks
from playbooks_worker.engine.losses import Losing, Reduced

# --- matches ---


def _reduce_match(saver: Losing, match: re.Match[Any]) -> Reduced:
    """By the search that finds it: what `finditer` found began where it stands."""
    for start in (match.pos, match.start()):
        for way in ("match", "fullmatch", "search"):
            found = getattr(match.re, way)(match.string, start, match.endpos)
            if found is not None and found.regs == match.regs:
                return _match, (match.re, way, match.string, start, match.endpos)
    return losses.reduce_never(saver, match)


def _match(pattern: re.Pattern[Any], way: str, text: Any, start: int, end: int) -> Any:
    return getattr(pattern, way)(text, start, end)


# --- futures of threads that have ended ---


def reduce_future(saver: Losing, future: concurrent.futures.Future[Any]) -> Reduced:
    """One that has ended, by its outcome: tenacity keeps that of each attempt."""
    if not future.done() or future.cancelled():
        return losses.reduce_never(saver, future)
    own = {name: value for name, value in vars(future).items() if name not in _OF_FUTURES}
    error = future.exception()
    outcome = (True, future.result()) if error is None else (False, error)
    return _future, (type(future),), (own, outcome), None, None, _end


_OF_FUTURES = frozenset(vars(concurrent.futures.Future()))


def _future(kind: Any) -> concurrent.futures.Future[Any]:
    made: concurrent.futures.Future[Any] = kind.__new__(kind)
    concurrent.futures.Future.__init__(made)
    return made


def _end(future: concurrent.futures.Future[Any], state: tuple[dict[str, Any], tuple[bool, Any]]) -> None:
    own, (done, value) = state
    vars(future).update(own)
    if done:
        future.set_result(value)
    else:
        future.set_exception(value)


# --- containers of weak references ---


def _reduce_weak_items(saver: Losing, held: Any) -> Reduced:
    """What nobody else holds is gone after a resume, as it might be at any time."""
    return type(held), (), list(held.items()), None, None, _update


def _reduce_weak_set(saver: Losing, held: weakref.WeakSet[Any]) -> Reduced:
    return type(held), (), list(held), None, None, _update


def _update(made: Any, held: Any) -> None:
    made.update(held)


# --- others ---


def _reduce_traceback(saver: Losing, trace: types.TracebackType) -> Reduced:
    """By where its frames stood, as the traceback of a saved exception."""
    return tracebacks.made, (tracebacks.places_of(trace),)


def _reduce_row(saver: Losing, row: sqlite3.Row) -> Reduced:
    return _row, (row.keys(), tuple(row))


def _row(names: list[str], values: tuple[Any, ...]) -> sqlite3.Row:
    quoted = ['NULL AS "' + name.replace('"', '""') + '"' for name in names]
    connection = sqlite3.connect(":memory:")
    try:
        return sqlite3.Row(connection.execute(f"SELECT {', '.join(quoted)}"), values)
    finally:
        connection.close()


_Scanner: Any = json.scanner.make_scanner
_SAID = ("strict", "object_hook", "object_pairs_hook", "parse_float", "parse_int", "parse_constant")


def _reduce_scanner(saver: Losing, scanner: Any) -> Reduced:
    """Of a `json.JSONDecoder`."""
    return _scanner, ({name: getattr(scanner, name) for name in _SAID},)


def _scanner(said: dict[str, Any]) -> Any:
    return _Scanner(types.SimpleNamespace(**said))


REDUCERS: dict[type, Callable[[Any, Any], Reduced]] = {
    re.Match: _reduce_match,
    weakref.WeakValueDictionary: _reduce_weak_items,
    weakref.WeakKeyDictionary: _reduce_weak_items,
    weakref.WeakSet: _reduce_weak_set,
    types.TracebackType: _reduce_traceback,
    sqlite3.Row: _reduce_row,
    _Scanner: _reduce_scanner,
}
