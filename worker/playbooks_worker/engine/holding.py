"""What holds a checkpoint back: atomic regions (DESIGN 3.3)."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

from playbooks_worker.engine.place import Region, in_region
from playbooks_worker.engine.standing import row

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.frames import Frame


def held_back(agent: Agent) -> bool:
    """Whether the checkpoint must wait: one of the regions is open on the stack."""
    return any(in_region(call.frame) for call in agent.running.values())


def what_holds(agent: Agent) -> str:
    """Which await waits for which region, where that stands, and what to write instead; for people."""
    frames = [call.frame for call in agent.running.values() if call.frame is not None and call.frame.site]
    waiting = [frame for frame in frames if frame.outcome is not None and not in_region(frame)]
    first = _await(waiting[0]) if waiting else "the end of a playbook"
    if not agent.regions:
        return f"{first} waits for the end of an atomic region"
    region = agent.regions[0]
    inside = [frame for frame in frames if frame.outcome is None and in_region(frame)]
    stands = f", which stands at {_await(max(inside, key=lambda frame: frame.depth))}" if inside else ""
    return (
        f"{first} waits for the end of the atomic region that began at {_line(region)}{stands}. If that waits for what "
        "waits here, neither goes on: a region must await nothing that its sibling branches do later; loop over a list, "
        "or over an iterator that can be saved (docs/language.md, Atomic regions)"
    )


def _await(frame: Frame) -> str:
    _, line, statement, _ = row(frame)
    return f"{frame.playbook.filename}:{line} `{statement}` of {frame.playbook.id}"


def _line(region: Region) -> str:
    made = region.frame.playbook
    text = linecache.getline(made.filename, region.line).strip()
    return f"{made.filename}:{region.line} `{text}` of {made.id}"
