"""Whether an agent only waits: for letters, for deadlines that are in its state, and for parts of itself that do.

Then it may be parked: nothing has begun that a resume would begin again. Anything that is not known to be such a wait (a
request, `asyncio.sleep`, a plain coroutine between two playbooks, a timer of asyncio) keeps the agent where it is.
"""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.async_headers import entered_now
from playbooks_worker.engine.branches import FinishedTask, branch_of
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.operations import operation_of
from playbooks_worker.engine.talk.children import Handle
from playbooks_worker.engine.talk.waiting import Wait

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent

# Coroutines of asyncio that wait for another task of the agent, and have done nothing that waiting again would not do.
_FOR_OTHERS = {
    function.__code__
    for function in (
        asyncio.Event.wait,
        asyncio.Condition.wait,
        asyncio.Lock.acquire,
        asyncio.Semaphore.acquire,
        asyncio.Queue.get,
        asyncio.Queue.put,
        asyncio.Queue.join,
    )
}
_LOCKS = {asyncio.Lock, asyncio.Semaphore, asyncio.BoundedSemaphore, asyncio.Condition}


def is_idle(agent: Agent) -> bool:
    """Whether everything in *agent* waits, nothing has come that it would look at, and its last statement is saved."""
    if agent.dead or agent.restoring or agent.gated or agent.regions or agent.is_writing or not agent.running:
        return False
    if any(waiter.done() for waiter in agent.waiting_for_letters):
        return False
    if agent.mailbox is not None and (agent.mailbox.outbox or not agent.mailbox.raised):
        return False
    if any(_is_woken(task) for task in agent.tasks() if not task.done()):
        return False
    waiting = {frame.task for call in agent.running.values() if (frame := call.frame) is not None}
    if not all(task in waiting and _runs_a_call(agent, task) for task in agent.tasks() if not task.done()):
        return False
    return all(_waits(agent, call.frame) for call in agent.running.values() if call.frame is not None)


def _is_woken(task: asyncio.Task[Any]) -> bool:
    """Whether what it waits for has come, and it has not heard of that yet. (asyncio says so nowhere else.)"""
    awaited = getattr(task, "_fut_waiter", None)
    return awaited is None or awaited.done()


def _runs_a_call(agent: Agent, task: asyncio.Task[Any]) -> bool:
    """Whether nothing of the task is plain code of the program."""
    branch = branch_of(task)
    if branch is not None:
        return branch.call is not None
    coroutine: Any = task.get_coro()
    return isinstance(coroutine, Call) or getattr(coroutine, "cr_code", None) in agent.own_code


def _waits(agent: Agent, frame: Frame) -> bool:
    if not frame.in_flight or frame.outcome is not None or any(_ticks(manager) for _, _, manager in frame.headers):
        return False
    operation = operation_of(frame)
    if operation is not None:
        return isinstance(operation, Wait) and operation.waiting
    value = frame.value
    if value is None:
        return for_tasks_in(frame) or type(entered_now(frame)) in _LOCKS
    if isinstance(value, Call):
        return value.frame is not None
    if isinstance(value, Handle):
        return any(_is_below(call, frame) for call in agent.running.values())  # which is looked at like all others
    if isinstance(value, CoroutineType):
        return value.cr_code in _FOR_OTHERS
    return for_tasks(agent, value) and _goes_on(value)


def _goes_on(value: Any) -> bool:
    """Whether a task, or something that a gather gathers, has not ended: of one that has, somebody is about to hear."""
    if isinstance(value, FinishedTask) or value.done():
        return False
    return isinstance(value, asyncio.Task) or any(_goes_on(child) for child in value._children)


def _is_below(call: Call, frame: Frame) -> bool:
    """Whether *call* runs, and *frame* awaits it itself: one that has just ended is awaited for a moment more."""
    return (
        call.frame is not None
        and call.frame.task is frame.task
        and call.owner is not None
        and call.owner.frame is frame
    )


def for_tasks_in(frame: Frame) -> bool:
    """Whether it stands at the end of a group, whose tasks are looked at like all others."""
    if not frame.headers:
        return False
    site = frame.playbook.rewritten.sites[frame.site - 1]
    return site.entering is None and isinstance(frame.headers[-1][2], asyncio.TaskGroup)


def for_tasks(agent: Agent, value: Any) -> bool:
    """Whether *value* is a task of the agent, or a gather of nothing else."""
    if isinstance(value, FinishedTask) or (isinstance(value, asyncio.Task) and agent.owns(value)):
        return True
    children = getattr(value, "_children", ()) if isinstance(value, asyncio.Future) else ()
    return bool(children) and all(for_tasks(agent, child) for child in children)


def _ticks(manager: Any) -> bool:
    return isinstance(manager, asyncio.Timeout) and manager.when() is not None
