"""`@step`: retries, a timeout and a policy for unknown outcomes around an ordinary function that has an effect.

What is declared here and how the function is called; how an agent makes the attempts is attempts.py's. Waiting, stopping
and jitter are tenacity's strategies. A step is found again by the name under which its module holds it.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from types import FunctionType
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

import tenacity
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from playbooks_worker.engine.attempts import Attempts
from playbooks_worker.engine.effects import key_inside, keyed, random_key
from playbooks_worker.engine.errors import CodeChanged, EngineError, NotDone, PlaybookRefused
from playbooks_worker.engine.operations import OPERATION
from playbooks_worker.engine.place import here
from playbooks_worker.engine.playbooks import binder, playbook_of

_P = ParamSpec("_P")
_R = TypeVar("_R")
RetryOn: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]"
OnUnknown: TypeAlias = "Literal['retry', 'raise'] | Callable[..., Any]"

_DEFAULT_BACKOFF = tenacity.wait_exponential_jitter(initial=1, max=60)


class Step:
    """One step: its function and what was declared about it. A checkpoint holds its id alone."""

    def __init__(
        self,
        function: Callable[..., Any],
        home: str,
        *,
        retries: int | stop_base,
        backoff: float | timedelta | wait_base | None,
        timeout: float | timedelta | None,
        retry_on: RetryOn,
        on_unknown: OnUnknown,
    ) -> None:
        self.function = function
        self.name: str = getattr(function, "__qualname__", None) or repr(function)
        code = getattr(function, "__code__", None)
        self.filename: str = code.co_filename if code else "?"
        self.line: int = code.co_firstlineno if code else 0
        self.timeout_s = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        self.attempts_max: int | None = None
        if isinstance(retries, int):
            if retries < 0:
                raise ValueError(f"retries={retries}: how often to try again, so 0 or more")
            retries = tenacity.stop_after_attempt(retries + 1)
        if isinstance(retries, tenacity.stop_after_attempt):
            self.attempts_max = retries.max_attempt_number
        if isinstance(backoff, timedelta):
            backoff = backoff.total_seconds()
        if isinstance(backoff, int | float):
            backoff = tenacity.wait_fixed(backoff)
        self._stop = retries
        self._wait = _DEFAULT_BACKOFF if backoff is None else backoff
        self._retry_on = retry_on
        if isinstance(on_unknown, str) and on_unknown not in ("retry", "raise"):
            raise ValueError(f"on_unknown={on_unknown!r}: use 'retry', 'raise', or a function that finds out")
        self.careful = on_unknown != "retry"
        self._reconciler = None if isinstance(on_unknown, str) else on_unknown
        self.start: Callable[..., Any] = function  # what the program calls; set when it is made
        self._home = home
        self._id: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def __reduce__(self) -> Any:
        return find_step, self.id

    @property
    def id(self) -> tuple[str, str]:
        """(module, qualified name) that find it in another process. Raises `PlaybookRefused` where nothing does."""
        if self._id is None:
            for module, qualname in self._names():
                if _held(module, qualname) is self:
                    self._id = (module, qualname)
                    return self._id
            raise PlaybookRefused(
                self.filename,
                self.line,
                f"step {self.name} that no module holds by name",
                "an agent that goes on elsewhere could not find it; define it at module level, or in a class there",
            )
        return self._id

    def _names(self) -> list[tuple[str, str]]:
        names = [(getattr(self.function, "__module__", None) or self._home, self.name)]
        for name, value in vars(sys.modules[self._home]).items() if self._home in sys.modules else ():
            if getattr(value, "__step__", None) is self:
                names.append((self._home, name))
        return names

    # --- what was declared -----------------------------------------------------------------------------------------
    def pause_after(self, error: BaseException, attempt: int, spent_s: float) -> float | None:
        """Seconds until the attempt after *attempt*, which failed with *error*; None: there is none."""
        if isinstance(error, EngineError) or not isinstance(error, Exception) or not self._retried(error):
            return None
        state = tenacity.RetryCallState(cast(Any, None), None, (), {})
        state.attempt_number = attempt
        state.set_exception((type(error), error, error.__traceback__))
        assert state.outcome_timestamp is not None
        state.start_time = state.outcome_timestamp - spent_s
        return None if self._stop(state) else float(self._wait(state))

    def _retried(self, error: Exception) -> bool:
        wanted = self._retry_on
        if isinstance(wanted, type | tuple):
            return isinstance(error, wanted)
        return bool(wanted(error))

    @property
    def reconcile(self) -> Callable[[str, tuple[Any, ...], dict[str, Any]], Awaitable[Any]] | None:
        """Ask the declared function about the effect *key*; it raises `NotDone` when there was none."""
        finds = self._reconciler
        if finds is None:
            return None
        return lambda key, args, kwargs: _called(finds, (key, *args), kwargs)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        """Call the function once."""
        return _called(self.function, args, kwargs)

    # --- calls -----------------------------------------------------------------------------------------------------
    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        place = here.get()
        if place is None:
            return self._alone(args, kwargs, random_key())
        frame = place.below.frame
        if frame is not None and frame.playbook.of_operation:
            return self._alone(args, kwargs, key_inside(place, self.name))
        assert self.id
        return place.call(OPERATION, (Attempts(self, args, kwargs),))

    async def _alone(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: str) -> Any:
        """Outside an agent, or as a part of another step: the same attempts, and nothing recorded."""
        attempts = Attempts(self, args, kwargs)
        with keyed(key):
            while attempts.result is None:
                await attempts.once(None, key)
        return attempts.take()


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
    if inspect.iscoroutinefunction(function):
        made: Awaitable[Any] = function(*args, **kwargs)
        return made
    return _in_thread(function, args, kwargs)


async def _in_thread(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # What it raises comes back as a value: a future refuses StopIteration, and shows the frames of its pool.
    work = functools.partial(contextvars.copy_context().run, _outcome, function, args, kwargs)
    done, value = await asyncio.get_running_loop().run_in_executor(None, work)
    if not done:
        raise value
    return await value if inspect.isawaitable(value) else value


def _outcome(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, function(*args, **kwargs)
    except BaseException as error:
        return False, error


def find_step(module: str, qualname: str) -> Step:
    """The step that *module* holds under this name. Raises `CodeChanged` when there is none."""
    found = _held(module, qualname)
    if found is None:
        raise CodeChanged(f"step {module}:{qualname} is not in the program any more; deploy a build that has it")
    return found


def _held(module: str, qualname: str) -> Step | None:
    value: Any = sys.modules.get(module)
    for part in qualname.split("."):
        if value is None:
            return None
        mangled = f"_{value.__name__.lstrip('_')}{part}" if isinstance(value, type) else part
        value = inspect.getattr_static(value, part, None) or inspect.getattr_static(value, mangled, None)
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    found = getattr(value, "__step__", None)
    return found if isinstance(found, Step) else None


class _Decorator:
    """`step` itself; ``step.NotDone`` is what the function of ``on_unknown`` raises."""

    NotDone: Final = NotDone

    @overload
    def __call__(self, function: Callable[_P, Coroutine[Any, Any, _R]], /) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
    @overload
    def __call__(self, function: Callable[_P, _R], /) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
    @overload
    def __call__(
        self,
        /,
        *,
        retries: int | stop_base = ...,
        backoff: float | timedelta | wait_base | None = ...,
        timeout: float | timedelta | None = ...,
        retry_on: RetryOn = ...,
        on_unknown: OnUnknown = ...,
    ) -> _Decorated: ...
    def __call__(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        retries: int | stop_base = 0,
        backoff: float | timedelta | wait_base | None = None,
        timeout: float | timedelta | None = None,
        retry_on: RetryOn = Exception,
        on_unknown: OnUnknown = "retry",
    ) -> Any:
        """Make a function with an effect a step; a sync one runs in a thread. See docs/effects.md.

        ``retries``: how often to try again, or a tenacity ``stop``; ``backoff``: seconds between attempts, or a tenacity
        ``wait`` (default: exponential from 1 s to 60 s, with jitter); ``timeout``: seconds for each attempt;
        ``retry_on``: the exceptions that are tried again (types, or a function); ``on_unknown``: what happens when an
        attempt was cut short, so that nobody knows whether it happened: "retry" (the default) repeats it, "raise" raises
        `OutcomeUnknown` at the await, a function is called with the effect key and the step's arguments: what it returns is
        the result, and ``raise step.NotDone`` in it lets the step run again.
        """
        home = sys._getframe(1).f_globals.get("__name__", "")

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            return _decorated(
                Step(
                    _checked(function),
                    home,
                    retries=retries,
                    backoff=backoff,
                    timeout=timeout,
                    retry_on=retry_on,
                    on_unknown=on_unknown,
                )
            )

        return decorate if function is None else decorate(function)


class _Decorated(Protocol):
    """The type of ``step(...)``: for type checkers."""

    @overload
    def __call__(self, function: Callable[_P, Coroutine[Any, Any, _R]], /) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
    @overload
    def __call__(self, function: Callable[_P, _R], /) -> Callable[_P, Coroutine[Any, Any, _R]]: ...


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    if isinstance(function, staticmethod | classmethod):
        raise TypeError(f"put @step below @{type(function).__name__}")
    if not callable(function):
        raise TypeError(f"@step takes a function, not {function!r}")
    if playbook_of(function) is not None:
        raise TypeError(
            f"{function.__qualname__} is a playbook, which is resumed inside: a step is an ordinary function"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is a generator: a step returns its result")
    return function


def _decorated(made: Step) -> Callable[..., Any]:
    function = made.function
    check = _binder_of(function)

    @functools.wraps(function)
    def start(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        return made.call(args, kwargs)

    made.start = start
    start.__step__ = made  # type: ignore[attr-defined]  # how find_step knows it
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(start)
    return start


def _binder_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Complains of wrong arguments at the call, as the function itself would."""
    if isinstance(function, FunctionType):
        code = function.__code__
        flags = code.co_flags
        count = code.co_argcount + code.co_kwonlyargcount
        count += bool(flags & inspect.CO_VARARGS) + bool(flags & inspect.CO_VARKEYWORDS)
        names = list(code.co_varnames[:count])
        if flags & inspect.CO_VARARGS:  # Python keeps it behind the keyword-only ones
            names.insert(code.co_argcount, names.pop(code.co_argcount + code.co_kwonlyargcount))
        return binder(function, tuple(names))
    return lambda *args, **kwargs: None


step: Final = _Decorator()
