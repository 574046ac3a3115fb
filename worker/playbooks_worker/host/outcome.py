"""How one owner's time with an agent ended: what `life` answers, and `run` and the executor act on. Values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks_providers.envelope import Header
from playbooks_providers.ids import CheckpointId
from playbooks_providers.model import Entry, Status


@dataclass(frozen=True, slots=True)
class Ended:
    """The agent completed or failed. *final* is its last checkpoint, durable and verified; the header has the result."""

    status: Status
    header: Header
    final: Entry


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Stopped here; the lock is still ours, to be released. ``abandoned``: not at a checkpoint.

    ``unasked``: nobody wanted it, the program ended its process (`KeyboardInterrupt`), and may do so wherever it goes on.
    """

    why: str
    abandoned: bool
    unasked: bool = False


@dataclass(frozen=True, slots=True)
class Parked:
    """It only waits, and its home knows for what: nobody holds it until that comes. The lock is over."""


@dataclass(frozen=True, slots=True)
class Paused:
    """A person wants it to rest, and it stands at a checkpoint. The lock is still ours."""

    why: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """It is to end without running again (`OrderKind.TERMINATE`). The lock is still ours; who waits for it is to be told."""

    why: str


@dataclass(frozen=True, slots=True)
class LockLost:
    """Somebody else owns the agent now, or soon will. Nothing more may be done for it here."""

    why: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """It cannot go on here. ``elsewhere``: another build of the program may be able to; else a person has to decide.

    ``at`` is the checkpoint that cannot be used, ``before`` the kept one before it, if any.
    """

    why: str
    elsewhere: bool = False
    at: CheckpointId | None = None
    before: CheckpointId | None = None


Outcome = Ended | HandedOver | Parked | Paused | Terminated | LockLost | Blocked
