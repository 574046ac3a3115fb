"""`with` around sites: entered again after a resume, closed without user statements when an agent stops.

The wrappers stand between the emitted `with` and the user's context manager; those of `async with` are async_headers.py's.
They tell the frame which headers are open and what their targets are, so that a checkpoint saves a reference to a target
instead of the object (DESIGN 3.2, point 3).
"""

from __future__ import annotations

from types import CellType
from typing import Any, ClassVar

from playbooks_worker.engine import contextual, managers, stacks, tracebacks, yielded
from playbooks_worker.engine.brought import targets_of
from playbooks_worker.engine.errors import PlaybookRefused
from playbooks_worker.engine.footprints import Act, Look, changes_nothing, own_of, roots_of
from playbooks_worker.engine.frames import HELPERS, Frame
from playbooks_worker.engine.place import Below
from playbooks_worker.engine.undoing import Watch

# A group whose tasks another library counts: they would come back, and it would not know them.
_CANNOT_COME_BACK = {
    ("anyio._backends._asyncio", "TaskGroup"): "its tasks could not be given back to it after a crash; use "
    "`asyncio.TaskGroup`, or open it in an ordinary coroutine that the playbook awaits",
}


class Managed:
    __slots__ = ("_frame", "_manager", "_number", "_watch")
    _AGAIN: ClassVar[str]  # the method by which the class of a manager may say how it is entered after a resume

    def __init__(self, frame: Frame, number: int, manager: Any) -> None:
        self._frame = frame
        self._number = number
        self._manager = manager
        self._may_be_entered()
        self._watch = Watch(manager, roots_of(manager), hasattr(type(manager), self._AGAIN))
        stacks.know(manager)
        if contextual.DECLARED:
            contextual.noted(frame, number)

    def _may_be_entered(self) -> None:
        """Raises `PlaybookRefused`."""
        kind = type(self._manager)
        advice = _CANNOT_COME_BACK.get((kind.__module__, kind.__qualname__))
        if advice is not None:
            line = self._frame.playbook.rewritten.headers[self._number - 1].line
            raise PlaybookRefused(
                self._frame.playbook.filename, line, f"{kind.__qualname__} of {kind.__module__}", advice
            )

    def _begins(self, below: Below | None) -> Act | None:
        """What the entry or exit that begins now changes is noted; None: there is nothing to note."""
        watch = self._watch
        if not watch.roots:
            return None
        self._frame.agent.watches[self._frame.call_.id, self._number] = watch
        act = Act(below)
        watch.acts.append(act)
        return act

    def _forgotten(self) -> None:
        self._frame.agent.watches.pop((self._frame.call_.id, self._number), None)

    def _opened(self, value: Any) -> None:
        for act in self._watch.acts:
            act.over = True
        stack = isinstance(value, stacks.KnownStack) and value is self._manager
        targets = value.targets if stack else targets_of(value)
        self._frame.headers.append((self._number, targets, self._manager))
        managers.entered(self._manager)
        yielded.opened(self._frame, self._number, self._manager, value)
        if self._frame.pc:
            self._frame.agent.header_entered(self._frame, self._number, targets, self._manager)

    def _brought(self, targets: list[Any]) -> None:
        """Something that a stack holds has been entered again."""
        self._frame.agent.loader().fresh(self._frame, self._number, targets)

    def _refused(self, error: BaseException) -> None:
        """Entering it has failed: the program's own error, unless it is entered again."""
        if self._frame.pc:
            self._frame.cannot_enter(self._number, error)

    def _closed(self) -> None:
        headers = self._frame.headers
        if headers and headers[-1][0] == self._number:
            headers.pop()
        self._forgotten()

    def _again(self) -> Any:
        """How the class of the manager says that it is entered after a resume."""
        frame = self._frame
        if not frame.pc or frame.playbook.rewritten.sites[frame.pc - 1].entering == self._number:
            return None
        return getattr(type(self._manager), self._AGAIN, None)

    def _method(self, name: str, protocol: str) -> Any:
        kind = type(self._manager)
        method = getattr(kind, name, None)
        if method is None:
            missed = f" (missed {name} method)" if name.endswith("exit__") else ""
            raise TypeError(f"{kind.__qualname__!r} object does not support the {protocol} protocol{missed}")
        return method


class ManagedContext(Managed):
    """Stands in for the manager of a `with`."""

    __slots__ = ("_exit",)
    _AGAIN = "__reenter__"

    def __enter__(self) -> Any:
        enter = self._again() or self._method("__enter__", "context manager")
        self._exit = self._method("__exit__", "context manager")
        agent = self._frame.agent
        region = agent.enter_region(self._frame)
        act = self._begins(region)
        look = None if act is None or changes_nothing(enter, False) else Look(self._watch.roots)
        try:
            value = enter(self._manager)
            if act is not None and look is not None:
                act.before = look
                act.saw(look)
                self._watch.own = own_of(self._manager, act, value)
            if self._frame.pc and (held := agent.loader().stack(self._frame, self._number)):
                stacks.refill_now(self._manager, held, self._brought)
        except BaseException as error:
            self._forgotten()
            if isinstance(error, Exception):
                self._refused(error)
            raise
        finally:
            agent.leave_region(region)
        self._opened(value)
        return value

    def __exit__(self, *raised: Any) -> Any:
        self._closed()
        tracebacks.cleaned(raised[1])
        agent = self._frame.agent
        region = agent.enter_region(self._frame)
        yielded.leaves(self._frame, self._number)
        try:
            swallowed = self._exit(self._manager, *raised)
        finally:
            yielded.left(self._frame, self._number)
            agent.leave_region(region)
        return swallowed and not self._frame.agent.dead  # LAW: nothing swallows a stop


HELPERS[".cm"] = CellType(ManagedContext)
