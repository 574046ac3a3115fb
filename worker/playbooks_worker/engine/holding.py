"""What holds a checkpoint back, and what no checkpoint can bring back: atomic regions, plain branches that outlive their
gather, tasks that a playbook started and did not await."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.errors import DetachedTask
from playbooks_worker.engine.frames import Frame
from playbooks_worker.engine.place import in_region

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent


def held_back(agent: Agent) -> bool:
    """Whether the checkpoint must wait: a header is being left, or a plain branch outlives its gather.

    Raises `DetachedTask` for a task that no checkpoint can bring back."""
    if agent.detached is not None:
        raise agent.detached
    for call in agent.running.values():
        frame = call.frame
        assert frame is not None
        if frame.leaving or (agent.regions and in_region(frame)):
            return True
        if frame.below.plain:
            error = detached_task(frame)
            if error is not None:
                raise error
    return bool(agent.siblings) and any(path not in below.outcomes for below, path in agent.siblings.values())


def detached_task(frame: Frame) -> DetachedTask | None:
    """The error for a task that a playbook's own statement made and does not await at its site, if there is one."""
    children = _children(frame.value)
    for task, (_, line) in frame.below.plain.items():
        if not task.done() and task not in children:
            where = f"{frame.playbook.filename}:{line}"
            return DetachedTask(
                f"{where}: detached task in {frame.playbook.id}: it is not awaited in the statement that started it, so "
                "no checkpoint can bring it back; await it through asyncio.gather, or start it in an ordinary coroutine"
            )
    return None


def _children(value: Any) -> set[Any]:
    found: set[Any] = set()
    for child in getattr(value, "_children", ()) if isinstance(value, asyncio.Future) else ():
        found.add(child)
        found |= _children(child)
    return found
