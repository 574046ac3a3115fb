"""By what path a value is reached from the variables of a program: `state['clients'][0].socket`, for messages to people.

Called when something could not be saved or loaded, never on the way of a checkpoint without losses.
"""

from __future__ import annotations

import collections
import functools
import gc
from collections.abc import Iterable, Iterator
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

_LOOKED_AT = 200_000  # values; a message may say less rather than hold an agent up
_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), type, ModuleType)


def paths(roots: Iterable[tuple[str, Any]], wanted: set[int], closed: tuple[type, ...] = ()) -> dict[int, str]:
    """The shortest path to each value whose id is *wanted*, as far as it is found; none leads through a *closed* kind."""
    found: dict[int, str] = {}
    waiting = collections.deque(roots)
    seen: set[int] = set()
    while waiting and len(found) < len(wanted) and len(seen) < _LOOKED_AT:
        path, value = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if id(value) in wanted:
            found[id(value)] = path
        elif not isinstance(value, (*closed, *_ATOMS)):
            waiting.extend((path + step, part) for step, part in _parts(value))
    return found


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in list(value.items()):
            yield f"[{_short(key)}]", part
            yield " (a key)", key
        yield from _attributes(value)
    elif isinstance(value, list | tuple | collections.deque):
        for index, part in enumerate(value):
            yield f"[{index}]", part
        yield from _attributes(value)
    elif isinstance(value, set | frozenset):
        for part in list(value):
            yield "{…}", part
    elif isinstance(value, MethodType):
        yield "", value.__self__
    elif isinstance(value, functools.partial):
        yield ".func", value.func
        yield from ((f".args[{index}]", part) for index, part in enumerate(value.args))
        yield from ((f".keywords[{_short(key)}]", part) for key, part in value.keywords.items())
    elif isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            yield f" → {name}", cell
        yield from (("(default)", part) for part in value.__defaults__ or ())
    elif isinstance(value, CellType):
        try:
            yield "", value.cell_contents
        except ValueError:
            return
    elif isinstance(value, BaseException):
        yield ".args", value.args
        yield from _attributes(value)
        yield ".__cause__", value.__cause__
        yield ".__context__", value.__context__
    else:
        attributes = list(_attributes(value))
        yield from attributes or (("", part) for part in gc.get_referents(value))


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """In the dict or the slots of an object, without running anything of its class."""
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = None
    if isinstance(own, dict):
        for name, part in list(own.items()):
            yield f".{name}", part
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            descriptor = vars(base).get(name)
            if descriptor is not None and type(descriptor).__name__ == "member_descriptor":
                try:
                    yield f".{name}", descriptor.__get__(value)
                except AttributeError:
                    continue


def _short(key: Any) -> str:
    if isinstance(key, str | bytes | int | float | bool | type(None)):
        text = repr(key)
        return text if len(text) <= 40 else f"{text[:37]}…{text[0]}"
    return "…"
