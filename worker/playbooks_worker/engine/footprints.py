"""What entering a context manager changes in objects that checkpoints hold: its counters, lists and permits.

A manager is entered again after a resume. What entering had changed in saved objects must not be in the checkpoint, or it
would be there twice (undoing.py). So each step of an entry, and of an exit that suspends, is looked at from both sides: only
its own code runs between. Called by headers.py and stacks.py; knows nothing of agents.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import types
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator
from operator import is_not
from typing import Any, NamedTuple, TypeAlias

from playbooks_worker.engine import losses, synchronisers
from playbooks_worker.engine.brought import PLAIN, targets_of
from playbooks_worker.engine.reentry import NOT_BOUND as ABSENT

REACH = 1000
"""How many objects around a manager are looked at, the nearest first: a look must stay cheaper than a checkpoint of them."""

_clock = itertools.count()


class Change:
    """One attribute, item, or all of a list or set: *key* of *thing* was ``before`` and became ``after``."""

    __slots__ = ("after", "before", "key", "thing", "time")

    def __init__(self, thing: Any, key: Any, before: Any, after: Any) -> None:
        self.thing = thing
        self.key = key
        self.before = before
        self.after = after
        self.time = next(_clock)


WHOLE: Any = ("whole",)
"""The key of a change of a list, deque or set."""


class Act:
    """An entry or an exit. ``over``: it has ended, and is done again where its header is entered again; until then, where
    what runs runs again."""

    __slots__ = ("before", "below", "changes", "over", "permits")

    def __init__(self, below: Any = None) -> None:
        self.below = below
        self.before: Look | None = None  # its first step
        self.over = False
        self.changes: list[Change] = []
        self.permits: dict[int, tuple[Any, int]] = {}  # by the id of a lock: it, and how many were taken

    @property
    def undone(self) -> bool:
        """Whether a checkpoint holds nothing of it. What a playbook has done that it calls is not done again as long as it
        has not ended: that cannot be told apart."""
        return self.over or self.below is None or not self.below.made

    def saw(self, look: Look) -> None:
        """*look* was taken before the step that has just ended."""
        for thing, shape, before in look.seen:
            if shape is _Permits:
                taken = before - synchronisers.free(thing)
                if taken:
                    self.permits[id(thing)] = thing, self.permits.get(id(thing), (thing, 0))[1] + taken
                continue
            for key, was, now in shape.changes(thing, before):
                self._changed(thing, key, was, now)

    def _changed(self, thing: Any, key: Any, was: Any, now: Any) -> None:
        for known in self.changes:
            if known.thing is thing and known.key is key and unchanged(known.after, was):
                known.after = now
                return
        self.changes.append(Change(thing, key, was, now))


class Look:
    """The objects within reach, each with what it holds just now."""

    __slots__ = ("had", "seen")

    def __init__(self, roots: tuple[Any, ...]) -> None:
        self.seen: list[tuple[Any, Any, Any]] = []
        self.had: dict[int, Any] = {}  # kept alive, so that no other gets the id of one of them
        waiting = deque(roots)
        had, seen = self.had, self.seen
        while waiting and len(had) < REACH:
            thing = waiting.popleft()
            shape = _shape_of(type(thing))
            if shape is None or id(thing) in had:
                continue
            held = shape.look(thing)
            had[id(thing)] = thing, held
            if shape is not _Through:
                seen.append((thing, shape, held))
            waiting.extend(shape.parts(held))


def own_of(manager: Any, act: Act, value: Any) -> list[Any]:
    """What of the *value* that entering *manager* has brought was within its reach before, as the thing that a pool gives."""
    had = {} if act.before is None else act.before.had
    act.before = None
    return [one for one in targets_of(value) if id(one) in had and one is not manager]


def roots_of(manager: Any) -> tuple[Any, ...]:
    """Where a look at *manager* begins; empty where the engine knows by itself what entering it takes."""
    kind = type(manager)
    if kind in synchronisers.KINDS or kind in (asyncio.Timeout, asyncio.TaskGroup, contextlib.nullcontext):
        return ()
    if is_made_by_generator(manager) and hasattr(manager, "args"):
        made: Any = manager  # entering it forgets these
        return manager, made.args, made.kwds, made.func
    return (manager,)


def is_made_by_generator(manager: Any) -> bool:
    return isinstance(manager, contextlib._GeneratorContextManagerBase)


@types.coroutine
def watched(act: Act, roots: tuple[Any, ...], steps: Any) -> Generator[Any, Any, Any]:
    """Run *steps*, what an `await` of an entry or exit would run, and let *act* see what they change."""
    error: BaseException | None = None
    sent: Any = None
    while True:
        look = Look(roots)
        act.before = act.before or look
        try:
            step = steps.send(sent) if error is None else steps.throw(error)
        except StopIteration as done:
            return done.value
        finally:
            act.saw(look)
            error = sent = None
        try:
            sent = yield step
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as thrown:
            error = thrown


# --- shapes of objects --------------------------------------------------------------------------------------------------

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


class _Permits:
    @staticmethod
    def look(thing: Any) -> int:
        return synchronisers.free(thing)

    @staticmethod
    def parts(held: Any) -> Any:
        return ()


class _Through:
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
    tuple: _Through,
    frozenset: _Through,
    types.MethodType: _Through,
    types.FunctionType: _Through,
    functools.partial: _Through,
    types.CellType: _Cell,
    asyncio.Lock: _Permits,
    asyncio.Semaphore: _Permits,
    asyncio.BoundedSemaphore: _Permits,
    asyncio.Condition: _Through,
    asyncio.Queue: _Through,
    asyncio.LifoQueue: _Through,
    asyncio.PriorityQueue: _Through,
    asyncio.Event: None,
}


@functools.lru_cache(maxsize=1024)
def _shape_of(kind: type) -> Any:
    """None: what it holds is no part of a checkpoint, or is saved in a way of its own."""
    if kind in _SHAPES:
        return _SHAPES[kind]
    for base, shape in ((dict, _Items), (list | deque, _Sequence), (set, _Set), (tuple, _Through)):
        if issubclass(kind, base):
            return shape
    if issubclass(kind, PLAIN) or issubclass(kind, type) or losses.never(kind):
        return None
    if kind.__module__ == "builtins" or kind.__module__.startswith(_OURS):
        return None
    plain = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    return _Attributes if plain else None


_OURS = __name__.rpartition(".")[0]


class _Slot(NamedTuple):
    name: str
    descriptor: Any


@functools.lru_cache(maxsize=1024)
def _slots_of(kind: type) -> tuple[_Slot, ...]:
    found = [_Slot(name, one) for base in kind.__mro__ for name, one in vars(base).items()]
    return tuple(one for one in found if isinstance(one.descriptor, types.MemberDescriptorType))


def attributes_of(thing: Any) -> dict[str, Any]:
    """By name; the dict itself where there is nothing else."""
    held = getattr(thing, "__dict__", None)
    slots = _slots_of(type(thing))
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
        held = thing if isinstance(thing, dict) else getattr(thing, "__dict__", None)
        slot = None if held is thing else next((one for one in _slots_of(type(thing)) if one.name == key), None)
        if slot is not None and value is ABSENT:
            slot.descriptor.__delete__(thing)
        elif slot is not None:
            slot.descriptor.__set__(thing, value)
        elif isinstance(held, dict):
            kind: Any = OrderedDict if isinstance(held, OrderedDict) else dict
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
    kind = type(after)
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
    found = [(key, before.get(key, ABSENT), value) for key, value in now.items() if before.get(key, ABSENT) is not value]
    if len(now) - len(found) < len(before):
        found += [(key, value, ABSENT) for key, value in before.items() if key not in now]
    return iter(found)
