"""Tasks made inside an agent: those of a playbook's statements are its branches, those of plain code are numbered, so that a
resume recognises what runs again.

The factory is installed on the loop once and leaves every task alone that is made outside an agent.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, cast

from playbooks_worker.engine import branches, callbacks, cancels
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.mortal import Counting, is_told_soon
from playbooks_worker.engine.paths import path_of
from playbooks_worker.engine.place import Below, Plain, here

# What the loop closes an asynchronous generator with that nobody needs any more, whenever a collector finds that: its code
# runs outside the agent (the type has no name in `types`).
_CLOSING = "async_generator_athrow"


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Make *loop* tell agents about their tasks. Idempotent."""
    current = loop.get_task_factory()
    if getattr(current, "tells_agents", False):
        return

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        context = options.get("context")
        place = here.get() if context is None else context.run(here.get)
        if place is None:
            return _make(current, loop, coroutine, options)
        if type(coroutine).__name__ == _CLOSING:
            options["context"] = context or contextvars.copy_context()
            options["context"].run(here.set, None)
            return _make(current, loop, coroutine, options)
        return _inside(loop, coroutine, options, place)

    factory.tells_agents = True  # type: ignore[attr-defined]  # how a second install knows
    factory.outer = current  # type: ignore[attr-defined]  # how `make` finds it
    loop.set_task_factory(factory)


def _make(outer: Callable[..., Any] | None, loop: asyncio.AbstractEventLoop, coroutine: Any, options: Any) -> Any:
    if outer is not None:
        return outer(loop, coroutine, **options)
    return asyncio.Task(coroutine, loop=loop, **options)


class AgentTask(Counting):
    """A task inside an agent. Whoever cancels it from outside any agent (the end of the loop cancels all tasks, in any
    order) ends the agent: its handlers must not see that."""

    agent: Any = None
    branch: branches.Branch | None = None
    before = 0  # cancellations of it that counted when it was saved

    def cancel(self, msg: Any | None = None) -> bool:
        place = here.get()
        if self.agent is not None and not self.done():
            if place is not None:
                if type(place) is Frame and self.agent.told_behind(self, msg):
                    return True
                if cancels.note(self.agent, self, place, msg):
                    self.before += 1
                    return True
            elif self.agent.owns(self):
                self.agent.die("cancelled from outside")
        if not is_told_soon(self):
            self.told_above = self.cancelling()
        return super().cancel(msg)

    def cancelling(self) -> int:
        return super().cancelling() + self.before

    def uncancel(self) -> int:
        if self.before:
            self.before -= 1
        else:
            super().uncancel()
        return self.cancelling()

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: contextvars.Context | None = None) -> None:
        if self.branch is not None and callbacks.of_program(fn):
            if not self.done():
                self.branch.callbacks.append(fn)
            fn = callbacks.OfLiving(self.agent, fn)
        context = context or contextvars.copy_context()  # None says to asyncio: that of who ends it
        super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        if self.branch is not None:
            self.branch.callbacks = [callback for callback in self.branch.callbacks if callback != fn]
        return super().remove_done_callback(fn)


def make(agent: Any, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """A task of *agent*, as an outer task factory of the program wants it if there is one."""
    factory = loop.get_task_factory()
    outer = getattr(factory, "outer", factory)
    if outer is not None:
        return cast("asyncio.Task[Any]", outer(loop, coroutine, **options))
    task = AgentTask(coroutine, loop=loop, **options)
    task.agent = agent
    return task


def _inside(loop: asyncio.AbstractEventLoop, coroutine: Any, options: dict[str, Any], place: Any) -> Any:
    below: Below = place.below
    agent = below.agent
    context = options["context"] = options.get("context") or contextvars.copy_context()
    if isinstance(place, Frame):
        branch, work = branches.begin(place, coroutine)
        context.run(here.set, branch.below)
        task = branch.task = make(agent, loop, work, **options)
        branches.belongs(task, branch)
        agent.adopt(task, branch)
        return task
    context.run(here.set, Plain(below, path_of(coroutine, place)))
    task = make(agent, loop, coroutine, **options)
    if isinstance(coroutine, Call):  # other tasks belong to plain code, or to a library that outlives us
        agent.adopt(task)
    return task
