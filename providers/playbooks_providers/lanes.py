"""A queue has three lanes, one for each priority. Where tickets wait is a lane; what people name is a queue.

A lane is a name like any queue's, so that everything that is done with a ticket (wake, recover, sweep) is done with it
in its lane and knows nothing of priorities. Only who reads looks at the order, and only who shows or counts puts the lanes
together again. An agent keeps its lane for life (docs/decisions/0036). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from playbooks_providers.errors import ConfigError

SIGN = "!"
_NAME = re.compile(r"[^\s!{}]+")


class Priority(StrEnum):
    """Who goes first when agents wait for executors. Strictly: while one is ready, none of a later one is taken."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


_ORDER = {priority: place for place, priority in enumerate(Priority)}


def queue_name(text: str) -> str:
    """*text*, if it can name a queue. Raises `ConfigError`."""
    if not _NAME.fullmatch(text):
        raise ConfigError(f"queue {text!r}: a name has no blanks and none of ! {{ }}")
    return text


def lane(queue: str, priority: Priority) -> str:
    """Where agents of *priority* wait. The normal lane has the queue's own name."""
    return queue if priority is Priority.NORMAL else f"{queue}{SIGN}{priority.value}"


def queue_of(lane: str) -> str:
    return lane.partition(SIGN)[0]


def priority_of(lane: str) -> Priority:
    return Priority(lane.partition(SIGN)[2] or Priority.NORMAL)


def lanes_of(queues: Sequence[str]) -> list[str]:
    """All lanes of *queues*, the first to look at first."""
    return [lane(queue, priority) for priority in Priority for queue in queues]


def in_turn(lanes: Sequence[str], turn: int) -> list[str]:
    """*lanes* by priority; among equals another one is first at each *turn*, so that a busy one starves no other."""
    turned = [lanes[(turn + place) % len(lanes)] for place in range(len(lanes))]
    return sorted(turned, key=lambda one: _ORDER[priority_of(one)])
