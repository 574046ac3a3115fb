"""What holds a checkpoint back: atomic regions (DESIGN 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playbooks_worker.engine.place import in_region

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent


def held_back(agent: Agent) -> bool:
    """Whether the checkpoint must wait: a header is being entered again."""
    for call in agent.running.values():
        frame = call.frame
        assert frame is not None
        if agent.regions and in_region(frame):
            return True
    return False


def what_holds(agent: Agent) -> str:
    """The atomic region that the checkpoint waits for, for people."""
    for call in agent.running.values():
        frame = call.frame
        if frame is not None and frame.atomic is not None:
            active = None if frame.coroutine is None else frame.coroutine.cr_frame
            where = f"{frame.playbook.filename}:{active.f_lineno if active is not None else 0}"
            return f"{where} in {frame.playbook.id} stands in an atomic region, whose end is the next checkpoint"
    return "an atomic region"
