"""Who watches what an agent begins and ends: its calls of playbooks, and its effects. For traces; given by the host.

Told by `frames` and `branches` at the places where it happens, in the agent's own turn, and in the context in which the
call or the effect runs: what an observer puts into a context variable there, libraries find there. It must be quick, raise
nothing, and keep nothing of what it is given but names and numbers. An agent without one pays for a look at an attribute.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from playbooks_worker.engine.branches import Branch
    from playbooks_worker.engine.frames import Call, Frame
    from playbooks_worker.engine.place import Below, Outcome

NOBODY = -1


class Observer(Protocol):
    """*number* is that of a call in its agent, *parent* that of the call it was made in (`NOBODY`: it is the entry).
    *again*: it goes on from a checkpoint. An effect's number is that of the call that awaits it, which awaits nothing
    else meanwhile, or of the branch that it is; no effect has that of another one in flight."""

    def call_began(self, number: int, parent: int, name: str, *, again: bool) -> None: ...

    def call_ended(self, number: int, error: BaseException | None) -> None: ...

    def effect_began(self, number: int, parent: int, name: str, *, again: bool) -> None: ...

    def effect_ended(self, number: int, error: BaseException | None) -> None: ...


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


def branch_began(observer: Observer, branch: Branch, coroutine: Any, *, again: bool) -> None:
    frame = branch.below.frame
    observer.effect_began(branch.id, NOBODY if frame is None else frame.call_.id, _named(coroutine), again=again)


def _parent(owner: Below | None) -> int:
    return NOBODY if owner is None or owner.frame is None else owner.frame.call_.id


def _named(value: Any) -> str:
    return value.__qualname__ if isinstance(value, CoroutineType) else type(value).__qualname__
