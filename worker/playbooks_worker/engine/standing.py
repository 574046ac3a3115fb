"""Where an agent stands, for people: its call stack as playbooks, lines and statements. Reads frames, changes nothing."""

from __future__ import annotations

import functools
import itertools
import json
from typing import TYPE_CHECKING

from playbooks_worker.engine.attempts import attempts_of
from playbooks_worker.engine.frames import Frame
from playbooks_worker.engine.operations import operation_of

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent

EMPTY_STACK = "[]"
_SHOWN_FRAMES = 50


def _standing(agent: Agent) -> list[Frame]:
    """Frames from the outermost, each branch's frames together. Put in order once, until a call begins or ends."""
    if agent.ordered is None:
        agent.ordered = _ordered([call.frame for call in agent.running.values() if call.frame is not None])
    return agent.ordered


def _ordered(frames: list[Frame]) -> list[Frame]:
    if len(frames) < 2 or all(one.depth < two.depth for one, two in itertools.pairwise(frames)):
        return frames  # each inside the one before
    children: dict[int, list[Frame]] = {}
    for frame in frames:
        owner = frame.call_.owner
        children.setdefault(owner.frame.call_.id if owner is not None and owner.frame is not None else 0, []).append(
            frame
        )
    ordered: list[Frame] = []
    waiting = list(reversed(frames[:1] + [f for f in children.pop(0, []) if f is not frames[0]]))
    while waiting:
        frame = waiting.pop()
        ordered.append(frame)
        waiting.extend(reversed(children.pop(frame.call_.id, [])))
    return ordered


def row(frame: Frame) -> tuple[str, int, str, int]:
    """(playbook or step, line, statement or attempt, depth)."""
    operation = operation_of(frame)
    if operation is not None:
        return *operation.row(frame), frame.depth
    site = frame.playbook.rewritten.sites[frame.site - 1]
    return frame.playbook.id, site.line, site.statement, frame.depth


def stack(agent: Agent) -> list[tuple[str, int, str, int]]:
    """(playbook, line, statement, depth) of each frame, outermost first."""
    return [row(frame) for frame in _standing(agent) if frame.site]


@functools.lru_cache(maxsize=1024)  # operations, steps among them, say the same of themselves again and again
def _told(row: tuple[str, int, str, int]) -> str:
    return json.dumps(row)


def stack_json(agent: Agent) -> str:
    """The same as JSON, from fragments that are made once for each site and depth."""
    parts: list[str] = []
    for frame in _standing(agent):
        if not frame.site:
            continue
        if len(parts) == _SHOWN_FRAMES:
            break
        key = (frame.site, frame.depth)
        fragment = frame.playbook.fragments.get(key)
        if fragment is None:
            fragment = _told(row(frame))
            if not frame.playbook.of_operation:
                frame.playbook.fragments[key] = fragment
        parts.append(fragment)
    return f"[{', '.join(parts)}]"


def steps_json(agent: Agent) -> str:
    """The steps that are being tried again, as JSON: ``[step, attempt, how many at most or null, the last error]`` each."""
    found = (attempts_of(call.frame) for call in agent.running.values() if call.frame is not None)
    again = [attempts for attempts in found if attempts is not None and attempts.number > 1]
    rows = [(":".join(one.step.id), one.number, one.step.attempts_max, one.error) for one in again[:_SHOWN_FRAMES]]
    return json.dumps(rows)
