"""How much there is to do and who could do it: what an autoscaler, a person and the leader's metrics ask for.

`Loads` is a part of `contracts.Coordination`. All of it is read from what is there anyway (queues, their consumers,
sessions), in time that grows with queues and sessions and never with agents; nothing is counted on the side, so nothing can
be counted wrong (docs/decisions/0033).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from playbooks_providers.ids import SessionId
from playbooks_providers.lanes import queue_of
from playbooks_providers.model import Status, Ticket


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """One queue now, all its lanes together: ``ready`` agents that wait for an executor, ``running`` ones that a session
    holds (``orphans`` of them a session that is over), ``capacity``: how many of it the sessions that take from it could
    hold at once if there was no ``cap``, and that: how many may be held at once by all together (None: as many as can).

    Capacities of queues do not add up: a session that takes from three of them has its slots once (`SystemLoad`)."""

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


@dataclass(frozen=True, slots=True)
class Offer:
    """What one session takes: from each queue so many agents at once at most, and ``slots`` of all queues together.
    ``group``: of the workers that are started, stopped and scaled as one. Persisted as JSON (`dataclasses.asdict`)."""

    group: str
    slots: int
    queues: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Load:
    """Agents that could run, and the slots that there are for them."""

    runnable: int
    slots: int

    @property
    def hint(self) -> float | None:
        """Runnable agents for each slot: above 1 agents wait, far below 1 slots do. None: agents, and no slot at all."""
        if self.slots == 0:
            return None if self.runnable else 0.0
        return round(self.runnable / self.slots, 4)


@dataclass(frozen=True, slots=True)
class SystemLoad:
    """All of it: each queue, by name, and each group of live workers. What a group has to do is what is in the queues it
    takes from; of a queue that others take from, too, its part of the slots. So a queue that nobody takes from is in no
    group, and in `total`."""

    queues: Sequence[QueueLoad]
    groups: Mapping[str, Load]

    @property
    def total(self) -> Load:
        return Load(sum(load.runnable for load in self.queues), sum(load.slots for load in self.groups.values()))


def system_load(lanes: Iterable[QueueLoad], offers: Collection[Offer]) -> SystemLoad:
    """*lanes*: what waits and runs, capacity left out; *offers*: of sessions that live and do not drain."""
    capacity: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    taken_by: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for offer in offers:
        capacity.update(offer.queues)
        slots[offer.group] += offer.slots
        taken_by[offer.group].update(offer.queues)
    found = _in_queues([*lanes, *(QueueLoad(queue, 0, 0, 0, 0) for queue in capacity)])
    queues = [replace(load, capacity=capacity[load.queue]) for load in found]
    share = {load.queue: load.runnable / load.capacity for load in queues if load.capacity}
    groups = {
        # rounded first: a third and two thirds of three agents are three
        group: Load(math.ceil(round(sum(share[queue] * part for queue, part in parts.items()), 6)), slots[group])
        for group, parts in sorted(taken_by.items())
    }
    return SystemLoad(queues, groups)


@dataclass(frozen=True, slots=True)
class Swept:
    """One step of the sweep: where the next one begins ("": the round is over), the tickets that were enqueued, and how
    many agents of each status and queue it came by."""

    cursor: str
    tickets: Sequence[Ticket] = ()
    seen: Mapping[tuple[Status, str], int] = field(default_factory=dict)


def _in_queues(lanes: Iterable[QueueLoad]) -> list[QueueLoad]:
    """The loads of *lanes* by the queues they belong to, by name, without a capacity."""
    found: dict[str, QueueLoad] = {}
    for one in lanes:
        queue = queue_of(one.queue)
        so_far = found.get(queue, QueueLoad(queue, 0, 0, 0, 0))
        found[queue] = QueueLoad(
            queue,
            so_far.ready + one.ready,
            so_far.running + one.running,
            so_far.orphans + one.orphans,
            0,
            one.cap if so_far.cap is None else so_far.cap,
        )
    return sorted(found.values(), key=lambda load: load.queue)


@runtime_checkable
class Loads(Protocol):
    """What sessions offer, and what is asked of them."""

    async def offer(self, session: SessionId, offer: Offer) -> None:
        """Say how many agents *session* takes at once, at most. Forgotten with the session."""

    async def offers(self) -> Mapping[SessionId, Offer]:
        """What the live sessions offer, those that drain included."""

    async def set_cap(self, queue: str, most: int | None) -> None:
        """Let no more than *most* agents of *queue* be held at once by all sessions together (None: as many as can).

        Who reads without waiting obeys within seconds. Agents that are held already stay where they are."""

    async def caps(self) -> Mapping[str, int]:
        """The queues that have a cap."""

    async def ask_to_drain(self, sessions: Sequence[SessionId]) -> None:
        """Want the workers of *sessions* to drain; from now on these are no capacity. Asked again: nothing changes."""

    async def draining(self) -> frozenset[SessionId]:
        """The sessions that live and were asked to drain. Each supervisor looks for its own with its heartbeats."""

    async def load(self) -> SystemLoad:
        """Each queue that has tickets or a cap, or is taken from. Tickets that nobody can open count until taken."""
