"""Cancellations on their way: whom a resume must cancel again, since the checkpoint was taken before they were told.

Asyncio tells a task that it is cancelled by raising `CancelledError` where it waits. What a playbook's statements have made
of that is in their frames. But a site that was told may still be in flight (its plain code tidies up), and a task that was
cancelled while its outcome is being written is told at its next await. Cancelled by a playbook's statement, by an open
header (`asyncio.timeout`, a `TaskGroup`), they are cancelled again after a resume. Cancelled by plain code that itself runs
again, they will be cancelled again by that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from playbooks_worker.engine.frames import Frame

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent


class Cancel(NamedTuple):
    """Site number *turn* of *frame* is to be told; no frame: a branch of plain code is."""

    frame: Frame | None
    turn: int


def note(agent: Agent, task: asyncio.Task[Any], place: Any) -> None:
    """Code at *place* cancels *task*."""
    frames = [call.frame for call in agent.running.values() if call.frame is not None and call.frame.task is task]
    if isinstance(place, Frame) or not place.below.runs_again or task in _grouped(agent):
        frame = max(frames, key=lambda frame: frame.depth, default=None)
        turn = 0 if frame is None else frame.turn + (not frame.in_flight)
        agent.cancels[task] = Cancel(frame, turn)
        return
    for frame in frames:
        if frame.call_.owner is place.below:
            frame.call_.told = True


def _grouped(agent: Agent) -> set[Any]:
    """The tasks of open groups: a group that comes back does not cancel them twice."""
    managers = [entry[2] for call in agent.running.values() if call.frame is not None for entry in call.frame.headers]
    return {task for manager in managers if type(manager) is asyncio.TaskGroup for task in manager._tasks}


def leaving_told(agent: Agent, frame: Frame, number: int) -> bool:
    """Whether *frame*, whose exit of header *number* is in flight, has been cancelled there."""
    cancel = agent.cancels.get(frame.task) if frame.task is not None else None
    if cancel != (frame, frame.turn) or not frame.in_flight:
        return False
    site = frame.playbook.rewritten.sites[frame.site - 1]
    exiting = not site.value and site.entering is None
    return exiting and bool(frame.headers) and frame.headers[-1][0] == number


def on_the_way(agent: Agent, task: Any) -> bool:
    """Whether *task* must be cancelled again after a resume from what is saved now."""
    cancel = agent.cancels.get(task)
    if cancel is None or task.done():
        return False
    frame, turn = cancel
    if getattr(getattr(frame, "value", None), "_cancel_requested", False):
        return False  # a gather: its branches are told, and it knows (branch_table.py)
    if task in agent.held or task._must_cancel or frame is None:
        return True
    if (
        frame.headers
        and type(frame.headers[-1][2]) is asyncio.TaskGroup
        and leaving_told(agent, frame, frame.headers[-1][0])
    ):
        return False  # the group is told when it is left again (groups.py)
    if frame.call_.outcome is None and (frame.turn < turn or (frame.turn == turn and frame.in_flight)):
        return True
    del agent.cancels[task]
    return False
