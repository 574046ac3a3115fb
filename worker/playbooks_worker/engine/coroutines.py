"""Ordinary coroutines that an agent holds: how each was made, so that a resume makes it again and runs it from its start.

Of a task's coroutine its branch asks (branches.py); of one in a local, a list or an argument the pickler (reducers.py). What
has run to its end comes back as a coroutine that has: whoever awaits it is told so, as by Python.
"""

from __future__ import annotations

import dis
import functools
import gc
import inspect
import weakref
from collections.abc import Callable, Iterator
from types import CodeType, CoroutineType, FunctionType
from typing import Any, TypeAlias

# How an ordinary coroutine was made: its function and the values of its parameters, in the order of the code object.
Making: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...]]"

# Those that may give their parameters other values, as they were when somebody asked before they began.
_begun: weakref.WeakKeyDictionary[Any, Making] = weakref.WeakKeyDictionary()
# Those that a branch was given, and how they were made.
_given: weakref.WeakKeyDictionary[Any, tuple[Making, Any]] = weakref.WeakKeyDictionary()


def making_of(coroutine: Any) -> Making | None:
    """How *coroutine* can be made again; None when only its maker knows: it is of another kind, has ended, or may have given
    its parameters other values before anybody asked."""
    if type(coroutine) is not CoroutineType or coroutine.cr_frame is None:
        return None
    code = coroutine.cr_code
    function = next((f for f in gc.get_referents(coroutine) if type(f) is FunctionType and f.__code__ is code), None)
    if function is None:
        return None
    if _rebinds(code) and inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED:
        return _begun.get(coroutine)
    values = coroutine.cr_frame.f_locals
    making = function, tuple(values[name] for name in _parameters(code))
    if _rebinds(code):
        _begun[coroutine] = making
    return making


def give(making: Making, branch: Any) -> None:
    """*branch*, which runs again until it has ended, is given the coroutines among these arguments: those that it has begun
    or ended by then begin again with it."""
    for given in _coroutines_in(making[1]):
        how = making_of(given) if inspect.getcoroutinestate(given) == inspect.CORO_CREATED else None
        if how is not None:
            _given[given] = how, branch
            give(how, branch)


def _coroutines_in(value: Any, depth: int = 0) -> Iterator[Any]:
    if type(value) is CoroutineType:
        yield value
    elif depth < 3 and type(value) in (tuple, list, set, dict):
        for part in value.values() if type(value) is dict else value:
            yield from _coroutines_in(part, depth + 1)


def made(making: Making) -> Any:
    """The coroutine that `making_of` was asked about, once more."""
    function, values = making
    code = function.__code__
    positional, keyword = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames[positional : positional + keyword]
    args = list(values[:positional])
    words = dict(zip(names, values[positional : positional + keyword], strict=True))
    rest = list(values[positional + keyword :])
    if code.co_flags & inspect.CO_VARARGS:
        args += rest.pop(0)
    if code.co_flags & inspect.CO_VARKEYWORDS:
        words.update(rest.pop(0))
    return function(*args, **words)


def reduced(coroutine: Any) -> tuple[Any, ...] | None:
    """How *coroutine* is pickled; None when nobody could make it again."""
    given = _given.get(coroutine)
    if given is not None and given[1].making is not None:
        return _made_again, given[0]
    if coroutine.cr_frame is None:
        return _ended, ()
    making = making_of(coroutine)
    return None if making is None else (_made_again, making)


def _made_again(function: Callable[..., Any], values: tuple[Any, ...]) -> Any:
    return made((function, values))


async def _nothing() -> None:
    """What has ended says no more."""


def _ended() -> Any:
    coroutine = _nothing()
    coroutine.close()
    return coroutine


def _parameters(code: CodeType) -> tuple[str, ...]:
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]


@functools.lru_cache(maxsize=1024)
def _rebinds(code: CodeType) -> bool:
    """Whether *code*, or a function in it, may give one of its parameters another value."""
    return not _bound(code).isdisjoint(_parameters(code))


def _bound(code: CodeType) -> set[str]:
    """The local names that *code* and the functions in it bind or delete."""
    return {name for each in _codes(code) for name in _bound_by(each)}


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _bound_by(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if "STORE_" in instruction.opname or "DELETE_" in instruction.opname:
            found = instruction.argval
            yield from found if isinstance(found, tuple) else (str(found),)
