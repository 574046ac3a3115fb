"""How much there is to do and who could do it: what an autoscaler, a person and the leader's metrics ask for.

`Loads` is a part of `contracts.Coordination`. All of it is read from what is there anyway (queues, their consumers,
sessions), in time that grows with queues and sessions and never with agents; nothing is counted on the side, so nothing can
be counted wrong (docs/decisions/0033).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from playbooks_providers.ids import SessionId
from playbooks_providers.lanes import queue_of
from playbooks_providers.model import Status, Ticket


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """One queue now, all its lanes together: ``ready`` agents that wait for an executor, ``running`` ones that a session
    holds (``orphans`` of them a session that is over), ``capacity``: how many the sessions that take from it could hold at
    once if there was no ``cap``, and that: how many may be held at once by all together (None: as many as can)."""

    queue: str
    ready: int
    running: int
    orphans: int
    capacity: int
    cap: int | None = None

    @property
    def runnable(self) -> int:
        """Ready and running ones, without those that wait for the cap: no worker more would let them run."""
        together = self.ready + self.running
        return together if self.cap is None else min(together, max(self.cap, self.running))

    @property
    def hint(self) -> float | None:
        """Runnable agents for each slot: above 1 agents wait, far below 1 slots do. None: agents, and no slot at all."""
        if self.capacity == 0:
            return None if self.runnable else 0.0
        return round(self.runnable / self.capacity, 4)


@dataclass(frozen=True, slots=True)
class Swept:
    """One step of the sweep: where the next one begins ("": the round is over), the tickets that were enqueued, and how
    many agents of each status and queue it came by."""

    cursor: str
    tickets: Sequence[Ticket] = ()
    seen: Mapping[tuple[Status, str], int] = field(default_factory=dict)


def in_queues(lanes: Iterable[QueueLoad]) -> list[QueueLoad]:
    """The loads of *lanes* by the queues they belong to, by name."""
    found: dict[str, QueueLoad] = {}
    for one in lanes:
        queue = queue_of(one.queue)
        so_far = found.get(queue, QueueLoad(queue, 0, 0, 0, 0))
        found[queue] = QueueLoad(
            queue,
            so_far.ready + one.ready,
            so_far.running + one.running,
            so_far.orphans + one.orphans,
            so_far.capacity + one.capacity,
            one.cap if so_far.cap is None else so_far.cap,
        )
    return sorted(found.values(), key=lambda load: load.queue)


@runtime_checkable
class Loads(Protocol):
    """What sessions offer, and what is asked of them."""

    async def offer(self, session: SessionId, slots: Mapping[str, int]) -> None:
        """Say how many agents of each queue *session* takes at once, at most. Forgotten with the session."""

    async def set_cap(self, queue: str, most: int | None) -> None:
        """Let no more than *most* agents of *queue* be held at once by all sessions together (None: as many as can).

        Who reads without waiting obeys within seconds. Agents that are held already stay where they are."""

    async def caps(self) -> Mapping[str, int]:
        """The queues that have a cap."""

    async def ask_to_drain(self, sessions: Sequence[SessionId]) -> None:
        """Want the workers of *sessions* to drain; from now on these are no capacity. Asked again: nothing changes."""

    async def draining(self) -> frozenset[SessionId]:
        """The sessions that live and were asked to drain. Each supervisor looks for its own with its heartbeats."""

    async def loads(self) -> Sequence[QueueLoad]:
        """Each queue that has tickets or is offered to, by name. Tickets that nobody can open count until they are taken."""
