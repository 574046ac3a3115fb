"""What of an open context manager is in a checkpoint beside the arguments that it is made from, and how a fresh one gets it.

Most have nothing: they are made and entered again. asyncio's own know what has happened inside them (capture.py and
restore.py ask). The attributes are private ones of asyncio, the same on every Python that we run on.
"""

from __future__ import annotations

import asyncio
from asyncio import timeouts
from typing import Any

from playbooks_worker.engine import groups
from playbooks_worker.engine.branches import Branch

_States: Any = timeouts._State  # type: ignore[attr-defined]


def saved_as(header: int) -> str:
    """The name of a manager's state among the temporaries of its header."""
    return f".state{header}"


def state_of(manager: Any, told: bool) -> Any:
    """What a checkpoint says of an open manager; None when there is nothing to say. *told*: it has been cancelled while it
    was being left."""
    if type(manager) is asyncio.TaskGroup:
        return groups.state_of(manager, told)
    if type(manager) is asyncio.Timeout:
        timeout: Any = manager
        return True if timeout._state is _States.EXPIRING else None
    return None


def fill(manager: Any, state: Any, waiting: list[Branch]) -> None:
    """Let a manager that was entered again know what the saved one knew. *waiting*: the branches that it waited for."""
    if type(manager) is asyncio.TaskGroup:
        groups.fill(manager, waiting, state)
    elif type(manager) is asyncio.Timeout and state:  # its cancellation is under way, and will be its `TimeoutError`
        timeout: Any = manager
        timeout.reschedule(None)
        timeout._state = _States.EXPIRING


def reduce_timeout(timeout: Any) -> Any:
    """One that was left: programs ask it afterwards whether it has expired."""
    state = timeout._state
    if state in (_States.ENTERED, _States.EXPIRING):
        raise TypeError("a timeout outside its `async with` cannot be saved")
    return _timeout, (timeout.when(), state.name)


def _timeout(when: float | None, state: str) -> asyncio.Timeout:
    made: Any = asyncio.Timeout(when)
    made._state = _States[state]
    return made  # type: ignore[no-any-return]
