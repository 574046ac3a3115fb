"""`asyncio.TaskGroup` as an open header: what of it is in a checkpoint, and how the group that is entered again gets it.

A group waits for its tasks, which are branches (branches.py), and remembers the errors of those that failed; managers.py
asks. The attributes are private ones of asyncio, the same on every Python that we run on; tests/test_engine_tasks.py
holds them.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.branches import Branch, branch_of

if TYPE_CHECKING:
    from playbooks_worker.engine.cancels import Said
    from playbooks_worker.engine.frames import Frame

_TOLD = "playbooks_told"
_LEAVING = "playbooks_leaving"  # it had asked for that cancellation, and its exit was in flight
# Up to 3.12 its exit begins by taking back the cancellation that the group has asked of its own task; from 3.13 on it
# ends by that.
_TAKES_BACK_FIRST = sys.version_info < (3, 13)
_KNOWN = ("_errors", "_base_error", "_aborting", "_parent_cancel_requested")


def state_of(group: Any, told: Said | None, leaving: bool) -> dict[str, Any] | None:
    """What a checkpoint says of a group beside its tasks; None when there is nothing to say. *told*: what it
    was told if it has been cancelled while it was being left. *leaving*: its exit is in flight, and begins again, but takes
    no cancellation back again."""
    state = {name: value for name in _KNOWN if (value := vars(group)[name])}
    if leaving and (vars(group)["_parent_cancel_requested"] or _LEAVING in vars(group)):
        state["_parent_cancel_requested"] = state[_LEAVING] = True
    told = vars(group).get(_TOLD) if told is None else told  # here, or in a process before
    if told is not None:
        state[_TOLD] = told
    return {**state, "_errors": list(group._errors)} if state else None


def groups_of(frames: list[Frame]) -> dict[int, tuple[int, int]]:
    """The header (call, number) whose group waits for each branch, by the branch's id."""
    found: dict[int, tuple[int, int]] = {}
    for frame in frames:
        for number, _, manager in frame.headers:
            if type(manager) is asyncio.TaskGroup:
                for task in manager._tasks:
                    branch = branch_of(task)
                    if branch is not None:
                        found[branch.id] = (frame.call_.id, number)
    return found


def fill(group: Any, branches: list[Branch], state: dict[str, Any] | None) -> None:
    """Give a group that was entered again what the saved one had: the tasks that it waits for, what it remembers."""
    vars(group).update(state or {})
    if _LEAVING in vars(group):  # its exit begins again, and has taken the cancellation back, or will
        group._parent_cancel_requested = not _TAKES_BACK_FIRST
    for branch in branches:
        assert branch.task is not None
        group._tasks.add(branch.task)
        branch.task.add_done_callback(group._on_task_done)


def left_with(manager: Any, raised: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a manager is told that is left again: a group that was cancelled while it waited, so much."""
    if raised[0] is None and type(manager) is asyncio.TaskGroup and _TOLD in vars(manager):
        return asyncio.CancelledError, asyncio.CancelledError(*vars(manager)[_TOLD]), None
    return raised


def reduced(group: Any, *, is_open: bool) -> tuple[Any, ...]:
    """How a group is pickled that is to be entered again, or is no open header (any more): a name that outlives its
    `async with`."""
    if is_open:
        return asyncio.TaskGroup, ()
    return asyncio.TaskGroup, (), {name: vars(group)[name] for name in ("_entered", "_exiting", "_errors")}
