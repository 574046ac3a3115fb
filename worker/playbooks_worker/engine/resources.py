"""Things of a process that agents hold by name: clients, pools, models; made where an agent runs, never part of it.

`resource` defines one and answers its handle. A checkpoint holds the name (reducers.py asks), for the handle as for the
object itself wherever a program has got hold of that; where the agent goes on, the same definition makes the object anew.
The object belongs to the process: it is shared by its agents, and closed by whoever ends the process (`close_resources`).
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

from playbooks_worker.engine import losses
from playbooks_worker.engine.errors import CodeChanged, PlaybookRefused
from playbooks_worker.engine.place import here
from playbooks_worker.engine.resource_handles import Resource

_T = TypeVar("_T")
Key: TypeAlias = tuple[str, str]  # name, and the module of the factory: two programs may use one name
_log = logging.getLogger("playbooks_worker.engine")
_CLOSE_WITHIN_S = 10.0
_NOT_MADE: Any = object()


class Definition:
    """One name, how its object is made, and what has been made of it in this process.

    An object that a coroutine made belongs to its event loop; any other is the one of the process."""

    def __init__(self, name: str, home: str, factory: Callable[[], Any], close: Callable[[Any], Any] | None) -> None:
        self.name = name
        self.home = home
        self.handle: Any = Resource(self)
        self.define(factory, close)
        self._lock = threading.RLock()
        self._object: Any = _NOT_MADE
        self._making: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Any]]
        self._making = weakref.WeakKeyDictionary()

    def define(self, factory: Callable[[], Any], close: Callable[[Any], Any] | None) -> None:
        """How it is made from now on."""
        self.factory = factory
        self.close = close
        self.asynchronous = inspect.iscoroutinefunction(factory) or inspect.iscoroutinefunction(
            getattr(factory, "__call__", None)  # noqa: B004  # of an object that is called
        )

    @property
    def key(self) -> Key:
        return self.name, self.home

    def reduced(self) -> Any:
        """How its handle is pickled."""
        return handle_of, self.key

    def found(self) -> Any:
        """The object as far as it has been made; else `_NOT_MADE`."""
        if not self.asynchronous:
            return self._object
        try:
            loops: Iterable[Any] = (asyncio.get_running_loop(),)
        except RuntimeError:  # in a thread, of a step for example
            loops = reversed(list(self._making))
        for loop in loops:
            task = self._making.get(loop)
            if task is not None and task.done() and not task.cancelled() and task.exception() is None:
                return task.result()
        return _NOT_MADE

    def now(self) -> Any:
        """The object, made now unless it has been. Raises RuntimeError when that takes an await."""
        made = self.found()
        if made is not _NOT_MADE:
            if self.asynchronous:
                self.noted()
            return made
        if not self.asynchronous:
            with self._lock:
                if self._object is _NOT_MADE:
                    made = _outside().run(self.factory)
                    if not inspect.iscoroutine(made):
                        return self._made(made)
                    made.close()
                    self.asynchronous = True
                elif not self.asynchronous:
                    return self._object
        raise RuntimeError(
            f"resource {self.name!r} is made by a coroutine: write `await` before its first use, as in "
            f"`client = await {self.name if self.name.isidentifier() else '…'}`"
        )

    def noted(self) -> None:
        """The agent that asks, if one does, will have it made again before it goes on elsewhere."""
        place = here.get()
        if place is not None:
            place.below.agent.resources[self.key] = True

    async def obtained(self) -> Any:
        """The object, made unless it has been; whoever asks meanwhile waits for the same."""
        made = self.found()
        if made is not _NOT_MADE:
            return made
        if not self.asynchronous:
            with self._lock:
                if self._object is not _NOT_MADE:
                    return self._object
                made = _outside().run(self.factory)
                if not inspect.iscoroutine(made):
                    return self._made(made)
                self.asynchronous = True
        loop = asyncio.get_running_loop()
        making = self._making.get(loop)
        if making is None or making.done():
            _forget_closed_loops()
            work = made if inspect.iscoroutine(made) else _outside().run(self.factory)
            # in a context of its own: no agent's task, since it outlives the one that asked first
            making = self._making[loop] = loop.create_task(self._make(work), context=_outside())
        return await asyncio.shield(making)

    async def _make(self, work: Awaitable[Any]) -> Any:
        return self._made(await work)

    def _made(self, made: Any) -> Any:
        if not self.asynchronous:
            self._object = made
        loop = asyncio.get_running_loop() if self.asynchronous else None
        LIVE[id(made)] = Made(made, self, loop)
        return made

    @property
    def made(self) -> bool:
        return self.found() is not _NOT_MADE

    def forget(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """The next use makes another one."""
        self._object = _NOT_MADE
        if loop is not None:
            self._making.pop(loop, None)


class Made(NamedTuple):
    """An object of this process, and the event loop that it belongs to, if it does."""

    object: Any
    definition: Definition
    loop: asyncio.AbstractEventLoop | None


_definitions: dict[Key, Definition] = {}
LIVE: dict[int, Made] = {}  # by the id of the object, in the order in which they were made


def _outside() -> contextvars.Context:
    """The context of whoever runs the agent that asks: what a factory does is no part of any, and others use what it makes.
    What the one that asked first has set (the span that is current, say) would stay with the tasks of a pool for ever."""
    place = here.get()
    context = contextvars.copy_context() if place is None else place.below.agent.context.copy()
    context.run(here.set, None)
    return context


def _forget_closed_loops() -> None:
    for number, (_, definition, loop) in list(LIVE.items()):
        if loop is not None and loop.is_closed():
            del LIVE[number]
            definition.forget(loop)


# --- definitions ---------------------------------------------------------------------------------------------------------


@overload
def resource(
    name: str, factory: Callable[[], Coroutine[Any, Any, _T]], *, close: Callable[[_T], Any] | None = None
) -> Resource[_T]: ...
@overload
def resource(name: str, factory: Callable[[], _T], *, close: Callable[[_T], Any] | None = None) -> _T: ...
def resource(name: str, factory: Callable[[], Any], *, close: Callable[[Any], Any] | None = None) -> Any:
    """A handle of what *factory* makes in each process that needs it: `client = resource("openai", make_client)`.

    Define it at module level. The handle may be held, passed on and used like the object; a checkpoint holds its name.
    A sync *factory* is called at the first use; an async one by `await handle`, which answers the object, and where
    an agent goes on that has awaited it, before any of its statements. *close*, sync or async, is given the object when
    the process ends in order. Raises ValueError when the name means another factory of the same module.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"a resource has a name: resource('name', factory), not {name!r}")
    if not callable(factory):
        raise TypeError(f"resource {name!r} needs a function that makes it, not {type(factory).__qualname__}")
    caller = sys._getframe(1)
    if here.get() is not None and not _at_import(caller):
        raise PlaybookRefused(
            caller.f_code.co_filename,
            caller.f_lineno,
            f"resource({name!r}) while a playbook runs",
            "define it at module level, so that it is defined wherever the agent goes on",
        )
    home = str(getattr(factory, "__module__", None) or caller.f_globals.get("__name__", ""))
    known = _definitions.get((name, home))
    if known is None:
        known = _definitions[name, home] = Definition(name, home, factory, close)
    elif known.factory is not factory:
        old = known.factory
        if _qualname(old) != _qualname(factory) and inspect.isfunction(old) and losses.named(old):
            raise ValueError(
                f"resource {name!r} is made by {_qualname(old)} of module {home}; give that of {_qualname(factory)} another "
                "name"
            )
        known.define(factory, close)
    return known.handle


def _qualname(factory: Any) -> str:
    return str(getattr(factory, "__qualname__", factory))


def _at_import(frame: Any) -> bool:
    """Whether *frame* runs because a module is being imported just now."""
    while frame is not None and not frame.f_globals.get("__name__", "").startswith(("playbooks_worker.", "asyncio.")):
        if frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False


def find_resource(name: str, home: str) -> Definition:
    """The definition that a checkpoint names; its module may have changed. Raises `CodeChanged` when there is none."""
    found = _definitions.get((name, home))
    if found is None:
        try:
            __import__(home)
        except Exception:  # moved, perhaps
            pass
        found = _definitions.get((name, home))
    if found is None:
        others = [known for known in _definitions.values() if known.name == name]
        if len(others) == 1:
            return others[0]
        raise CodeChanged(
            f"resource {name!r}, made by a function of module {home}, is not defined in this program; define it at module "
            f"level: resource({name!r}, …)"
        )
    return found


def handle_of(name: str, home: str) -> Any:
    return find_resource(name, home).handle


def object_or_handle(name: str, home: str) -> Any:
    """For what was the object itself: an agent's resume has made it; who only looks does not."""
    definition = find_resource(name, home)
    made = definition.found()
    return definition.handle if made is _NOT_MADE else made


async def close_resources() -> None:
    """Close what this process, or this event loop, has made, the last first. What goes wrong is logged: the process ends."""
    current = asyncio.get_running_loop()
    deadline = current.time() + _CLOSE_WITHIN_S
    for number, (made, definition, loop) in reversed(list(LIVE.items())):
        if loop is not None and loop is not current:
            continue
        del LIVE[number]
        definition.forget(loop)
        if definition.close is None:
            continue
        try:
            async with asyncio.timeout_at(deadline):
                closed = definition.close(made)
                if inspect.isawaitable(closed):
                    await closed
        except Exception as error:
            _log.warning("resource %r has not closed: %s", definition.name, losses.said(error))
