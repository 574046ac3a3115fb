"""The life of an agent as one table: which step is allowed in which status, and where it leads (DESIGN 4.3).

Pure. Every home of state obeys it: the in-memory and the filesystem one by asking `after`, the Redis scripts by doing the
same (the conformance kit compares). It knows nothing of fences and sessions, which guard each step besides.

    ready → running → (waiting → ready)* → completed | failed | cancelled
    running → paused | blocked | quarantined | failed → ready (by a person)
    ready, waiting → paused; any that has not ended → cancelled (by a person, without an owner)
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from playbooks_providers.model import FINAL, Status


class Step(StrEnum):
    """What can happen to an agent."""

    CREATE = "create"
    TAKE = "take"  # an owner opened its newest ticket
    RELEASE = "release"  # its owner handed it over
    DELAY = "delay"  # its owner handed it over, but not before some time has passed
    PARK = "park"  # its owner lets it wait without an owner, for mail or a time
    WAKE = "wake"  # its owner (or who was about to be) died, its delay is over, or it has mail
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    PAUSE = "pause"
    BLOCK = "block"
    QUARANTINE = "quarantine"
    RETRY = "retry"  # a person lets an agent go on that was set aside or has failed
    ORDER_PAUSE = "order-pause"  # a person has it paused while nobody runs it
    ORDER_CANCEL = (
        "order-cancel"  # a person wants it cancelled while nobody runs it: somebody must, to raise it in there
    )
    ORDER_TERMINATE = "order-terminate"  # it is to end, and somebody must tell who waits for it
    TERMINATE = "terminate"  # a person ends it, and no statement of it runs any more


TABLE: Mapping[tuple[Status | None, Step], Status] = MappingProxyType(
    {
        (None, Step.CREATE): Status.READY,
        (Status.READY, Step.TAKE): Status.RUNNING,
        (Status.RUNNING, Step.RELEASE): Status.READY,
        (Status.RUNNING, Step.DELAY): Status.WAITING,
        (Status.RUNNING, Step.PARK): Status.WAITING,
        (Status.READY, Step.WAKE): Status.READY,  # its ticket was read by a session that is given up
        (Status.RUNNING, Step.WAKE): Status.READY,
        (Status.WAITING, Step.WAKE): Status.READY,
        (Status.RUNNING, Step.COMPLETE): Status.COMPLETED,
        (Status.RUNNING, Step.FAIL): Status.FAILED,
        (Status.RUNNING, Step.CANCEL): Status.CANCELLED,
        (Status.RUNNING, Step.PAUSE): Status.PAUSED,
        (Status.RUNNING, Step.BLOCK): Status.BLOCKED,
        (Status.RUNNING, Step.QUARANTINE): Status.QUARANTINED,
        (Status.PAUSED, Step.RETRY): Status.READY,
        (Status.BLOCKED, Step.RETRY): Status.READY,
        (Status.QUARANTINED, Step.RETRY): Status.READY,
        (Status.FAILED, Step.RETRY): Status.READY,
        (Status.READY, Step.ORDER_PAUSE): Status.PAUSED,
        (Status.WAITING, Step.ORDER_PAUSE): Status.PAUSED,
        (Status.WAITING, Step.ORDER_CANCEL): Status.READY,
        (Status.PAUSED, Step.ORDER_CANCEL): Status.READY,
        (Status.BLOCKED, Step.ORDER_CANCEL): Status.READY,
        (Status.QUARANTINED, Step.ORDER_CANCEL): Status.READY,
        **{(status, Step.ORDER_TERMINATE): Status.READY for status in Status if status not in FINAL},
        **{(status, Step.TERMINATE): Status.CANCELLED for status in Status if status not in FINAL},
    }
)

_LEADS_TO = {
    Status.COMPLETED: Step.COMPLETE,
    Status.FAILED: Step.FAIL,
    Status.CANCELLED: Step.CANCEL,
    Status.PAUSED: Step.PAUSE,
    Status.BLOCKED: Step.BLOCK,
    Status.QUARANTINED: Step.QUARANTINE,
}


def after(status: Status | None, step: Step) -> Status | None:
    """The status after *step* in *status* (None: no such agent yet), or None when the step is not allowed."""
    return TABLE.get((status, step))


def step_to(status: Status) -> Step:
    """The step by which an owner ends its agent with *status* or sets it aside. Raises `ValueError` for any other."""
    if status not in _LEADS_TO:
        raise ValueError(f"an owner cannot leave its agent {status}")
    return _LEADS_TO[status]
