"""What of an open context manager is in a checkpoint beside the arguments that it is made from, and how a fresh one gets it.

Most have nothing: they are made and entered again. asyncio's own know what has happened inside them (capture.py and
restore.py ask). The attributes are private ones of asyncio, the same on every Python that we run on.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import timeouts
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from playbooks_worker.engine import cancels, decimals, groups, stacks, synchronisers
from playbooks_worker.engine.branches import Branch

if TYPE_CHECKING:
    from playbooks_worker.engine.cancels import Said
    from playbooks_worker.engine.frames import Frame

_ENTERED = "playbooks_entered"

_States: Any = timeouts._State  # type: ignore[attr-defined]


def saved_as(header: int) -> str:
    """The name of a manager's state among the temporaries of its header."""
    return f".state{header}"


class _Limit(NamedTuple):
    """What a checkpoint says of an open timeout. ``made_for``: the time at which its header had made it expire, after
    ``delay_s``; ``left_s``: the time that is left of what `reschedule` has said since, which a header does not say again;
    ``cancelling``: how often its task had been cancelled as it was entered."""

    expiring: bool
    cancelling: int
    made_for: float | None
    delay_s: float
    rescheduled: bool
    left_s: float | None


def made_anew(manager: Any) -> bool:
    """Whether the header that makes *manager* makes it again: what of it is saved is said beside it."""
    kinds = (asyncio.Timeout, asyncio.TaskGroup, stacks.KnownStack, contextlib._GeneratorContextManagerBase)
    return isinstance(manager, kinds)


def entered(manager: Any) -> None:
    """Note what the header of a timeout said: what is in flight starts anew, and clocks of processes differ."""
    if type(manager) is asyncio.Timeout:
        when = manager.when()
        delay_s = 0.0 if when is None else when - asyncio.get_running_loop().time()
        vars(manager)[_ENTERED] = (when, delay_s, when)


def state_of(manager: Any, told: Said | None, frame: Frame, number: int) -> Any:
    """What a checkpoint says of an open manager; None when there is nothing to say. *told*: what it was told if it has been
    cancelled while it was being left; *number*: its header's, of *frame*."""
    if type(manager) is asyncio.Condition:
        waiting = synchronisers.waiting(frame.value, manager)
        return None if waiting is None else waiting.value
    if type(manager) is asyncio.TaskGroup:
        return groups.state_of(manager, told, cancels.leaving(frame, number))
    if type(manager) is asyncio.Timeout:
        timeout: Any = manager
        made_for, delay_s, expected = vars(timeout)[_ENTERED]
        when = timeout.when()
        left_s = None if when is None or when == expected else when - asyncio.get_running_loop().time()
        expiring = timeout._state is _States.EXPIRING
        return tuple(_Limit(expiring, timeout._cancelling, made_for, delay_s, when != expected, left_s))
    context = decimals.among(*[targets for opened, targets, _ in frame.headers if opened == number])
    return None if context is None else context.copy()


def fill(manager: Any, targets: Sequence[Any], state: Any, waiting: list[Branch]) -> None:
    """Let a manager that was entered again, and has brought *targets*, know what the saved one knew. *waiting*: the branches
    that it waited for."""
    if type(manager) is asyncio.TaskGroup:
        groups.fill(manager, waiting, state)
    elif type(manager) is asyncio.Timeout and state:
        _fill_timeout(manager, _Limit(*state))
    elif state is not None and (context := decimals.among(targets)) is not None:
        decimals.fill(context, state)


def _fill_timeout(timeout: Any, limit: _Limit) -> None:
    now = asyncio.get_running_loop().time()
    timeout._cancelling = limit.cancelling
    if limit.expiring:  # its cancellation is under way, and will be its `TimeoutError`
        timeout.reschedule(None)
        timeout._state = _States.EXPIRING
        return
    absolute = limit.made_for is not None and timeout.when() == limit.made_for
    if absolute:  # `timeout_at`, by the clock of another process
        timeout.reschedule(now + limit.delay_s)
    vars(timeout)[_ENTERED] = (limit.made_for, limit.delay_s, timeout.when())
    if limit.rescheduled:
        timeout.reschedule(None if limit.left_s is None else now + limit.left_s)


def reduce_timeout(timeout: Any, *, is_open: bool) -> Any:
    """One that is to be entered (again), or was not entered yet, with the time it has left: clocks of processes differ. Or
    one that was left: programs ask it afterwards whether it has expired."""
    state, when = timeout._state, timeout.when()
    if is_open:
        made_for, delay_s, _ = vars(timeout)[_ENTERED]
        return _to_enter, (None if made_for is None else delay_s,)
    if state in (_States.ENTERED, _States.EXPIRING):
        raise TypeError("a timeout outside its `async with` cannot be saved")
    if state is _States.CREATED:
        return _to_enter, (None if when is None else when - asyncio.get_running_loop().time(),)
    return _left, (when, state.name)


def _to_enter(left_s: float | None) -> asyncio.Timeout:
    return asyncio.timeout(left_s)


def _left(when: float | None, state: str) -> asyncio.Timeout:
    made: Any = asyncio.Timeout(when)
    made._state = _States[state]
    return made  # type: ignore[no-any-return]
