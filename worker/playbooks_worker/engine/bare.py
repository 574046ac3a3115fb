"""Objects whose `__new__` pickle would call without knowing what it wants, or whose `__getattr__` it would ask too early.

Pickle makes an object by its class's `__new__`, with the arguments that the built-in base remembers (`class Url(str)` whose
`__new__` takes a host and a path), or with none; and it asks an empty object for `__setstate__`, which a `__getattr__` that
passes everything on to an attribute cannot answer. Such objects are made by the built-in base and given their attributes: no
code of their class runs. Called by losses.py, with what the object itself has answered.
"""

from __future__ import annotations

import functools
import inspect
from types import FunctionType
from typing import Any

from playbooks_worker.engine import shapes

_BASES: tuple[Any, ...] = (int, float, complex, str, bytes, tuple)


def reduced(value: Any, answered: tuple[Any, ...]) -> tuple[Any, ...]:
    """*answered* says: by `__new__` with these arguments."""
    kind: Any = type(value)
    base = _base_of(kind)
    asks = _asks_itself(kind)
    if base is None and not asks:
        return answered
    maker, arguments, *rest = answered
    if base is not None:
        maker, arguments = _made, (base, kind, *(() if base is object else base.__getnewargs__(value)))
    state, items, pairs, *setter = (*rest, None, None, None)[:4]
    if asks and state is not None and not any(setter):
        return maker, arguments, state, items, pairs, _fill
    return maker, arguments, *rest


@functools.lru_cache(maxsize=4096)
def _base_of(kind: Any) -> Any:
    """The built-in class that is to make an object of this *kind*; None: the class itself can."""
    if type(kind.__new__) is not FunctionType:
        return None
    own = _first(kind, "__new__")
    if min(_first(kind, "__getnewargs__"), _first(kind, "__getnewargs_ex__")) <= own:
        return None
    base = next((base for base in _BASES if issubclass(kind, base)), None)
    if base is not None:
        return base
    try:
        inspect.signature(kind.__new__).bind(kind)
    except TypeError:
        return object if _is_plain(kind) else None
    return None


def _first(kind: type, name: str) -> int:
    """Where in its order of classes *name* is defined."""
    return next((number for number, one in enumerate(kind.__mro__) if name in vars(one)), len(kind.__mro__))


def _is_plain(kind: Any) -> bool:
    """Whether `object` may make it: all of its classes are in Python."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


@functools.lru_cache(maxsize=4096)
def _asks_itself(kind: Any) -> bool:
    return _first(kind, "__getattr__") < len(kind.__mro__) == _first(kind, "__setstate__")


def _made(base: Any, kind: Any, *arguments: Any) -> Any:
    return base.__new__(kind, *arguments)


def _fill(made: Any, state: Any) -> None:
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        shapes.put(made, name, value)
