"""What entering a context manager changes in objects that checkpoints hold: its counters, lists and permits.

A manager is entered again after a resume. What entering had changed in saved objects must not be in the checkpoint, or it
would be there twice (undoing.py). So each step of an entry, and of an exit that suspends, is looked at from both sides: only
its own code runs between. Called by headers.py and stacks.py; knows nothing of agents.
"""

from __future__ import annotations

import asyncio
import contextlib
import dis
import functools
import inspect
import itertools
import types
from collections import deque
from collections.abc import Generator
from typing import Any

from playbooks_worker.engine import synchronisers
from playbooks_worker.engine.brought import targets_of
from playbooks_worker.engine.shapes import Permits, Through, shape_of, unchanged

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
            if shape is Permits:
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
            thing: Any = waiting.popleft()
            if id(thing) in had:
                continue
            kind: Any = type(thing)
            shape = shape_of(kind)
            if shape is None:
                continue
            held = shape.look(thing)
            had[id(thing)] = thing, held
            if shape is not Through:
                seen.append((thing, shape, held))
            waiting.extend([part for part in shape.parts(held) if type(part) not in _ATOMS])


def changes_nothing(method: Any, asynchronous: bool) -> bool:
    """Whether an entry is `return self`, or `pass`, and so need not be looked at."""
    code = _code_of(method)
    return code is not None and bool(code.co_flags & inspect.CO_COROUTINE) == asynchronous and _is_idle(code)


def never_suspends(method: Any) -> bool:
    """Whether no checkpoint can be taken in the middle of an exit: its coroutine awaits nothing."""
    code = _code_of(method)
    return code is not None and bool(code.co_flags & inspect.CO_COROUTINE) and "YIELD_VALUE" not in _steps_of(code)


def _code_of(method: Any) -> types.CodeType | None:
    return method.__code__ if type(method) is types.FunctionType else None


@functools.lru_cache(maxsize=1024)
def _steps_of(code: types.CodeType) -> frozenset[str]:
    return frozenset(
        f"{one.opname} {one.arg}" if one.opname in _TELLING else one.opname for one in dis.get_instructions(code)
    )


@functools.lru_cache(maxsize=1024)
def _is_idle(code: types.CodeType) -> bool:
    return _steps_of(code) <= _IDLE


_TELLING = ("CALL_INTRINSIC_1",)  # what it does is in its argument
_IDLE = frozenset(
    {
        *("RETURN_GENERATOR", "POP_TOP", "RESUME", "NOP", "LOAD_FAST", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"),
        *("CALL_INTRINSIC_1 3", "RERAISE"),  # what every coroutine has for a StopIteration that leaves it
    }
)
_ATOMS = frozenset({str, int, float, bool, bytes, type(None), type})


def own_of(manager: Any, act: Act, value: Any) -> list[Any]:
    """What of *value*, which entering *manager* has brought, was within its reach before, as the thing that a pool gives."""
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
    return (manager, *_methods_of(kind)) if "<locals>" in kind.__qualname__ else (manager,)


def _methods_of(kind: type) -> list[Any]:
    """What a class that is defined inside a function shares with it, its methods share."""
    return [one for base in kind.__mro__ for one in vars(base).values() if getattr(one, "__closure__", None)]


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
