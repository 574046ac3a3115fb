"""`with` and `async with` around sites: entered again after a resume, closed without user statements when an agent stops.

The wrappers stand between the emitted `with` and the user's context manager. They tell the frame which headers are open
and what their targets are, so that a checkpoint saves a reference to a target instead of the object (DESIGN 3.2, point 3).
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Generator
from types import CellType
from typing import Any, ClassVar

from playbooks_worker.engine import groups, managers, regions, stacks, tracebacks, yielded
from playbooks_worker.engine.brought import targets_of
from playbooks_worker.engine.driving import steps_of
from playbooks_worker.engine.errors import PlaybookRefused
from playbooks_worker.engine.footprints import Act, Look, changes_nothing, never_suspends, own_of, roots_of, watched
from playbooks_worker.engine.frames import HELPERS, Frame
from playbooks_worker.engine.place import Below, here
from playbooks_worker.engine.raising import came_to
from playbooks_worker.engine.synchronisers import Waiting
from playbooks_worker.engine.undoing import Watch

# A group whose tasks another library counts: they would come back, and it would not know them.
_CANNOT_COME_BACK = {
    ("anyio._backends._asyncio", "TaskGroup"): "its tasks could not be given back to it after a crash; use "
    "`asyncio.TaskGroup`, or open it in an ordinary coroutine that the playbook awaits",
}


class _Managed:
    __slots__ = ("_frame", "_manager", "_number", "_watch")
    _AGAIN: ClassVar[str]  # the method by which the class of a manager may say how it is entered after a resume

    def __init__(self, frame: Frame, number: int, manager: Any) -> None:
        self._frame = frame
        self._number = number
        self._manager = manager
        self._may_be_entered()
        self._watch = Watch(manager, roots_of(manager), hasattr(type(manager), self._AGAIN))
        stacks.know(manager)

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


class ManagedContext(_Managed):
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


class AsyncManagedContext(_Managed):
    """Stands in for the manager of an `async with`."""

    __slots__ = ("_entering", "_exit", "_leaving")
    _AGAIN = "__areenter__"

    def __init__(self, frame: Frame, number: int, entering: int, leaving: int, manager: Any) -> None:
        super().__init__(frame, number, manager)
        self._entering = entering
        self._leaving = leaving

    async def __aenter__(self) -> Any:
        enter = self._again() or self._method("__aenter__", "asynchronous context manager")
        self._exit = self._method("__aexit__", "asynchronous context manager")
        frame = self._frame
        agent = frame.agent
        again = frame.pc
        region: Below | None = None
        if again and again != self._entering and (waiting := agent.loader().waiting(frame, self._number)):
            return await self._entered_waiting(enter, waiting)
        if not again or again == self._entering:
            if again:  # it was waiting to enter: those who held what it waits for go first
                frame.pc = 0
                agent.reached(frame)
                await agent.passed_barrier()
            else:
                frame.turn += 1
                frame.site = self._entering
            frame.in_flight = True
            here.set(frame.below)
        else:
            agent.entering += 1
            region = agent.enter_region(frame)
        try:
            if region is None:
                await agent.start_allowed()
            act = self._begins(frame.below if region is None else region)
            if act is None or changes_nothing(enter, True):
                value = await enter(self._manager)
            else:
                value = await watched(act, self._watch.roots, steps_of(enter(self._manager)))
                self._watch.own = own_of(self._manager, act, value)
            if region is not None and (held := agent.loader().stack(frame, self._number)):
                await stacks.refill(self._manager, held, self._brought)
        except BaseException as error:
            self._forgotten()
            if not agent.must_stop(error):
                if region is not None:
                    self._refused(error)
                agent.owed = agent.gated = True
            raise
        finally:
            if region is None:
                frame.turned()
            else:
                agent.entering -= 1
                agent.leave_region(region)
        agent.raise_if_dead()
        self._opened(value)
        return value

    async def _entered_waiting(self, enter: Any, waiting: Waiting) -> Any:
        """A condition that its frame waits for: its lock is held by others, perhaps. A cancellation meanwhile is told at the
        site."""
        agent = self._frame.agent
        agent.waiting[self._frame.call_.id] = self._manager, waiting
        if waiting is Waiting.DIRECTLY:
            self._opened(None)
            return None
        held: asyncio.CancelledError | None = None
        value: Any = None
        while True:
            try:
                await agent.passed_barrier()
                value = await enter(self._manager)
                break
            except asyncio.CancelledError as cancelled:
                agent.raise_if_dead()
                held = cancelled
        agent.raise_if_dead()
        self._opened(value)
        if held is not None:
            agent.told_later(held)
        return value

    @types.coroutine
    def __aexit__(self, *raised: Any) -> Generator[Any, Any, Any]:
        """A site. Only an exit that suspends can be seen by a checkpoint, or by another branch: then its end is owed
        to the next one, which comes before the next effect."""
        frame = self._frame
        agent = frame.agent
        if raised[0] is GeneratorExit:  # the process ends: nothing can be awaited any more
            self._closed()
            return False
        tracebacks.cleaned(raised[1])
        again = bool(frame.pc) and not agent.dead
        thrown = frame.thrown == frame.turn  # the error, if any, that its body was left by
        if again:
            frame.pc = 0
            agent.reached(frame)
            raised = groups.left_with(self._manager, raised)
        else:
            frame.turn += 1
            frame.site = self._leaving
        frame.in_flight = True
        here.set(frame.below)
        swallowed, suspended = False, False
        sent: Any = None
        told: BaseException | None = None  # what was thrown in, instead
        yielded.leaves(frame, self._number)
        try:
            steps = steps_of(self._exit(self._manager, *raised))
            if not never_suspends(self._exit) and (act := self._begins(frame.below)):
                steps = watched(act, (*self._watch.roots, *stacks.roots_in(self._manager)), steps)
            try:
                step = steps.send(None)
                suspended = True
                while True:
                    try:
                        sent = yield step
                        thrown, told = False, None
                    except GeneratorExit:
                        agent.die("the process ends")
                        steps.close()
                        raise
                    except BaseException as error:
                        thrown, told = True, error
                    step = steps.send(sent) if told is None else steps.throw(told)
            except StopIteration as done:
                swallowed = done.value
            if frame.below.expected:
                agent.all_made(frame.below)
            if again and agent.restoring:
                yield from self._left_again()
        except BaseException as error:
            if not agent.must_stop(error) and again and agent.restoring:
                came_to(frame, error, None)
                yield from self._left_again()
            raise
        finally:
            told = None
            if thrown:
                frame.thrown = frame.turn
            yielded.left(frame, self._number)
            self._closed()
            frame.in_flight = False
            if not (suspended or again):
                if not agent.dead:
                    here.set(frame)
            else:
                frame.turned()
                agent.owed = agent.gated = True
        agent.raise_if_dead()
        return swallowed and not agent.dead  # LAW: nothing swallows a stop

    def _left_again(self) -> Generator[Any, Any, None]:
        """What follows, a handler too, waits for the other frames. Meanwhile no snapshot is taken: the manager has ended."""
        regions.enter(self._frame)
        try:
            yield from self._frame.agent.goes_on()
        finally:
            regions.leave(self._frame)


def entered_now(frame: Frame) -> Any:
    """The manager that *frame* waits to enter; None when it does something else."""
    entering = frame.coroutine.cr_await
    if getattr(entering, "cr_code", None) is not AsyncManagedContext.__aenter__.__code__:
        return None
    return entering.cr_frame.f_locals["self"]._manager


HELPERS[".cm"] = CellType(ManagedContext)
HELPERS[".acm"] = CellType(AsyncManagedContext)
