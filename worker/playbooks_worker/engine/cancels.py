"""Cancellations on their way: whom a resume must cancel again, since the checkpoint was taken before they were told.

Asyncio tells a task that it is cancelled by raising `CancelledError` where it waits. What a playbook's statements have made
of that is in their frames. But a site that was told may still be in flight (its plain code tidies up), and a task that was
cancelled while its outcome is being written is told at its next await. Cancelled by a playbook's statement, by an open
header (`asyncio.timeout`, a `TaskGroup`: it comes back knowing that it has), they are cancelled again after a resume.
Cancelled by plain code that itself runs again, they will be cancelled again by that.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from playbooks_worker.engine.branches import branch_of
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.mortal import is_taken_back
from playbooks_worker.engine.place import Below

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent


Said: TypeAlias = tuple[Any, ...]
_PLAIN = (str, int, float, bool, bytes)
_TOLD = -1  # no site's number
_HEADERS = (asyncio.TaskGroup, asyncio.Timeout)


class Cancel(NamedTuple):
    """Site number *turn* of *frame* is to be told; no frame: a branch of plain code is. *by*: the plain code that decided
    it, which decides it again as long as it runs again itself. *said*: the arguments of its `CancelledError`; of several,
    if what the site awaits tidies up and has been told more than once."""

    frame: Frame | None
    turn: int
    by: Below | None
    said: tuple[Said, ...]


def note(agent: Agent, task: asyncio.Task[Any], place: Any, message: Any) -> bool:
    """Code at *place* cancels *task*. The index of a checkpoint holds its *message*: plain data. Answers whether the task
    knows: it was told before the crash by the same plain code, and has cleaned up since."""
    frames = _run_by(agent, task)
    by: Below | None = None if isinstance(place, Frame) or _by_header(agent) else place.below
    knows = False
    if by is not None and by.runs_again:
        if on_the_way(agent, task):
            return False
        for frame in frames:
            owner, call = frame.call_.owner, frame.call_
            if owner is by or (owner is not None and owner.branch is not None and owner.frame is by.frame):
                knows = knows or _knows(call)
                call.told, call.again = by, call.again and not knows
                agent.tells = True
    deepest = max(frames, key=lambda frame: frame.depth, default=None)
    turn = 0 if deepest is None else deepest.turn + (not deepest.in_flight)
    said = _with_what_it_was_told(agent, task, deepest, turn, said_by(message))
    agent.cancels[task] = Cancel(deepest, _TOLD if knows else turn, by, said)
    return knows


def said_by(message: Any) -> Said:
    """The arguments of the `CancelledError`, as a checkpoint has them."""
    return () if message is None else (message if type(message) in _PLAIN else str(message),)


def _with_what_it_was_told(agent: Agent, task: Any, frame: Frame | None, turn: int, said: Said) -> tuple[Said, ...]:
    """*said*, behind what the same site has been told already. Of two at once asyncio tells one: the first, if it has
    cancelled what the task waits for."""
    known = agent.cancels.get(task)
    if known is None or known[:2] != (frame, turn) or _decided_again(known):
        return (said,)
    if not _not_told_yet(agent, task):
        return *known.said, said
    at_its_await = task not in agent.held and not task._must_cancel
    return known.said if at_its_await else (*known.said[:-1], said)


def _knows(call: Call) -> bool:
    return call.told is True and call.again


def knew(agent: Agent, task: Any, call: Call) -> bool:
    """Whether *call*, which *task* is about to go on with, knows already of its cancellation by plain code."""
    cancel = agent.cancels.get(task)
    if cancel is None or not _decided_again(cancel) or not _knows(call):
        return False
    call.told, call.again = cancel.by, False
    agent.cancels[task] = cancel._replace(turn=_TOLD)
    return True


def was_told(agent: Agent, call: Call) -> bool:
    """Whether plain code that runs again after a resume has cancelled *call*, and a statement of it knows."""
    if not told(call):
        return False
    task = None if call.frame is None or call.told is True else call.frame.task
    cancel = None if task is None else agent.cancels.get(task)
    return cancel is None or not (_not_told_yet(agent, task) or _in_flight(cancel))


def told(call: Call) -> bool:
    """Whether plain code that runs again after a resume has cancelled *call*."""
    by = call.told
    return by is True or (by is not None and bool(by.runs_again))


def _by_header(agent: Agent) -> bool:
    """Whether a group or a timeout that is an open header cancels now, whatever code it was that started its tasks, or its
    clock. Found on the stack, as nothing else tells it from what one of its tasks does itself."""
    step: FrameType | None = sys._getframe(3)  # behind us, `note` and `AgentTask.cancel`
    while step is not None and isinstance(step.f_locals.get("self"), asyncio.Future):
        step = step.f_back  # a task, or a gather, that hands it on to what it awaits
    caller = None if step is None else step.f_locals.get("self")
    if not isinstance(caller, _HEADERS):
        return False
    frames = [call.frame for call in agent.running.values() if call.frame is not None]
    return any(manager is caller for frame in frames for _, _, manager in frame.headers)


def _decided_again(cancel: Cancel) -> bool:
    return cancel.by is not None and cancel.by.runs_again


def leaving_told(agent: Agent, frame: Frame, number: int) -> Said | None:
    """What *frame*, whose exit of header *number* is in flight, was told there if it has been cancelled."""
    task = frame.task
    cancel = agent.cancels.get(task) if task is not None else None
    if cancel is None or cancel[:2] != (frame, frame.turn) or _decided_again(cancel) or not leaving(frame, number):
        return None
    told = cancel.said[0]  # it heeds the first alone
    return told if _leaves_aborting(frame) or not _not_told_yet(agent, task) else None


def _leaves_aborting(frame: Frame) -> bool:
    """Whether *frame* is in the exit of a group that aborts: that waits for its tasks whatever it is told, by itself (a task
    that failed last is nothing to wait for any more) or by others."""
    number, _, manager = frame.headers[-1] if frame.headers else (0, (), None)
    return type(manager) is asyncio.TaskGroup and bool(vars(manager)["_aborting"]) and leaving(frame, number)


def leaving(frame: Frame, number: int) -> bool:
    """Whether the exit of header *number* of *frame* is in flight."""
    if not frame.in_flight or not frame.headers or frame.headers[-1][0] != number:
        return False
    site = frame.playbook.rewritten.sites[frame.site - 1]
    return not site.value and site.entering is None


def said_of(agent: Agent, task: Any) -> tuple[Said, ...]:
    """The arguments of each `CancelledError` that *task* must be told after a resume from what is saved now."""
    if not on_the_way(agent, task):
        return ()
    cancel = agent.cancels[task]
    return cancel.said if _in_flight(cancel) else cancel.said[-1:]


def counted(agent: Agent, task: Any) -> int:
    """How often *task* has been cancelled (`Task.cancelling`), but for what is decided again."""
    count: int = 0 if task is None else task.cancelling()
    if not count or task.done():
        return count
    return count - (task in agent.cancels and _decided_again(agent.cancels[task]))


def on_the_way(agent: Agent, task: Any) -> bool:
    """Whether *task* must be cancelled again after a resume from what is saved now."""
    cancel = agent.cancels.get(task)
    if cancel is None or task.done() or _decided_again(cancel) or cancel.turn == _TOLD:
        return False
    if cancel.by is not None and is_taken_back(task):  # a timeout of an entry, say, that has expired in it
        return False
    frame = cancel.frame
    if getattr(getattr(frame, "value", None), "_cancel_requested", False):
        return False  # a gather: its branches are told, and it knows (branch_table.py)
    if (
        frame is not None
        and frame.headers
        and type(frame.headers[-1][2]) is asyncio.TaskGroup
        and leaving_told(agent, frame, frame.headers[-1][0]) is not None
    ):
        return False  # the group is told when it is left again (groups.py)
    if _handed_on(agent, task, cancel):
        return False
    if _not_told_yet(agent, task):
        return True
    if frame is None:  # plain code: told, whatever it made of that, once its outcome is known
        branch = branch_of(task)
        return branch is None or branch.outcome is None
    if _in_flight(cancel):
        return True
    del agent.cancels[task]
    return False


def _handed_on(agent: Agent, task: Any, cancel: Cancel) -> bool:
    """Whether the site that was to be told awaits a task of a playbook: that one is told instead, and the site hears what
    the task makes of it."""
    frame = cancel.frame
    if frame is None or not frame.in_flight or frame.turn != cancel.turn:
        return False
    awaits_a_task = branch_of(frame.value) is not None
    return awaits_a_task and not (task in agent.held or task._must_cancel)


def _not_told_yet(agent: Agent, task: Any) -> bool:
    """Whether *task*, which has been cancelled, is told as soon as it runs."""
    if agent.cancels[task].turn == _TOLD or is_taken_back(task):
        return False
    waiter = task._fut_waiter
    return task in agent.held or task._must_cancel or (waiter is not None and waiter.cancelled())


def _in_flight(cancel: Cancel) -> bool:
    """Whether the site that is to be told has not ended, or not begun."""
    frame, turn, _, _ = cancel
    if turn == _TOLD or frame is None:
        return frame is None and turn != _TOLD
    return frame.call_.outcome is None and (frame.turn < turn or (frame.turn == turn and frame.in_flight))


def untold(agent: Agent) -> list[tuple[int, Said]]:
    """The calls whose tasks are to be cancelled again when they stand at their sites, and what it says."""
    return [
        (call.id, said)
        for task in list(agent.cancels)
        if (call := _innermost(agent, task))
        for said in said_of(agent, task)
    ]


def untold_without_call(agent: Agent, task: Any) -> tuple[Said, ...]:
    """What *task* must be told again, if no call that it runs says where."""
    return () if _innermost(agent, task) else said_of(agent, task)


def stands(agent: Agent, task: Any) -> bool:
    """Whether all that *task* waits for has begun and stands where it stood: each is told there."""
    frames = _run_by(agent, task)
    branch = branch_of(task)
    below = frames[-1].below if frames else None if branch is None else branch.below
    made = () if below is None else (*below.made.values(), *below.expected.values())
    if not begun(task) or any(call.id in agent.unreached for call in (*[frame.call_ for frame in frames], *made)):
        return False
    waiter = task._fut_waiter
    children = getattr(waiter, "_children", (waiter,))  # of a gather
    return all(stands(agent, child) for child in children if isinstance(child, asyncio.Task) and not child.done())


def was_told_the_last(agent: Agent, task: Any) -> bool:
    """Whether *task* has been told of the last cancellation, if there was one."""
    return task not in agent.cancels or not _not_told_yet(agent, task)


def begun(task: Any) -> bool:
    """Whether anything of *task* has run."""
    work = task.get_coro()
    if isinstance(work, Call):
        return work.driver is not None
    return not (inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED)


def _innermost(agent: Agent, task: Any) -> Call | None:
    frames = _run_by(agent, task)
    return frames[-1].call_ if frames else None


def _run_by(agent: Agent, task: Any) -> list[Frame]:
    """The frames that *task* runs, in the order in which they began."""
    return [call.frame for call in agent.running.values() if call.frame is not None and call.frame.task is task]
