"""How each kind of value is pickled where pickle alone cannot, or would save what another process or Python could not use.

snapshot.py asks for each object that is no plain data; `lost` is the answer for what cannot be saved at all: a marker in
its place, or an error for a strict agent. What a checkpoint names by a function of this file stays loadable as long as that
function does.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextvars
import datetime
import decimal
import fractions
import gc
import pathlib
import sys
import threading
import types
import uuid
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol

import tenacity

from playbooks_worker.engine import (
    callables,
    classes,
    containers,
    contextual,
    coroutines,
    exceptions,
    gathering,
    groups,
    iterator_states,
    itertool_states,
    losses,
    managers,
    of_process,
    rebuilt,
    resources,
    synchronisers,
    undoing,
)
from playbooks_worker.engine.branches import Branch, branch_of
from playbooks_worker.engine.brought import DATA
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.losses import Reduced, lost
from playbooks_worker.engine.markers import Marker
from playbooks_worker.engine.resource_handles import Resource, definition_of


class Target:
    """Stands for the object that a header will bring when it has been entered again."""

    __slots__ = ("call", "header", "index")

    def __init__(self, call: int, header: int, index: int) -> None:
        self.call = call
        self.header = header
        self.index = index

    def __repr__(self) -> str:
        return "<made anew by its `with`>"


def outside_of(targets: dict[int, Target], call: int, inside: Sequence[str | int]) -> dict[int, Target]:
    """Those of *targets* that no header *inside* of this call brings."""
    return {number: one for number, one in targets.items() if one.call != call or one.header not in inside}


class Saving(callables.Binding, Protocol):
    """What reducers know of the `Saver` that asks."""

    running: Sequence[Call]
    found: dict[int, Call]
    branches: dict[int, Branch]
    resources: dict[resources.Key, bool]


# --- the agent's own objects, which only its loader can bring back ------------------------------------------------------


def _call(number: int) -> Call:
    raise TypeError(f"call {number} can only be loaded into its agent")


def _target(call: int, header: int, index: int) -> Any:
    raise TypeError(f"target {index} of header {header} in call {call} can only be loaded into its agent")


def _task(identity: int) -> Any:
    raise TypeError(f"task {identity} can only be loaded into its agent")


# --- reducers ----------------------------------------------------------------------------------------------------------


def _reduce_call(saver: Saving, call: Call) -> Reduced:
    saver.found[call.id] = call
    return _call, (call.id,)


def _reduce_future(saver: Saving, future: asyncio.Future[Any]) -> Reduced:
    branch = branch_of(future)
    if branch is not None:
        saver.branches[branch.id] = branch
        return _task, (branch.id,)
    reduced = gathering.reduced(future)
    if reduced is None and not isinstance(future, asyncio.Task):
        return lost(saver, future, "nobody knows who would end it; let others tell by an `asyncio.Event` or `Queue`")
    return losses.reduce_never(saver, future) if reduced is None else reduced


def _reduce_coroutine(saver: Saving, coroutine: Any) -> Reduced:
    reduced = coroutines.reduced(coroutine)
    return losses.reduce_never(saver, coroutine) if reduced is None else reduced


def _is_open(saver: Saving, manager: Any) -> bool:
    """Whether it is that of an open header: a checkpoint holds it as the one to enter again."""
    frames = [call.frame for call in saver.running if call.frame is not None]
    return any(one is manager for frame in frames for _, _, one in frame.headers)


def _reduce_timeout(saver: Saving, timeout: asyncio.Timeout) -> Reduced:
    try:
        return managers.reduce_timeout(timeout, is_open=_is_open(saver, timeout))
    except TypeError as error:
        return lost(saver, timeout, str(error))


def _reduce_group(saver: Saving, group: asyncio.TaskGroup) -> Reduced:
    return groups.reduced(group, is_open=_is_open(saver, group))


def reduce_target(saver: Saving, target: Target) -> Reduced:
    return _target, (target.call, target.header, target.index)


def _reduce_resource(saver: Saving, handle: Resource[Any]) -> Reduced:
    definition = definition_of(handle)
    saver.resources.setdefault(definition.key, definition.asynchronous and definition.made)
    return resources.handle_of, definition.key


def reduce_resource_object(saver: Saving, definition: resources.Definition) -> Reduced:
    saver.resources[definition.key] = True
    return resources.object_or_handle, definition.key


def _reduce_token(saver: Saving, token: contextvars.Token[Any]) -> Reduced:
    reduced = contextual.reduced(token)
    return losses.reduce_never(saver, token) if reduced is None else reduced


def _reduce_class(saver: Saving, kind: type) -> Reduced:
    if losses.named(kind) or kind in _UNNAMED:
        return NotImplemented
    name = _TYPES.get(kind)
    return classes.reduced(kind) if name is None else (getattr, (types, name))


def _reduce_module(saver: Saving, module: ModuleType) -> Reduced:
    return _module, (module.__name__,)


def _module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def _reduce_path(saver: Saving, path: pathlib.PurePath) -> Reduced:
    return _path, (type(path).__name__, str(path))


def _path(kind: str, text: str) -> pathlib.PurePath:
    made: pathlib.PurePath = getattr(pathlib, kind)(text)
    return made


_VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}


def _reduce_view(saver: Saving, view: Any) -> Reduced:
    return _view, (_dict_below(view), _VIEWS[type(view)])


def _dict_below(view: Any) -> Any:
    """The dict of a view or proxy, which itself answers only with another proxy: the collector knows the dict."""
    return next(found for found in gc.get_referents(view) if isinstance(found, dict))


def _view(mapping: dict[Any, Any], kind: str) -> Any:
    return getattr(mapping, kind)()


def _reduce_exception(saver: Saving, error: BaseException) -> Reduced:
    return exceptions.reduced(error)


def _reduce_instance(saver: Saving, value: Any) -> Reduced:
    """An object of no special kind: by name when it is a module-level singleton, else by what it answers itself."""
    name = singleton_of(saver, value)
    return losses.reduce_as_it_wants(saver, value) if name is None else (_singleton, name)


def _reduce_container(saver: Saving, value: Any) -> Reduced:
    name = singleton_of(saver, value)
    return containers.reduced(value) if name is None else (_singleton, name)


def singleton_of(saver: Saving, value: Any) -> tuple[str, str] | None:
    """(module, name) of a module-level object of the running playbooks, or of the module of its class."""
    searched = None
    for call in saver.running:
        module = call.playbook.function.__module__
        if module != searched:
            searched = module
            name = _singletons(module).get(id(value))
            if name is not None and vars(sys.modules[module]).get(name) is value:
                return module, name
    module = type(value).__module__
    if module != searched and module in sys.modules:
        name = _singletons(module).get(id(value))
        if name is not None and vars(sys.modules[module]).get(name) is value:
            return module, name
    return None


def _reduce_synchroniser(saver: Saving, value: Any) -> Reduced:
    """By name when it is the program's own at module level: then it is as the process has it."""
    name = singleton_of(saver, value)
    if name is not None:
        return _singleton, name
    taken = undoing.taken(saver.running[0].agent.watches, value) if saver.running else {}
    return synchronisers.reduced(saver.running, value, taken)


def _unless_named(reduce: Callable[[Any], Reduced]) -> Callable[[Saving, Any], Reduced]:
    """By name when it is the program's own at module level: then it is as the process has it."""

    def reduced(saver: Saving, value: Any) -> Reduced:
        name = singleton_of(saver, value)
        return reduce(value) if name is None else (_singleton, name)

    return reduced


def _reduce_proxy(saver: Saving, value: Any) -> Reduced:
    return types.MappingProxyType, (_dict_below(value),)


def _reduce_super(saver: Saving, value: Any) -> Reduced:
    return super, (value.__thisclass__, value.__self__)


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


# Plain data, and containers that pickle takes apart itself: never by name, and nothing of them can be lost but their parts.
_BY_VALUE = frozenset(
    {
        *DATA,
        *(range, slice, type(...), type(NotImplemented)),
        *(collections.deque, collections.OrderedDict, collections.defaultdict),
        *(collections.Counter, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
        *(decimal.Decimal, fractions.Fraction, uuid.UUID),
    }
)
_UNNAMED = frozenset({type(None), type(...), type(NotImplemented)})  # pickle knows them
_TYPES: dict[type, str] = {
    kind: name for name, kind in vars(types).items() if isinstance(kind, type) and not losses.named(kind)
}
REDUCERS: dict[type, Callable[[Saving, Any], Reduced] | None] = {
    Call: _reduce_call,
    Frame: losses.reduce_never,  # who asks Python for the variables of a playbook gets it with them
    Target: reduce_target,
    Marker: losses.reduce_marker,
    Resource: _reduce_resource,
    **callables.REDUCERS,
    **classes.REDUCERS,
    **iterator_states.REDUCERS,
    **itertool_states.REDUCERS,
    **rebuilt.REDUCERS,
    ModuleType: _reduce_module,
    types.CoroutineType: _reduce_coroutine,
    contextvars.Token: _reduce_token,
    asyncio.Timeout: _reduce_timeout,
    type: _reduce_class,
    super: _reduce_super,
    types.MappingProxyType: _reduce_proxy,
    **dict.fromkeys(of_process.LOCKS, _unless_named(of_process.reduce_lock)),
    threading.local: _unless_named(of_process.reduce_thread_local),
    **dict.fromkeys(_VIEWS, _reduce_view),
    **dict.fromkeys(_BY_VALUE, None),
}


def reducer_of(kind: type) -> Callable[[Saving, Any], Reduced] | None:
    """How objects of exactly this kind are saved; None leaves it to pickle."""
    try:
        return REDUCERS[kind]
    except KeyError:
        reducer = _reducer_for(kind)
        if losses.named(kind):  # others come and go
            REDUCERS[kind] = reducer
        return reducer


def _reducer_for(kind: type) -> Callable[[Saving, Any], Reduced] | None:
    if issubclass(kind, type):
        return _reduce_class
    if issubclass(kind, BaseException):
        return _reduce_exception
    if issubclass(kind, asyncio.Future):
        return _reduce_future
    if kind is asyncio.TaskGroup:
        return _reduce_group
    if issubclass(kind, tenacity.BaseRetrying):
        return _unless_named(of_process.reduce_retrying)
    if issubclass(kind, asyncio.AbstractEventLoop):
        return of_process.reduce_loop
    if issubclass(kind, concurrent.futures.Future):
        return rebuilt.reduce_future
    if losses.never(kind):
        return losses.reduce_never
    if kind in synchronisers.KINDS:
        return _reduce_synchroniser
    if issubclass(kind, pathlib.PurePath) and kind.__module__.startswith("pathlib"):
        return _reduce_path
    if containers.base_of(kind) is not None:
        return _reduce_container
    if kind.__module__ == "builtins" and kind is not object:
        return losses.reduce_as_it_wants
    return _reduce_instance
