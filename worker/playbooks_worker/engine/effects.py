"""Idempotency keys: a name for the effect in flight that is the same when a crash makes it happen again.

`effect_key` is what programs call. The parts of a key (DESIGN 3.3): agent, frame, counter of sites entered, path of tasks.
A frame is named by where its call was made, never by a number that depends on the order in which branches ran: the crash
may come before any checkpoint knows of the call.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.place import DIRECT, OWN, Below, Path, here

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Call, Frame
    from playbooks_worker.engine.playbooks import Playbook

_BYTES = 8
ENTRY = "0"  # the key of the entry playbook's call
# the key of a step that runs as an ordinary function: outside an agent, or as a part of another step
_scope: ContextVar[str | None] = ContextVar("playbooks_effect", default=None)


def effect_key(part: str = "") -> str:
    """The idempotency key of the effect in flight, for services that take one.

    The same whenever this effect is issued again (after a crash, or by the retries of a `step`), in whatever process;
    another for every other await, turn of a loop, branch and agent. In a playbook's own statement it names the next
    await. Two effects below one await in one task share it: tell them apart by *part*. Outside an agent nothing is issued
    again: the key is random there (one for all attempts of a step), so that a function that asks can be tested alone.
    """
    scope = _scope.get()
    if scope is None:
        place = here.get()
        scope = key_at(place) if place is not None else random_key()
    return f"{scope}/{part}" if part else scope


def random_key() -> str:
    return f"outside-an-agent/{uuid.uuid4().hex}"


def key_at(place: Any) -> str:
    """The key of the effect that is issued at *place*, a `Frame` or plain code below one."""
    below: Below = place.below
    return f"{below.agent.id}/{_at(below)}{_branch(getattr(place, 'path', OWN))}"


def call_key(below: Below, path: Path, playbook: Playbook, number: int) -> str:
    """What names the frame of a call: the *number*-th of *playbook* that is made there."""
    return _digest(f"{_at(below)}/{'.'.join(path)}/{playbook.id}/{number}")


def branch_key(frame: Frame, number: int) -> str:
    """What names the *number*-th branch of a frame's statement, over all the awaits that it is held across."""
    return _digest(f"{_at(frame.below)}/branch/{number}")


def key_of_operation(call: Call) -> str:
    """The key of an operation's call: what `effect_key` answers in each attempt of a step."""
    return f"{call.agent.id}/{call.key}"


def key_inside(place: Any, step_id: str) -> str:
    """The key of a step that is called inside another: part of its effect."""
    below: Below = place.below
    counted = ((*getattr(place, "path", DIRECT), "inside"), step_id)
    number = below.counts.get(counted, 0) + 1
    below.count(counted, number)
    return f"{effect_key()}/{step_id}.{number}"


@contextlib.contextmanager
def keyed(key: str) -> Iterator[None]:
    """Within, `effect_key` answers *key*."""
    token = _scope.set(key)
    try:
        yield
    finally:
        _scope.reset(token)


def _at(below: Below) -> str:
    if below.branch is not None:
        return below.branch.key
    frame = below.frame
    assert frame is not None  # only a branch outlives it
    key: str = frame.call_.key
    if frame.playbook.of_operation:  # all attempts are one effect
        return key
    turn = frame.turn if frame.in_flight or frame.pc else frame.turn + 1
    return f"{key}/{turn}.header{len(frame.headers)}" if below.atomic else f"{key}/{turn}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=_BYTES).hexdigest()


def _branch(path: Path) -> str:
    return "" if path in (OWN, DIRECT) else "/" + ".".join(path)
