"""Who watches what an agent begins and ends: its calls of playbooks, and its effects. For traces; given by the host.

Told by `frames` at the places where it happens, in the agent's own turn: an observer must be quick, raise nothing, and keep
nothing of what it is given but names and numbers. An agent without one pays for a look at an attribute.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Call, Frame
    from playbooks_worker.engine.place import Below, Outcome

NOBODY = -1


class Observer(Protocol):
    """*number* is that of a call in its agent, *parent* that of the call it was made in (`NOBODY`: it is the entry).
    *again*: it goes on from a checkpoint. A frame has at most one effect in flight; *frame* is its call's number,
    *parent* that of the playbook's call."""

    def call_began(self, number: int, parent: int, name: str, *, again: bool) -> None: ...

    def call_ended(self, number: int, error: BaseException | None) -> None: ...

    def effect_began(self, frame: int, parent: int, name: str, *, again: bool) -> None: ...

    def effect_ended(self, frame: int, error: BaseException | None) -> None: ...


def call_began(observer: Observer, call: Call, owner: Below | None, *, again: bool) -> None:
    if not call.playbook.of_operation:  # that one is the effect which it makes
        observer.call_began(call.id, _parent(owner), call.playbook.id, again=again)


def call_ended(observer: Observer, call: Call, outcome: Outcome) -> None:
    if not call.playbook.of_operation:
        observer.call_ended(call.id, None if outcome[0] else outcome[1])


def effect_began(observer: Observer, frame: Frame, value: Any, *, again: bool) -> None:
    call = frame.call_
    if frame.playbook.of_operation:  # what it awaits is the operation
        observer.effect_began(call.id, _parent(call.owner), value.named(), again=again)
    else:
        observer.effect_began(call.id, call.id, _named(value), again=again)


def _parent(owner: Below | None) -> int:
    return NOBODY if owner is None or owner.frame is None else owner.frame.call_.id


def _named(value: Any) -> str:
    return value.__qualname__ if isinstance(value, CoroutineType) else type(value).__qualname__
