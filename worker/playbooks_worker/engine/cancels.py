"""Cancellations on their way: whom a resume must cancel again, since the checkpoint was taken before they were told.

Asyncio tells a task that it is cancelled by raising `CancelledError` where it waits. What a playbook's statements have made
of that is in their frames. But a site that was told may still be in flight (its plain code tidies up), and a task that was
cancelled while its outcome is being written is told at its next await. Cancelled by a playbook's statement, by an open
header (`asyncio.timeout`, a `TaskGroup`), they are cancelled again after a resume. Cancelled by plain code that itself runs
again, they will be cancelled again by that.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.place import Below

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent


Said: TypeAlias = tuple[Any, ...]
_ABORT = asyncio.TaskGroup._abort.__code__  # type: ignore[attr-defined]
_PLAIN = (str, int, float, bool, bytes)


class Cancel(NamedTuple):
    """Site number *turn* of *frame* is to be told; no frame: a branch of plain code is. *by*: the plain code that decided
    it, which decides it again as long as it runs again itself. *said*: the arguments of its `CancelledError`."""

    frame: Frame | None
    turn: int
    by: Below | None
    said: Said


def note(agent: Agent, task: asyncio.Task[Any], place: Any, message: Any) -> None:
    """Code at *place* cancels *task*. The index of a checkpoint holds its *message*: plain data."""
    frames = _run_by(agent, task)
    by: Below | None = None if isinstance(place, Frame) or _by_its_group(agent, task) else place.below
    if by is not None and by.runs_again:
        if on_the_way(agent, task):
            return
        for frame in frames:
            owner = frame.call_.owner
            if owner is by or (owner is not None and owner.branch is not None and owner.frame is by.frame):
                frame.call_.told = by
                agent.tells = True
    deepest = max(frames, key=lambda frame: frame.depth, default=None)
    turn = 0 if deepest is None else deepest.turn + (not deepest.in_flight)
    said = () if message is None else (message if type(message) in _PLAIN else str(message),)
    agent.cancels[task] = Cancel(deepest, turn, by, said)


def told(call: Call) -> bool:
    """Whether plain code that runs again after a resume has cancelled *call*."""
    by = call.told
    return by is True or (by is not None and bool(by.runs_again))


def _by_its_group(agent: Agent, task: Any) -> bool:
    """Whether it is the group of *task* that cancels it now, whoever made the group do so: one that comes back has done that
    and does not do it again. (Others, and the task's own plain code, may cancel a task of a group, too.)"""
    caller = sys._getframe(3)  # of `note`, and of `AgentTask.cancel`
    if caller.f_code is not _ABORT:
        return False
    managers = [entry[2] for call in agent.running.values() if call.frame is not None for entry in call.frame.headers]
    return any(type(manager) is asyncio.TaskGroup and task in manager._tasks for manager in managers)


def _decided_again(cancel: Cancel) -> bool:
    return cancel.by is not None and cancel.by.runs_again


def leaving_told(agent: Agent, frame: Frame, number: int) -> Said | None:
    """What *frame*, whose exit of header *number* is in flight, was told there if it has been cancelled."""
    task = frame.task
    cancel = agent.cancels.get(task) if task is not None else None
    if cancel is None or cancel[:2] != (frame, frame.turn) or _decided_again(cancel) or not frame.in_flight:
        return None
    if _not_told_yet(agent, task):
        return None
    site = frame.playbook.rewritten.sites[frame.site - 1]
    exiting = not site.value and site.entering is None
    return cancel.said if exiting and frame.headers and frame.headers[-1][0] == number else None


def said_of(agent: Agent, task: Any) -> Said:
    """The arguments of the `CancelledError` that is on the way to *task*."""
    return agent.cancels[task].said


def counted(agent: Agent, task: Any) -> int:
    """How often *task* has been cancelled (`Task.cancelling`), but for what a resume repeats."""
    count: int = 0 if task is None else task.cancelling()
    if not count or task.done():
        return count
    repeated = on_the_way(agent, task) or (task in agent.cancels and _decided_again(agent.cancels[task]))
    return count - repeated


def on_the_way(agent: Agent, task: Any) -> bool:
    """Whether *task* must be cancelled again after a resume from what is saved now."""
    cancel = agent.cancels.get(task)
    if cancel is None or task.done() or _decided_again(cancel):
        return False
    frame, turn, _, _ = cancel
    if getattr(getattr(frame, "value", None), "_cancel_requested", False):
        return False  # a gather: its branches are told, and it knows (branch_table.py)
    if _not_told_yet(agent, task):
        return True
    if frame is None:  # plain code: told, whatever it made of that, once its outcome is known
        branch = getattr(task, "branch", None)
        return branch is None or branch.outcome is None
    if (
        frame.headers
        and type(frame.headers[-1][2]) is asyncio.TaskGroup
        and leaving_told(agent, frame, frame.headers[-1][0]) is not None
    ):
        return False  # the group is told when it is left again (groups.py)
    if frame.call_.outcome is None and (frame.turn < turn or (frame.turn == turn and frame.in_flight)):
        return True
    del agent.cancels[task]
    return False


def _not_told_yet(agent: Agent, task: Any) -> bool:
    waiter = task._fut_waiter
    return task in agent.held or task._must_cancel or (waiter is not None and waiter.cancelled())


def untold(agent: Agent) -> list[tuple[int, Said]]:
    """The calls whose tasks are to be cancelled again when they stand at their sites, and what it says."""
    return [
        (call.id, said_of(agent, task))
        for task in list(agent.cancels)
        if on_the_way(agent, task) and (call := _innermost(agent, task))
    ]


def untold_without_call(agent: Agent, task: Any) -> bool:
    """Whether *task* is to be cancelled again, and no call that it runs says where."""
    return on_the_way(agent, task) and _innermost(agent, task) is None


def _innermost(agent: Agent, task: Any) -> Call | None:
    frames = _run_by(agent, task)
    return frames[-1].call_ if frames else None


def _run_by(agent: Agent, task: Any) -> list[Frame]:
    """The frames that *task* runs, in the order in which they began."""
    return [call.frame for call in agent.running.values() if call.frame is not None and call.frame.task is task]
