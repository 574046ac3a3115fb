"""Pickling of an agent's state: the one module that imports pickle.

The C pickler with one memo over several dumps, so that aliasing between frames survives while headers can be entered again
between the loads. How each kind of value is saved is said by reducers.py, what is saved by capture.py; a signature has been
verified before anything comes here.
"""

from __future__ import annotations

import functools
import io
import pickle
import pickletools
from asyncio import Future
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, CodeType, ModuleType
from typing import Any, ClassVar

from playbooks_worker.engine import losses, reducers, resources, sinks
from playbooks_worker.engine.branches import Branch
from playbooks_worker.engine.errors import CodeChanged, ResumeMismatch
from playbooks_worker.engine.frames import Call
from playbooks_worker.engine.losses import PROTOCOL, Reduced
from playbooks_worker.engine.markers import About, Marker, about_of, marker
from playbooks_worker.engine.reducers import Target
from playbooks_worker.engine.replacing import replace


class Saver(pickle.Pickler):
    """Saves objects of one checkpoint, one dump after another, under one memo.

    ``targets`` maps ids of objects that open headers hold to `Target`s, ``cells`` those of the frames' own cells to
    (call, name); the modules of the *running* calls' playbooks are searched for singletons. Collected are the calls
    ``found``, the ``branches`` and the cells that were ``met``; ``codes``, the names of code that only this Python can run;
    ``resources`` (True: it must have been made where the agent goes on); ``lost``, what could not be saved and has a marker
    in its place, with the reason."""

    def __init__(
        self,
        targets: dict[int, Target],
        cells: dict[int, tuple[int, str]],
        running: Sequence[Call],
        strict: bool = False,
        large: bool = False,
    ) -> None:
        self.sink: sinks.Sink = sinks.Used() if large else sinks.Pieces()
        super().__init__(self.sink, PROTOCOL)
        self.targets = targets
        self.cells = cells
        self.running = running
        self.strict = strict
        self.found: dict[int, Call] = {}
        self.branches: dict[int, Branch] = {}
        self.met: set[tuple[int, str]] = set()
        self.resources: dict[resources.Key, bool] = {}
        self.codes: dict[str, None] = {}
        self.lost: list[tuple[Any, str]] = []

    def reducer_override(self, value: Any) -> Reduced:
        if self.targets:
            target = self.targets.get(id(value))
            if target is not None:
                return reducers.reduce_target(self, target)
        if _LIVE:
            made = _LIVE.get(id(value))
            if made is not None:
                return reducers.reduce_resource_object(self, made.definition)
        kind = type(value)
        try:
            reducer = _REDUCERS[kind]
        except KeyError:
            reducer = reducers.reducer_of(kind)
        return NotImplemented if reducer is None else reducer(self, value)

    def bytecode(self, code: CodeType) -> Reduced:
        """What no definition brings back, as dill saves it: for this Python version alone (needs.py)."""
        self.codes[code.co_qualname] = None
        return _code, (_bytecode(code),)


@functools.lru_cache(maxsize=256)
def _bytecode(code: CodeType) -> bytes:
    import dill

    stored: bytes = dill.dumps(code, PROTOCOL)
    return stored


def _code(stored: bytes) -> Any:
    import dill

    return dill.loads(stored)


_REDUCERS = reducers.REDUCERS
_LIVE = resources.LIVE


class Diagnosis(Saver):
    """Remembers what it came to last: when it fails, that is the object that cannot be saved."""

    last: Any = None

    def reducer_override(self, value: Any) -> Reduced:
        self.last = value
        return super().reducer_override(value)


class Reader(pickle.Unpickler):
    """Loads what a `Saver` dumped, in the same order. *call* and *target* find the agent's own objects, *lost* the marker
    of this number.

    What cannot be loaded has a marker in its place; those of the last load are in ``markers``. Raises `CodeChanged` when a
    function is not in the program any more."""

    def __init__(
        self,
        payload: memoryview | bytes,
        call: Callable[[int], Any],
        target: Callable[[int, int, int], Any],
        cell: Callable[[int, str], Any],
        task: Callable[[int], Any],
        lost: Callable[[int, str], Any] | None = None,
    ) -> None:
        self._file = io.BytesIO(payload)
        super().__init__(self._file)
        self._own: dict[str, Callable[..., Any]] = {
            "_call": call,
            "_target": target,
            "_frame_cell": cell,
            "_task": task,
        }
        if lost is not None:
            self._own["_marker"] = lost
        self._further: _FurtherReader | None = None
        self.markers: list[Marker] = []

    def load(self) -> Any:
        start = self._file.tell()
        self.markers = []
        try:
            return super().load() if self._further is None else self._further.load()
        except _FATAL:
            raise
        except Exception:  # whatever a program's own classes raise
            return self._load_tolerantly(start)

    def _load_tolerantly(self, start: int) -> Any:
        """The same segment once more, with markers for what fails; the slower reader does all that follows."""
        tolerant = _TolerantReader(self._file, self.find_class)
        known = _memoized(self._file.getbuffer()[:start])
        tolerant.memo = {key: value for key, value in self._known().items() if key < known}
        self._file.seek(start)
        self._further = tolerant
        loaded = tolerant.load()
        self.markers = tolerant.taken()
        return loaded

    def _known(self) -> dict[int, Any]:
        return self.memo.copy() if self._further is None else self._further.memo

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(_OURS) and name in self._own:
            return self._own[name]
        return super().find_class(module, name)

    def replace(self, old: Any, new: Any) -> None:
        """Let later loads find *new* where an earlier one had loaded *old*."""
        known = self._known()
        if any(value is old for value in known.values()):
            # the C reader's memo cannot be changed: the Python one goes on from here
            self._further = self._further or _FurtherReader(self._file, self.find_class)
            self._further.memo = {key: new if value is old else value for key, value in known.items()}


_OURS = __name__.rpartition(".")[0] + "."
_FATAL = (CodeChanged, ResumeMismatch, pickle.UnpicklingError, EOFError, MemoryError)


def _memoized(payload: memoryview) -> int:
    """How many objects are in the memo when *payload*, some dumps, has been loaded."""
    stream = io.BytesIO(payload)
    count = 0
    while stream.tell() < len(payload):
        count += sum(1 for opcode, _, _ in pickletools.genops(stream) if opcode.name == "MEMOIZE")
    return count


_NEVER_FILLED = (
    *(int, float, complex, str, bytes, tuple, frozenset, type(None), type(...), type, ModuleType),
    *(BuiltinFunctionType, Call, Future),
)
_PLAIN: dict[int, Callable[[Any], None]] = pickle._Unpickler.dispatch  # of any reader


class _FurtherReader(pickle._Unpickler):
    memo: dict[int, Any]

    def __init__(self, file: io.BytesIO, find: Callable[[str, str], Any]) -> None:
        super().__init__(file)
        self._find = find

    def find_class(self, module: str, name: str) -> Any:
        return self._find(module, name)


class _TolerantReader(_FurtherReader):
    """Puts a marker in the place of each object that cannot be found, made or filled."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_PLAIN)

    def __init__(self, file: io.BytesIO, find: Callable[[str, str], Any]) -> None:
        super().__init__(file, find)
        self._made: list[Marker] = []
        self._missing: dict[int, tuple[Marker, str]] = {}  # names that were not found, and made nothing so far
        self._failed: tuple[Marker, Any] | None = None  # what the last REDUCE gave, and its first argument

    def load(self) -> Any:
        loaded = super().load()
        for _, name in self._missing.values():  # no class, or one that is itself a value: the code has changed
            raise CodeChanged(f"{name} is not in the program any more; deploy a build that has it")
        return loaded

    def taken(self) -> list[Marker]:
        made, self._made = self._made, []
        return made

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except Exception as error:
            made = self._marker(f"{module}.{name}", error)
            self._missing[id(made)] = made, f"{module}:{name}"
            return made

    def _marker(self, kind: str, error: Exception) -> Marker:
        made = marker(About(kind, why=losses.said(error), loading=True))
        self._made.append(made)
        return made

    def _new(self, maker: Any, arguments: Any, make: Callable[[], Any]) -> Any:
        if type(maker) is Marker:
            self._missing.pop(id(maker), None)
            self._made.append(made := marker(about_of(maker)))
            return made
        try:
            return make()
        except _FATAL:
            raise
        except Exception as error:
            first = arguments[0] if arguments else None
            if type(first) is Marker:  # made from a class that was not found
                self._missing.pop(id(first), None)
                kind = about_of(first).kind
            else:
                named = maker if isinstance(maker, type) or not isinstance(first, type) else first
                kind = f"{named.__module__}.{getattr(named, '__qualname__', named)}"
            made = self._marker(kind, error)
            self._failed = made, first
            return made

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        maker = self.stack[-1]
        self.stack[-1] = self._new(maker, arguments, lambda: maker(*arguments))

    def _newobj(self) -> None:
        arguments = self.stack.pop()
        kind = self.stack.pop()
        self.stack.append(self._new(kind, arguments, lambda: kind.__new__(kind, *arguments)))

    def _newobj_ex(self) -> None:
        names = self.stack.pop()
        arguments = self.stack.pop()
        kind = self.stack.pop()
        self.stack.append(self._new(kind, arguments, lambda: kind.__new__(kind, *arguments, **names)))

    def _pop(self) -> None:
        """A result that nobody wants is that of a function that was to fill the object below it."""
        failed, self._failed = self._failed, None
        if failed is not None and self.stack and self.stack[-1] is failed[0] and type(failed[1]) is not Marker:
            self._lose(failed[1], failed[0])
        _PLAIN[pickle.POP[0]](self)

    def _filled(self, fill: Callable[[Any], None]) -> None:
        """An object that cannot be given its state or its items is lost as a whole."""
        try:
            fill(self)
        except _FATAL:
            raise
        except Exception as error:
            if type(self.stack[-1]) is not Marker:
                kind = type(self.stack[-1])
                self._lose(self.stack[-1], self._marker(f"{kind.__module__}.{kind.__qualname__}", error))

    @staticmethod
    def _lose(made: Any, instead: Marker) -> None:
        """Put the marker wherever *made*, which was made by this load, is referred to by now."""
        if isinstance(made, _NEVER_FILLED):  # of the whole process: no pickler says that, the bytes are damaged
            raise pickle.UnpicklingError(f"a {type(made).__name__} is given a state")
        replace(made, instead)


def _filling(fill: Callable[[Any], None]) -> Callable[[_TolerantReader], None]:
    return lambda reader: reader._filled(fill)


_TolerantReader.dispatch[pickle.REDUCE[0]] = _TolerantReader._reduce
_TolerantReader.dispatch[pickle.NEWOBJ[0]] = _TolerantReader._newobj
_TolerantReader.dispatch[pickle.NEWOBJ_EX[0]] = _TolerantReader._newobj_ex
_TolerantReader.dispatch[pickle.POP[0]] = _TolerantReader._pop
for _opcode in (pickle.BUILD, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS, pickle.ADDITEMS):
    _TolerantReader.dispatch[_opcode[0]] = _filling(_PLAIN[_opcode[0]])


def save_index(index: Any) -> bytes:
    """Plain data (numbers, strings, tuples) that is read before anything else."""
    return pickle.dumps(index, PROTOCOL)


def load_index(stored: memoryview | bytes) -> Any:
    return pickle.loads(stored)
