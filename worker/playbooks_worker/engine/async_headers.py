"""`async with` around sites, both ends of which are sites: entered again after a resume, as `with` is (headers.py)."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Generator
from types import CellType
from typing import Any

from playbooks_worker.engine import contextual, groups, regions, stacks, tracebacks, yielded
from playbooks_worker.engine.driving import steps_of
from playbooks_worker.engine.footprints import changes_nothing, never_suspends, own_of, watched
from playbooks_worker.engine.frames import HELPERS, Frame
from playbooks_worker.engine.headers import Managed
from playbooks_worker.engine.mortal import is_told_soon
from playbooks_worker.engine.place import Below, here
from playbooks_worker.engine.raising import came_to
from playbooks_worker.engine.synchronisers import Waiting


class AsyncManagedContext(Managed):
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
        if agent.closed(raised[1]) is not None:  # the process ends: nothing can be awaited any more
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
            if contextual.DECLARED:
                contextual.noted(frame)
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
            yield from self._left(again)
        except BaseException as error:
            if not agent.must_stop(error):
                if again and agent.restoring:
                    came_to(frame, error, None)
                yield from self._left(again)
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

    def _left(self, again: bool) -> Generator[Any, Any, None]:
        """What follows a block that is left *again*, a handler too, waits for the other frames. Meanwhile no snapshot is
        taken: the manager has ended."""
        agent, task = self._frame.agent, self._frame.task
        again = again and agent.restoring
        if not again and not is_told_soon(task):
            return
        regions.enter(self._frame)
        try:
            yield from agent.taken_back()
            if again:
                yield from agent.goes_on()
        finally:
            regions.leave(self._frame)


def entered_now(frame: Frame) -> Any:
    """The manager that *frame* waits to enter; None when it does something else."""
    entering = frame.coroutine.cr_await
    if getattr(entering, "cr_code", None) is not AsyncManagedContext.__aenter__.__code__:
        return None
    return entering.cr_frame.f_locals["self"]._manager


HELPERS[".acm"] = CellType(AsyncManagedContext)
