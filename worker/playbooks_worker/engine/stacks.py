"""`ExitStack` and `AsyncExitStack` as open headers: what the stack holds is entered again, in order, into the fresh one.

An open stack becomes a `KnownStack`, which notes what is pushed. A manager comes back by the call that made it where a
playbook wrote that call into the push (`opening` notes it, emitted code calls it) or where a generator function made it;
any other is saved as the object it is. What entering brought are targets, as those of a `with` are. Called by
headers.py, capture.py and the emitted code; the attribute ``_exit_callbacks`` is a private one of contextlib.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from types import CellType
from typing import Any, NamedTuple, TypeAlias

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.brought import targets_of
from playbooks_worker.engine.footprints import Act, Look, is_made_by_generator, own_of, roots_of, watched
from playbooks_worker.engine.frames import HELPERS
from playbooks_worker.engine.place import here

# The call that made a manager: function, arguments, keyword arguments.
Making: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]"
_ENTERING = ("enter_context", "enter_async_context")
_makings: dict[int, tuple[weakref.ref[Any], Making]] = {}


class Entry(NamedTuple):
    """One push: the stack's *method*, what it was given, the number of its first target among those of the stack."""

    method: str
    making: Making | None
    args: tuple[Any, ...]
    words: dict[str, Any]
    first: int


class Entered(NamedTuple):
    """How a manager was entered; where a look at it begins; what it brought that it had before."""

    manager: Any
    act: Act
    roots: tuple[Any, ...]
    own: list[Any]


# --- how managers are made ---------------------------------------------------------------------------------------------


def opening(function: Callable[..., Any], /, *args: Any, **words: Any) -> Any:
    """Make a manager, and note the call."""
    manager = function(*args, **words)
    number = id(manager)
    with contextlib.suppress(TypeError):  # without weak references: saved as the object it is
        _makings[number] = weakref.ref(manager, lambda _: _makings.pop(number, None)), (function, args, words)
    return manager


def is_opening(manager: Any) -> bool:
    """Whether *manager* has been made to be entered: nothing of it has happened, and it can be made again."""
    return id(manager) in _makings


def _taken(manager: Any) -> Making | None:
    """How *manager*, which is about to be entered, was made."""
    noted = _makings.pop(id(manager), None)
    if noted is not None:
        return noted[1]
    if not isinstance(manager, contextlib._GeneratorContextManagerBase) or not hasattr(manager, "func"):
        return None
    made: Any = manager
    found: Any = sys.modules.get(made.func.__module__)
    for part in made.func.__qualname__.split("."):
        found = getattr(found, part, None)
    if getattr(found, "__wrapped__", None) is made.func:
        return found, made.args, made.kwds
    return type(manager), (made.func, made.args, made.kwds), {}


# --- stacks that know ----------------------------------------------------------------------------------------------------


class KnownStack:
    """What both kinds of stack note. ``targets``: the stack itself, then what entering brought."""

    targets: list[Any]
    entries: list[Entry]
    acts: list[Entered | None]  # beside the entries
    entering: list[Entered]
    open: bool
    leaving: bool
    _exit_callbacks: Any

    def __init__(self) -> None:
        super().__init__()
        self.known()

    def known(self) -> None:
        self.targets, self.entries = [self], []
        self.acts, self.entering = [], []
        self.open = self.leaving = False

    def _pushed(
        self,
        method: str,
        making: Making | None,
        args: tuple[Any, ...],
        words: Any,
        value: Any = None,
        act: Entered | None = None,
    ) -> None:
        self._settle(len(self._exit_callbacks) - 1)
        self.entries.append(Entry(method, making, args, words, len(self.targets)))
        self.acts.append(act)
        self.targets.extend(targets_of(value))

    def _settle(self, count: int) -> None:
        """Forget what has been popped since."""
        if count < len(self.entries):
            del self.targets[self.entries[count].first :]
            del self.entries[count:], self.acts[count:]

    @contextlib.contextmanager
    def _left(self) -> Iterator[None]:
        self.leaving = True
        try:
            yield
        finally:
            self.leaving = self.open = False
            self._settle(len(self._exit_callbacks))

    def held(self) -> list[Entry]:
        """What a fresh stack must hold: all of it while it is left, since it will be left anew."""
        count = len(self.entries) if self.leaving else len(self._exit_callbacks)
        return [e if e.making is None else e._replace(args=()) for e in self.entries[:count]]

    def enter_context(self, cm: Any) -> Any:
        making = _taken(cm)
        act, roots = Act(), roots_of(cm)
        act.before = look = Look(roots)
        value = super().enter_context(cm)  # type: ignore[misc]
        act.saw(look)
        act.over = True
        self._pushed("enter_context", making, (cm,), {}, value, Entered(cm, act, roots, own_of(cm, act, value)))
        return value

    def push(self, exit: Any) -> Any:
        super().push(exit)  # type: ignore[misc]
        self._pushed("push", None, (exit,), {})
        return exit

    def callback(self, callback: Any, /, *args: Any, **words: Any) -> Any:
        super().callback(callback, *args, **words)  # type: ignore[misc]
        self._pushed("callback", None, (callback, *args), words)
        return callback

    def pop_all(self) -> Any:
        taken = super().pop_all()  # type: ignore[misc]
        taken.entries, taken.acts, taken.targets = self.entries, self.acts, [taken, *self.targets[1:]]
        self.entries, self.acts, self.targets = [], [], [self]
        return taken

    def __reduce__(self) -> Any:
        if self._exit_callbacks and not self.open:
            raise TypeError("what an exit stack holds outside its `with` cannot be saved")
        return type(self), ()  # a header brings its stack anew, empty until what it held has been entered


class KnownExitStack(KnownStack, contextlib.ExitStack):
    def __exit__(self, *raised: Any) -> Any:
        with self._left():
            return super().__exit__(*raised)


class KnownAsyncExitStack(KnownStack, contextlib.AsyncExitStack):
    def enter_async_context(self, cm: Any) -> Any:
        return self._enter(cm, _taken(cm))

    async def _enter(self, cm: Any, making: Making | None) -> Any:
        act, roots = Act(getattr(here.get(), "below", None)), roots_of(cm)
        entering = Entered(cm, act, roots, [])
        self.entering.append(entering)
        try:
            value = await watched(act, roots, super().enter_async_context(cm).__await__())
        finally:
            self.entering.remove(entering)
        act.over = True
        self._pushed("enter_async_context", making, (cm,), {}, value, entering._replace(own=own_of(cm, act, value)))
        return value

    def push_async_exit(self, exit: Any) -> Any:
        super().push_async_exit(exit)
        self._pushed("push_async_exit", None, (exit,), {})
        return exit

    def push_async_callback(self, callback: Any, /, *args: Any, **words: Any) -> Any:
        super().push_async_callback(callback, *args, **words)
        self._pushed("push_async_callback", None, (callback, *args), words)
        return callback

    async def __aexit__(self, *raised: Any) -> Any:
        with self._left():
            return await super().__aexit__(*raised)


_KINDS: dict[type, type] = {
    contextlib.ExitStack: KnownExitStack,
    contextlib.AsyncExitStack: KnownAsyncExitStack,
}


def know(manager: Any) -> None:
    """*manager* becomes an open header: from now on it is known what is pushed, if it is a stack that is still empty."""
    kind = _KINDS.get(type(manager))
    if kind is not None and not manager._exit_callbacks:
        manager.__class__ = kind
        manager.known()
    if isinstance(manager, KnownStack):
        manager.open = True


# --- in a checkpoint, and back -------------------------------------------------------------------------------------------


def saved_as(header: int) -> str:
    """The name of what a stack holds, among what is saved of a frame."""
    return f".stack{header}"


def is_saved_as(name: str) -> bool:
    return name.startswith(saved_as(0)[:-1])


def parts_of(entries: list[Entry]) -> Iterator[tuple[str, Any]]:
    """What a stack was given, named for people."""
    for entry in entries:
        made = entry.making or (None, entry.args, entry.words)
        said = f"an argument of {entry.method}"
        yield from ((said, part) for part in (*made[1], *made[2].values()))


def held(manager: Any) -> list[Entry]:
    return manager.held() if isinstance(manager, KnownStack) else []


def entered(manager: Any) -> Iterator[Entered]:
    """How the managers that a stack holds, or is about to hold, were entered."""
    if isinstance(manager, KnownStack):
        count = len(manager.acts) if manager.leaving else len(manager._exit_callbacks)
        yield from (each for each in manager.acts[:count] if each is not None)
        yield from manager.entering


def roots_in(manager: Any) -> tuple[Any, ...]:
    """Where a look at what a stack holds begins."""
    return tuple(root for each in entered(manager) for root in each.roots)


def own(manager: Any) -> Iterator[Any]:
    """What of the targets of a stack is saved as the object it is."""
    if isinstance(manager, KnownStack):
        yield from given(manager.held())
        for entry, how in zip(manager.entries, manager.acts, strict=True):
            if how is not None and (entry.making is None or is_made_by_generator(how.manager)):
                yield from how.own


def given(entries: list[Entry]) -> Iterator[Any]:
    """The managers that are saved as the objects they are."""
    return (entry.args[0] for entry in entries if entry.making is None and entry.method in _ENTERING)


async def refill(stack: Any, entries: list[Entry], brought: Callable[[list[Any]], None]) -> None:
    """Push again what the saved stack held. *brought* puts the fresh targets where later entries refer to them."""
    for number in range(len(entries)):
        entry = entries[number]
        stack.targets.extend([None] * (entry.first - len(stack.targets)))
        push = getattr(stack, entry.method)
        if entry.making is not None:
            function, args, words = entry.making
            pushed = push(opening(function, *args, **words))
        else:
            pushed = push(*entry.args, **entry.words)
        if entry.method == "enter_async_context":
            await pushed
        brought(stack.targets)


def refill_now(stack: Any, entries: list[Entry], brought: Callable[[list[Any]], None]) -> None:
    """The same for a stack that awaits nothing."""
    with contextlib.suppress(StopIteration):
        refill(stack, entries, brought).send(None)


HELPERS[s.OPENING] = CellType(opening)
