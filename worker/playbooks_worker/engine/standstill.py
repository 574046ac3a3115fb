"""Whether everything in a resumed agent waits for locks, so that nothing would ever go on (arriving.py asks).

What an ordinary coroutine between two playbooks had taken before the crash, by hand or in a manager of the program's own, it
takes once more when it runs again: nobody knows what was its. Where it waits for that, and nobody is left who could give
the lock back, the one that was taken before is the one that it waits for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from playbooks_worker.engine.async_headers import entered_now
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.synchronisers import KINDS, RESTORED, chain
from playbooks_worker.engine.talk.idle import for_tasks, for_tasks_in

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent

_ACQUIRES = {asyncio.Lock.acquire.__code__, asyncio.Semaphore.acquire.__code__}


class Waiting(NamedTuple):
    """``again``: plain code waits for *lock*, which may have had it before the crash."""

    lock: Any
    where: str
    again: bool


def standstill(agent: Agent) -> list[Waiting]:
    """Who waits for which lock, if everything waits for locks of this agent, or for one another; otherwise nothing."""
    if agent.dead or agent.restoring or agent.is_writing:
        return []
    waits: list[Waiting] = []
    frames = [
        call.frame for call in agent.running.values() if call.frame is not None and call.id not in agent.unreached
    ]
    if not all(_stands(agent, frame, waits) for frame in frames):
        return []
    for task in agent.tasks():
        branch = getattr(task, "branch", None)
        if not task.done() and branch is not None and branch.call is None:
            runs_calls = any(frame.task is task for frame in frames)  # which are looked at by themselves
            if not runs_calls and not _acquires(task.get_coro(), waits):
                return []
    return waits if all(one.lock in RESTORED for one in waits) else []


def given_back(waits: list[Waiting]) -> bool:
    """Give back one lock that was taken before the crash by code that takes it again; False: there is none."""
    found = next((one.lock for one in waits if one.again), None)
    if found is not None:
        found.release()
    return found is not None


def _stands(agent: Agent, frame: Frame, waits: list[Waiting]) -> bool:
    value = frame.value
    if not frame.in_flight or frame.outcome is not None:
        return False
    if value is None:
        return for_tasks_in(frame) or _enters(frame, waits)
    if isinstance(value, Call):
        return value.frame is not None
    if _acquires(value, waits) or _for_tasks(agent, value):
        return True
    return any(call.owner is frame.below and call.frame is not None for call in agent.running.values())


def _for_tasks(agent: Agent, value: Any) -> bool:
    children = getattr(value, "_children", (value,)) if asyncio.isfuture(value) else ()
    return bool(children) and all(child.done() or for_tasks(agent, child) for child in children)


def _enters(frame: Frame, waits: list[Waiting]) -> bool:
    manager = entered_now(frame)
    lock = getattr(manager, "_lock", manager)  # of a condition
    if type(lock) not in KINDS:
        return False
    waits.append(
        Waiting(lock, f"{frame.playbook.filename}:{frame.playbook.rewritten.sites[frame.site - 1].line}", False)
    )
    return True


def _acquires(awaitable: Any, waits: list[Waiting]) -> bool:
    steps = list(chain(awaitable))
    if not steps or getattr(steps[-1], "cr_code", None) not in _ACQUIRES:
        return False
    around = steps[-2:][0].cr_frame
    where = f"{around.f_code.co_filename}:{around.f_lineno} in {around.f_code.co_qualname}"
    waits.append(Waiting(steps[-1].cr_frame.f_locals["self"], where, len(steps) > 1))
    return True
