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
