"""What passes through the seam of the engine: the moment of each checkpoint, and the outcome of an agent at its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from playbooks_worker.engine.changes import Change
    from playbooks_worker.engine.talk.mailbox import Mailing, Owes


class Moment(NamedTuple):
    """What the engine knows about one checkpoint. ``seq`` numbers the checkpoints of the agent's whole life;
    ``stack_json`` is a JSON list of ``[playbook, line, statement, depth]``, ``steps_json`` one of the steps that are being
    tried again: ``[step, attempt, how many at most or null, the last error]``; ``took_s`` is how long the snapshot took;
    ``dill`` the one Python version that can resume it, when it holds code without source; ``mailing`` what follows from the
    letters in it; ``owes``, at the end, to whom it has not answered."""

    seq: int
    kind: str
    stack_json: str
    lowering: int
    result: Any = None
    error: BaseException | None = None
    traceback: str = ""
    steps_json: str = "[]"
    took_s: float = 0.0
    dill: str | None = None
    mailing: Mailing | None = None
    owes: Owes | None = None


class Snapshot(NamedTuple):
    """One checkpoint as it was captured; fields as those of `Moment`."""

    stack_json: str
    steps_json: str
    payload: bytes
    dill: str | None


Persist: TypeAlias = Callable[[Moment, bytes], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Completed:
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    error: BaseException
    traceback: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It ended of an `AgentCancelled`: a person, or its parent, has cancelled it."""

    why: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """It goes on elsewhere, or here later: nothing of it runs any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Its checkpoint cannot be resumed with this program; nothing is lost. ``changes``: the frames that do not fit."""

    why: str
    changes: tuple[Change, ...] = ()


Outcome: TypeAlias = Completed | Failed | Cancelled | Stopped | Blocked
