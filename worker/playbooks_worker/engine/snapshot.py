"""Pickling of an agent's state: the one module that imports pickle.

The C pickler with one memo over several dumps, so that aliasing between frames survives while headers can be entered again
between the loads. Reducers of our own (DESIGN 3.4) for what pickle cannot save, or would save in a way that another
process or Python version could not use. Nothing here decides *what* is saved (capture.py) or verifies a signature.
"""

from __future__ import annotations

import asyncio
import gc
import io
import pathlib
import pickle
import sys
from collections.abc import Callable, Sequence
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

from playbooks_worker.engine import gathering, groups, managers, synchronisers, tracebacks
from playbooks_worker.engine.branches import Branch, branch_of
from playbooks_worker.engine.definitions import definition_path, made_again
from playbooks_worker.engine.frames import Call

PROTOCOL = 5
_Reduced: TypeAlias = Any  # what a reducer may answer: a tuple, or NotImplemented


class Target:
    """Stands for the object that a header will bring when it has been entered again."""

    __slots__ = ("call", "header", "index")

    def __init__(self, call: int, header: int, index: int) -> None:
        self.call = call
        self.header = header
        self.index = index

    def __repr__(self) -> str:
        return "<made anew by its `with`>"


class Saver(pickle.Pickler):
    """Saves objects of one checkpoint, one dump after another, under one memo.

    ``targets`` maps ids of objects that open headers hold to `Target`s, ``cells`` those of the frames' own cells to
    (call, name); the modules of the *running* calls' playbooks are searched for singletons; ``found`` and ``branches``
    collect the calls and branches that were met."""

    def __init__(self, targets: dict[int, Target], cells: dict[int, tuple[int, str]], running: Sequence[Call]) -> None:
        self.buffer = io.BytesIO()
        super().__init__(self.buffer, PROTOCOL)
        self.targets = targets
        self.cells = cells
        self.running = running
        self.found: dict[int, Call] = {}
        self.branches: dict[int, Branch] = {}

    def reducer_override(self, value: Any) -> _Reduced:
        kind = type(value)
        if self.targets:
            target = self.targets.get(id(value))
            if target is not None:
                return _target, (target.call, target.header, target.index)
        try:
            reducer = _REDUCERS[kind]
        except KeyError:
            reducer = _REDUCERS[kind] = _reducer_for(kind)
        return NotImplemented if reducer is None else reducer(self, value)


class Diagnosis(Saver):
    """Remembers what it came to last: when it fails, that is the object that cannot be saved."""

    last: Any = None

    def reducer_override(self, value: Any) -> _Reduced:
        self.last = value
        return super().reducer_override(value)


class Reader(pickle.Unpickler):
    """Loads what a `Saver` dumped, in the same order. *call* and *target* find the agent's own objects."""

    def __init__(
        self,
        payload: memoryview | bytes,
        call: Callable[[int], Any],
        target: Callable[[int, int, int], Any],
        cell: Callable[[int, str], Any],
        task: Callable[[int], Any],
    ) -> None:
        self._file = io.BytesIO(payload)
        super().__init__(self._file)
        self._own: dict[str, Callable[..., Any]] = {
            "_call": call,
            "_target": target,
            "_frame_cell": cell,
            "_task": task,
        }
        self._further: _FurtherReader | None = None

    def load(self) -> Any:
        return super().load() if self._further is None else self._further.load()

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name in self._own:
            return self._own[name]
        return super().find_class(module, name)

    def replace(self, old: Any, new: Any) -> None:
        """Let later loads find *new* where an earlier one had loaded *old*."""
        known = self.memo.copy() if self._further is None else self._further.memo
        if any(value is old for value in known.values()):
            # the C reader's memo cannot be changed: the Python one goes on from here
            self._further = _FurtherReader(self._file)
            self._further.find = self.find_class
            self._further.memo = {key: new if value is old else value for key, value in known.items()}


class _FurtherReader(pickle._Unpickler):
    find: Callable[[str, str], Any]
    memo: dict[int, Any]

    def find_class(self, module: str, name: str) -> Any:
        return self.find(module, name)


def save_index(index: Any) -> bytes:
    """Plain data (numbers, strings, tuples) that is read before anything else."""
    return pickle.dumps(index, PROTOCOL)


def load_index(stored: memoryview | bytes) -> Any:
    return pickle.loads(stored)


def _call(number: int) -> Call:
    raise TypeError(f"call {number} can only be loaded into its agent")


def _target(call: int, header: int, index: int) -> Any:
    raise TypeError(f"target {index} of header {header} in call {call} can only be loaded into its agent")


def _task(identity: int) -> Any:
    raise TypeError(f"task {identity} can only be loaded into its agent")


def _frame_cell(call: int, name: str) -> Any:
    raise TypeError(f"cell {name} of call {call} can only be loaded into its agent")


# --- reducers ----------------------------------------------------------------------------------------------------------


def _reduce_call(saver: Saver, call: Call) -> _Reduced:
    saver.found[call.id] = call
    return _call, (call.id,)


def _reduce_future(saver: Saver, future: asyncio.Future[Any]) -> _Reduced:
    branch = branch_of(future)
    if branch is not None:
        saver.branches[branch.id] = branch
        return _task, (branch.id,)
    reduced = gathering.reduced(future)
    return NotImplemented if reduced is None else reduced


def _reduce_group(saver: Saver, group: asyncio.TaskGroup) -> _Reduced:
    return groups.reduced(group)


def _reduce_target(saver: Saver, target: Target) -> _Reduced:
    return _target, (target.call, target.header, target.index)


def _reduce_function(saver: Saver, function: FunctionType) -> _Reduced:
    holder: Any = sys.modules.get(function.__module__)
    *path, name = function.__qualname__.split(".")
    for part in path:
        holder = getattr(holder, part, None)
    if holder is not None:
        if getattr(holder, name, None) is function:
            return NotImplemented  # by name
        if isinstance(holder, type):
            mangled = f"_{holder.__name__.lstrip('_')}{name}"
            if vars(holder).get(mangled) is function:
                return getattr, (holder, mangled)
    if (made := getattr(function, "__step__", None)) is not None:  # a step under another name than its function's
        return getattr, (made, "start")
    found = definition_path(function)
    if found is None:
        raise pickle.PicklingError(f"cannot save function {function.__qualname__}: its source is not known")
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    state = (function.__defaults__, function.__kwdefaults__, function.__dict__ or None)
    return made_again, (*found, cells), state, None, None, _fill_function


def _fill_function(function: FunctionType, state: tuple[Any, Any, Any]) -> None:
    function.__defaults__, function.__kwdefaults__, attributes = state
    if attributes:
        function.__dict__.update(attributes)


def _reduce_cell(saver: Saver, cell: CellType) -> _Reduced:
    own = saver.cells.get(id(cell))
    if own is not None:
        return _frame_cell, own
    try:
        state: tuple[Any, ...] = (cell.cell_contents,)
    except ValueError:
        state = ()
    return _cell, (), state, None, None, _fill_cell


def _cell() -> CellType:
    return CellType()


def _fill_cell(cell: CellType, state: tuple[Any, ...]) -> None:
    if state:
        cell.cell_contents = state[0]


def _reduce_method(saver: Saver, method: MethodType) -> _Reduced:
    return _method, (method.__func__, method.__self__)


def _method(function: Callable[..., Any], holder: Any) -> MethodType:
    return MethodType(function, holder)


def _reduce_module(saver: Saver, module: ModuleType) -> _Reduced:
    return _module, (module.__name__,)


def _module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def _reduce_path(saver: Saver, path: pathlib.PurePath) -> _Reduced:
    return _path, (type(path).__name__, str(path))


def _path(kind: str, text: str) -> pathlib.PurePath:
    made: pathlib.PurePath = getattr(pathlib, kind)(text)
    return made


_VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}


def _reduce_view(saver: Saver, view: Any) -> _Reduced:
    # `view.mapping` is a read-only proxy: the collector knows the dict itself
    mapping = next(found for found in gc.get_referents(view) if isinstance(found, dict))
    return _view, (mapping, _VIEWS[type(view)])


def _view(mapping: dict[Any, Any], kind: str) -> Any:
    return getattr(mapping, kind)()


def _reduce_exception(saver: Saver, error: BaseException) -> _Reduced:
    attributes = {name: value for name, value in vars(error).items() if name != tracebacks.SAVED}
    places = tracebacks.places(error)
    own = {name: value for name in _members(type(error)) if (value := getattr(error, name, None)) is not None}
    state = (attributes, own, error.__cause__, error.__context__, error.__suppress_context__, places)
    return _exception, (type(error), error.args), state, None, None, _fill_exception


def _exception(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Made by the built-in base's constructor, never by the program's own `__init__`."""
    base = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    made: BaseException = base.__new__(kind, *args)
    made.args = args
    return made


def _fill_exception(error: BaseException, state: tuple[Any, ...]) -> None:
    attributes, own, cause, context, suppress, places = state
    error.__dict__.update(attributes)
    for name, value in own.items():
        try:
            setattr(error, name, value)
        except (AttributeError, TypeError):
            continue  # read-only, and set by the constructor
    error.__cause__, error.__context__, error.__suppress_context__ = cause, context, suppress
    if places:
        error.__dict__[tracebacks.SAVED] = places


_COMMON = frozenset(vars(BaseException)) | {"obj"}


def _members(kind: type[BaseException]) -> list[str]:
    """Names of the data that built-in exceptions keep outside their dict (errno, name, value, …)."""
    found: list[str] = []
    for base in kind.__mro__:
        if base.__module__ == "builtins" and base is not object:
            for name, value in vars(base).items():
                if name not in _COMMON and type(value).__name__ in ("member_descriptor", "getset_descriptor"):
                    found.append(name)
    return found


def _reduce_instance(saver: Saver, value: Any) -> _Reduced:
    """An object of no special kind: by name when it is a module-level singleton of the program."""
    searched = None
    for call in saver.running:
        module = call.playbook.function.__module__
        if module != searched:
            searched = module
            name = _singletons(module).get(id(value))
            if name is not None and vars(sys.modules[module]).get(name) is value:
                return _singleton, (module, name)
    return NotImplemented


def _reduce_synchroniser(saver: Saver, value: Any) -> _Reduced:
    """By name when it is the program's own at module level: then it is as the process has it."""
    reduced = _reduce_instance(saver, value)
    return synchronisers.reduced(saver.running, value) if reduced is NotImplemented else reduced


def _singleton(module: str, name: str) -> Any:
    return getattr(_module(module), name)


_singleton_names: dict[str, tuple[int, dict[int, str]]] = {}


def _singletons(module: str) -> dict[int, str]:
    namespace = vars(sys.modules[module])
    known = _singleton_names.get(module)
    if known is None or known[0] != len(namespace):
        names = {id(value): name for name, value in namespace.items() if type(value) not in _BY_VALUE}
        known = _singleton_names[module] = (len(namespace), names)
    return known[1]


_BY_VALUE = frozenset({int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, bool, type(None)})
_REDUCERS: dict[type, Callable[[Saver, Any], _Reduced] | None] = {
    Call: _reduce_call,
    Target: _reduce_target,
    FunctionType: _reduce_function,
    MethodType: _reduce_method,
    CellType: _reduce_cell,
    ModuleType: _reduce_module,
    asyncio.Timeout: lambda saver, timeout: managers.reduce_timeout(timeout),
    type: None,
    **dict.fromkeys(_VIEWS, _reduce_view),
}


def _reducer_for(kind: type) -> Callable[[Saver, Any], _Reduced] | None:
    if issubclass(kind, BaseException):
        return _reduce_exception
    if issubclass(kind, asyncio.Future):
        return _reduce_future
    if kind is asyncio.TaskGroup:
        return _reduce_group
    if kind in synchronisers.KINDS:
        return _reduce_synchroniser
    if issubclass(kind, pathlib.PurePath) and kind.__module__.startswith("pathlib"):
        return _reduce_path
    if issubclass(kind, type) or kind in _BY_VALUE or (kind.__module__ == "builtins" and kind is not object):
        return None
    return _reduce_instance
