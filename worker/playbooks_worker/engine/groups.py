"""`asyncio.TaskGroup` as an open header: what of it is in a checkpoint, and how the group that is entered again gets it.

A group waits for its tasks, which are branches (branches.py), and remembers the errors of those that failed; managers.py
asks. The attributes are private ones of asyncio, the same on every Python that we run on; tests/test_engine_tasks.py
holds them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.branches import Branch, branch_of

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Frame

# What failed so far, and whether the others have been cancelled for it.
State = tuple[list[BaseException], "BaseException | None", bool]


def state_of(group: Any) -> State | None:
    """What a checkpoint says of a group beside its tasks; None when there is nothing to say."""
    if not (group._errors or group._base_error is not None or group._aborting):
        return None
    return list(group._errors), group._base_error, group._aborting


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


def fill(group: Any, branches: list[Branch], state: State | None) -> None:
    """Give a group that was entered again the tasks that the saved one waited for, and what it remembered."""
    if state is not None:
        group._errors, group._base_error, group._aborting = state
    for branch in branches:
        assert branch.task is not None
        group._tasks.add(branch.task)
        branch.task.add_done_callback(group._on_task_done)


def reduced(group: Any) -> tuple[Any, ...]:
    """How a group is pickled that is no open header (any more): a name that outlives its `async with`."""
    return asyncio.TaskGroup, (), {name: vars(group)[name] for name in ("_entered", "_exiting", "_errors")}
