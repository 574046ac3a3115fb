"""Tasks made inside an agent: numbered where they are made, so that a resume recognises what runs again.

The factory is installed on the loop once and leaves every task alone that is made outside an agent.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, cast

from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.place import DIRECT, OWN, Below, Branch, Path, here


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Make *loop* tell agents about their tasks. Idempotent."""
    current = loop.get_task_factory()
    if getattr(current, "tells_agents", False):
        return

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        place = options["context"].run(here.get) if options.get("context") is not None else here.get()
        if place is None:
            return _make(current, loop, coroutine, options)
        return _inside(loop, coroutine, options, place)

    factory.tells_agents = True  # type: ignore[attr-defined]  # how a second install knows
    factory.outer = current  # type: ignore[attr-defined]  # how `make` finds it
    loop.set_task_factory(factory)


def _make(outer: Callable[..., Any] | None, loop: asyncio.AbstractEventLoop, coroutine: Any, options: Any) -> Any:
    if outer is not None:
        return outer(loop, coroutine, **options)
    return asyncio.Task(coroutine, loop=loop, **options)


class AgentTask(asyncio.Task[Any]):
    """A task inside an agent. Whoever cancels it from outside any agent (the end of the loop cancels all tasks, in any
    order) ends the agent: its handlers must not see that."""

    agent: Any = None

    def cancel(self, msg: Any | None = None) -> bool:
        if here.get() is None and self.agent is not None and self.agent.owns(self):
            self.agent.die("cancelled from outside")
        return super().cancel(msg)


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
    agent = below.frame.agent
    parent: Path = place.path if isinstance(place, Branch) else (DIRECT if place.in_flight else OWN)
    path = below.next_path(parent)
    context = options.get("context") or contextvars.copy_context()
    context.run(here.set, Branch(below, path))
    options["context"] = context
    direct = isinstance(place, Frame) and not place.in_flight
    if direct and not isinstance(coroutine, Call):
        coroutine = _branch(below, path, coroutine)
    task = make(agent, loop, coroutine, **options)
    if direct and not isinstance(coroutine, Call):
        frame = below.frame.coroutine.cr_frame if below.frame.coroutine is not None else None
        below.plain[task] = (path, frame.f_lineno if frame is not None else 0)
    if direct or isinstance(coroutine, Call):  # other tasks belong to plain code, or to a library that outlives us
        agent.adopt(task, below)
    return task


async def _branch(below: Below, path: Path, coroutine: Any) -> Any:
    """A plain coroutine that a playbook's own statement runs as a branch: its outcome is part of the checkpoint."""
    agent = below.frame.agent
    finished = below.finished.pop(path, None)
    if finished is not None:
        coroutine.close()
        await agent.passed_barrier()
        below.outcomes[path] = finished
    else:
        try:
            below_outcome = (True, await coroutine)
        except BaseException as error:
            if agent.must_stop(error) or isinstance(error, asyncio.CancelledError):
                raise
            below_outcome = (False, error)
        below.outcomes[path] = below_outcome
        agent.left_region()
        await agent.committed()
    done, value = below.outcomes[path]
    if done:
        return value
    raise value
