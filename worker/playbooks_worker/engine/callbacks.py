"""What a program wants called when a task ends: `task.add_done_callback`, as part of the branch whose task that is.

The idiom of asyncio's own documentation is `tasks.add(task); task.add_done_callback(tasks.discard)`: without its callback
a task that came back would stay in that set for ever. asyncio and the engine add callbacks, too: those come again by
themselves. tasks.py notes what is added; branch_table.py saves it and gives it to the task that comes back.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from playbooks_worker.engine.place import Below, here

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.branches import Branch

Callback: TypeAlias = "Callable[[asyncio.Future[Any]], Any]"

_OTHERS = ("asyncio.", "_asyncio", "playbooks_worker.engine.")


def of_program(callback: Any) -> bool:
    while isinstance(callback, functools.partial):
        callback = callback.func
    if getattr(callback, "__name__", "") == "task_wakeup":  # an await
        return False
    return not (getattr(callback, "__module__", None) or "").startswith(_OTHERS)


class OfLiving:
    """*callback*, unless the agent is dead by then: a callback is the program's, and a lambda often a playbook's own."""

    __slots__ = ("_agent", "_callback")

    def __init__(self, agent: Agent, callback: Callback) -> None:
        self._agent = agent
        self._callback = callback

    def __call__(self, task: asyncio.Future[Any]) -> None:
        if not self._agent.dead:
            self._callback(task)

    def __eq__(self, other: object) -> bool:  # for `remove_done_callback`
        return bool(self._callback == other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._callback)


def added_again(branch: Branch) -> None:
    """The task of *branch*, which came back, calls what its program had added. One that is done calls it soon."""
    task, frame = branch.task, branch.below.frame
    if task is None or not branch.callbacks:
        return
    callbacks, branch.callbacks = branch.callbacks, []
    context = branch.agent.context.copy()
    context.run(here.set, frame or Below(branch.agent, None))
    for callback in callbacks:
        task.add_done_callback(callback, context=context)
