"""Functions, their cells and bound methods as parts of a checkpoint (reducers.py asks).

A function comes back by name where it has one, else by where it is defined (definitions.py), from the resuming interpreter's
own compiled code. Only one without source is saved as the code that it is, which binds the checkpoint to a Python version.
"""

from __future__ import annotations

import builtins
import functools
import gc
import sys
import types
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol

from playbooks_worker.engine import losses
from playbooks_worker.engine.definitions import definition_path, home_of, made_again
from playbooks_worker.engine.losses import Losing, Reduced
from playbooks_worker.engine.markers import Marker

_SAID = ("__name__", "__qualname__", "__module__", "__doc__")


class Binding(Losing, Protocol):
    """What is needed of the `Saver` that asks."""

    cells: dict[int, tuple[int, str]]
    met: set[tuple[int, str]]

    def bytecode(self, code: CodeType) -> Reduced:
        """*code* as bytes that only this Python version can run; the checkpoint says so."""


# --- functions ---------------------------------------------------------------------------------------------------------


def reduce_function(saver: Binding, function: FunctionType) -> Reduced:
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
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    state = (function.__defaults__, function.__kwdefaults__, function.__dict__ or None, _said(function))
    found = definition_path(function)
    if found is not None:
        return made_again, (*found, cells), state, None, None, _fill_function
    home = home_of(function)
    if home is None and function.__globals__.get("__builtins__") is vars(builtins):
        function.__globals__["__builtins__"] = builtins  # means the same to Python, and is saved by name
    namespace = function.__globals__ if home is None else None
    return _of_code, (function.__code__, home, namespace, cells), state, None, None, _fill_function


def _said(function: FunctionType) -> dict[str, Any] | None:
    """What a function says of itself beyond what its code does: `functools.wraps` and annotations."""
    plain = FunctionType(function.__code__, function.__globals__, closure=function.__closure__)
    said = {name: getattr(function, name) for name in _SAID if getattr(function, name) != getattr(plain, name)}
    if function.__annotations__:
        said["__annotations__"] = function.__annotations__
    return said or None


def _of_code(code: CodeType, home: str | None, namespace: Any, cells: dict[str, CellType]) -> FunctionType:
    if home is not None:
        __import__(home)
        namespace = vars(sys.modules[home])
    return FunctionType(code, namespace, code.co_name, None, tuple(cells[name] for name in code.co_freevars))


def _fill_function(function: FunctionType, state: tuple[Any, Any, Any, Any]) -> None:
    function.__defaults__, function.__kwdefaults__, attributes, said = state
    if attributes:
        function.__dict__.update(attributes)
    for name, value in (said or {}).items():
        setattr(function, name, value)


def _reduce_code(saver: Binding, code: CodeType) -> Reduced:
    return saver.bytecode(code)


# --- cells ---------------------------------------------------------------------------------------------------------------


def _reduce_cell(saver: Binding, cell: CellType) -> Reduced:
    own = saver.cells.get(id(cell))
    if own is not None:
        saver.met.add(own)
        return _frame_cell, own
    try:
        state: tuple[Any, ...] = (cell.cell_contents,)
    except ValueError:
        state = ()
    return _cell, (), state, None, None, _fill_cell


def _frame_cell(call: int, name: str) -> Any:
    raise TypeError(f"cell {name} of call {call} can only be loaded into its agent")


def _cell() -> CellType:
    return CellType()


def _fill_cell(cell: CellType, state: tuple[Any, ...]) -> None:
    if state:
        cell.cell_contents = state[0]


# --- methods -------------------------------------------------------------------------------------------------------------


def _reduce_method(saver: Binding, method: MethodType) -> Reduced:
    return _method, (method.__func__, method.__self__)


def _method(function: Callable[..., Any], holder: Any) -> MethodType:
    return MethodType(function, holder)


def _reduce_builtin(saver: Binding, function: Any) -> Reduced:
    """A function of a C module by its name, a method of a built-in object with that object."""
    holder = function.__self__
    if holder is None or type(holder) is ModuleType:
        return losses.reduce_as_it_wants(saver, function)
    return _builtin_method, (holder, function.__name__)


def _builtin_method(holder: Any, name: str) -> Any:
    return holder if type(holder) is Marker else getattr(holder, name)


_Key = type(functools.cmp_to_key(lambda one, other: 0))


def _reduce_key(saver: Binding, key: Any) -> Reduced:
    """What `functools.cmp_to_key` makes, and the keys that this makes."""
    _, compare, *compared = gc.get_referents(key)  # its class comes first
    return _key, (compare, *compared)


def _key(compare: Callable[[Any, Any], int], *compared: Any) -> Any:
    made = functools.cmp_to_key(compare)
    return made(*compared) if compared else made


_Cached = type(functools.lru_cache(lambda: None))


def _reduce_cached(saver: Binding, function: Any) -> Reduced:
    """What `functools.lru_cache` makes of a function that is not found by name. It remembers nothing when it comes back."""
    if losses.named(function):
        return losses.reduce_as_it_wants(saver, function)
    limits = function.cache_parameters()
    return _cached, (function.__wrapped__, limits["maxsize"], limits["typed"])


def _cached(function: Any, most: int | None, typed: bool) -> Any:
    return function if type(function) is Marker else functools.lru_cache(most, typed)(function)


REDUCERS: dict[type, Callable[[Any, Any], Reduced]] = {
    FunctionType: reduce_function,
    CodeType: _reduce_code,
    CellType: _reduce_cell,
    MethodType: _reduce_method,
    types.BuiltinFunctionType: _reduce_builtin,
    _Key: _reduce_key,
    _Cached: _reduce_cached,
}
