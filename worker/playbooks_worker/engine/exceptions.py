"""Exceptions as values of a checkpoint: class, arguments, attributes, cause, context, notes and where they were raised.

They are made again by the built-in base's `__new__`, never by the program's own `__init__`, whose arguments nobody knows.
"""

from __future__ import annotations

import functools
from types import BuiltinFunctionType
from typing import Any

from playbooks_worker.engine import tracebacks


def reduced(error: BaseException) -> tuple[Any, ...]:
    """How *error* is pickled."""
    kind: Any = type(error)
    if _knows_itself(kind):
        answered: Any = error.__reduce__()
        maker, arguments = answered[:2]
        return maker, arguments, _state(error), None, None, _fill_exception
    return _exception, (kind, error.args), _state(error), None, None, _fill_exception


def _state(error: BaseException) -> tuple[Any, ...]:
    attributes = dict(vars(error))
    places = tracebacks.places(error)
    own = {name: value for name in _members(type(error)) if (value := getattr(error, name, None)) is not None}
    return attributes, own, error.__cause__, error.__context__, error.__suppress_context__, places


@functools.lru_cache(maxsize=1024)
def _knows_itself(kind: Any) -> bool:
    """Whether errors of this *kind* are made by a library in C or Rust (pydantic's `ValidationError`)."""
    made_by: type = next(base for base in kind.__mro__ if isinstance(vars(base).get("__new__"), BuiltinFunctionType))
    return made_by.__module__ != "builtins"


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
    error.__traceback__ = tracebacks.made(places)


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
