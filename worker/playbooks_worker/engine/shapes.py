"""The kinds of objects that entering a context manager may change, and how each is looked at, compared and changed back.

Called by footprints.py, which finds what has changed, and by undoing.py. Nothing here runs code of the program's classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import types
from collections import OrderedDict, deque
from collections.abc import Iterator
from operator import is_not
from typing import Any, NamedTuple, TypeAlias

from playbooks_worker.engine import losses, synchronisers
from playbooks_worker.engine.brought import PLAIN
from playbooks_worker.engine.reentry import NOT_BOUND

ABSENT: Any = NOT_BOUND
WHOLE: Any = ("whole",)
"""The key of a change of a list, deque or set."""

Difference: TypeAlias = "tuple[Any, Any, Any]"


class _Attributes:
    @staticmethod
    def look(thing: Any) -> dict[str, Any]:
        return dict(attributes_of(thing))

    @staticmethod
    def parts(held: dict[str, Any]) -> Any:
        return held.values()

    @staticmethod
    def changes(thing: Any, before: dict[Any, Any]) -> Iterator[Difference]:
        return _differences(before, attributes_of(thing))


class _Items(_Attributes):
    @staticmethod
    def look(thing: dict[Any, Any]) -> dict[Any, Any]:
        return dict(thing)

    @staticmethod
    def changes(thing: dict[Any, Any], before: dict[Any, Any]) -> Iterator[Difference]:
        return _differences(before, thing)


class _Sequence:
    @staticmethod
    def look(thing: Any) -> list[Any]:
        return list(thing)

    @staticmethod
    def parts(held: Any) -> Any:
        return held

    @staticmethod
    def changes(thing: Any, before: list[Any]) -> Iterator[Difference]:
        if not same(thing, before):
            yield WHOLE, before, list(thing)


class _Set(_Sequence):
    @staticmethod
    def look(thing: Any) -> Any:
        return set(thing)

    @staticmethod
    def changes(thing: Any, before: Any) -> Iterator[Difference]:
        if thing != before:
            yield WHOLE, before, set(thing)


class Permits:
    @staticmethod
    def look(thing: Any) -> int:
        return synchronisers.free(thing)

    @staticmethod
    def parts(held: Any) -> Any:
        return ()


class Through:
    """Does not change itself."""

    @staticmethod
    def look(thing: Any) -> Any:
        if isinstance(thing, types.MethodType):
            return thing.__self__, thing.__func__
        if isinstance(thing, types.FunctionType):
            return thing.__closure__ or ()
        if isinstance(thing, functools.partial):
            return thing.func, *thing.args, *thing.keywords.values()
        if isinstance(thing, asyncio.Condition):
            return (vars(thing)["_lock"],)
        if isinstance(thing, asyncio.Queue):
            return (vars(thing)["_queue"],)
        return thing

    @staticmethod
    def parts(held: Any) -> Any:
        return held


class _Cell(_Attributes):
    @staticmethod
    def look(thing: Any) -> dict[str, Any]:
        return cell_of(thing)

    @staticmethod
    def changes(thing: Any, before: dict[Any, Any]) -> Iterator[Difference]:
        return _differences(before, cell_of(thing))


_SHAPES: dict[type, Any] = {
    list: _Sequence,
    deque: _Sequence,
    set: _Set,
    tuple: Through,
    frozenset: Through,
    types.MethodType: Through,
    types.FunctionType: Through,
    functools.partial: Through,
    types.CellType: _Cell,
    asyncio.Lock: Permits,
    asyncio.Semaphore: Permits,
    asyncio.BoundedSemaphore: Permits,
    asyncio.Condition: Through,
    asyncio.Queue: Through,
    asyncio.LifoQueue: Through,
    asyncio.PriorityQueue: Through,
    asyncio.Event: None,
}


@functools.lru_cache(maxsize=1024)
def shape_of(kind: type) -> Any:
    """None: what it holds is no part of a checkpoint, or is saved in a way of its own."""
    if kind in _SHAPES:
        return _SHAPES[kind]
    for base, shape in ((dict, _Items), (list | deque, _Sequence), (set, _Set), (tuple, Through)):
        if issubclass(kind, base):
            return shape
    if issubclass(kind, (*PLAIN, type)) or losses.never(kind):
        return None
    if kind.__module__ == "builtins" or kind.__module__.startswith(_OURS):
        return None
    # in Python, also a class that says how it is pickled, or that it cannot be: what it refers to may be saved for others
    own = (kind.__reduce_ex__, kind.__reduce__)
    return _Attributes if all(way in _PLAIN_WAYS or type(way) is types.FunctionType for way in own) else None


_PLAIN_WAYS: tuple[Any, ...] = (object.__reduce_ex__, object.__reduce__)
_OURS = __name__.rpartition(".")[0]


class _Slot(NamedTuple):
    name: str
    descriptor: Any


@functools.lru_cache(maxsize=1024)
def slots_of(kind: type) -> tuple[_Slot, ...]:
    found = [_Slot(name, one) for base in kind.__mro__ for name, one in vars(base).items()]
    return tuple(one for one in found if isinstance(one.descriptor, types.MemberDescriptorType))


def attributes_of(thing: Any) -> dict[str, Any]:
    """By name; the dict itself where there is nothing else."""
    held = getattr(thing, "__dict__", None)
    kind: Any = type(thing)
    slots = slots_of(kind)
    if not slots:
        return held if type(held) is dict else {}
    found = dict(held) if type(held) is dict else {}
    for name, descriptor in slots:
        with contextlib.suppress(AttributeError):
            found[name] = descriptor.__get__(thing)
    return found


def cell_of(cell: Any) -> dict[str, Any]:
    try:
        return {"cell_contents": cell.cell_contents}
    except ValueError:
        return {}


def put(thing: Any, key: Any, value: Any) -> None:
    """Let *key* of *thing* be *value*, whatever the class of *thing* thinks of that."""
    if key is WHOLE:
        thing.clear()
        (thing.update if isinstance(thing, set) else thing.extend)(value)
    elif isinstance(thing, types.CellType):
        if value is ABSENT:
            del thing.cell_contents
        else:
            thing.cell_contents = value
    else:
        kind: Any = type(thing)
        held = thing if isinstance(thing, dict) else getattr(thing, "__dict__", None)
        slot = None if held is thing else next((one for one in slots_of(kind) if one.name == key), None)
        if slot is not None and value is ABSENT:
            slot.descriptor.__delete__(thing)
        elif slot is not None:
            slot.descriptor.__set__(thing, value)
        elif isinstance(held, dict):
            kind = OrderedDict if isinstance(held, OrderedDict) else dict
            if value is not ABSENT:
                kind.__setitem__(held, key, value)
            elif key in held:
                kind.__delitem__(held, key)


def got(thing: Any, key: Any) -> Any:
    """What *key* of *thing* is just now: a copy of a list or set."""
    if key is WHOLE:
        return set(thing) if isinstance(thing, set) else list(thing)
    if isinstance(thing, types.CellType):
        return cell_of(thing).get(key, ABSENT)
    return (thing if isinstance(thing, dict) else attributes_of(thing)).get(key, ABSENT)


def same(one: Any, other: Any) -> bool:
    """Whether two sequences hold the same objects."""
    return len(one) == len(other) and not any(map(is_not, one, other))


def unchanged(after: Any, now: Any) -> bool:
    """Whether what was *after* a change is that still; equal data are one."""
    if after is now:
        return True
    kind: Any = type(after)
    if kind is not type(now):
        return False
    if kind is list:
        return same(after, now)
    return (kind is set or is_atom(after)) and bool(after == now)


def is_atom(value: Any) -> bool:
    """Whether *value* is data that holds nothing else."""
    return value is ABSENT or (isinstance(value, PLAIN) and not isinstance(value, _HOLDING))


_HOLDING = (bytearray, list, tuple, dict, set, frozenset)


def _differences(before: dict[Any, Any], now: dict[Any, Any]) -> Iterator[Difference]:
    if same(before.values(), now.values()) and same(before, now):
        return iter(())
    found = [
        (key, before.get(key, ABSENT), value) for key, value in now.items() if before.get(key, ABSENT) is not value
    ]
    if len(now) - len(found) < len(before):
        found += [(key, value, ABSENT) for key, value in before.items() if key not in now]
    return iter(found)
