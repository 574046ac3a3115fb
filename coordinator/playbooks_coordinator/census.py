"""What the leader says of all agents: those that can run by looking at the queues, the others by a slow round over all.

Called by `duty` with what it has read; says it as metrics. A leader alone speaks for the system: a sum over all coordinators
would count everything several times. It must not know a store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from playbooks_providers import metrics
from playbooks_providers.loads import QueueLoad
from playbooks_providers.model import Status


class Census:
    """One leader's; `forget` when it leads no more."""

    def __init__(self) -> None:
        self._round: Counter[tuple[Status, str]] = Counter()
        self._last: Mapping[tuple[Status, str], int] | None = None  # None: no round has ended yet

    def saw(self, seen: Mapping[tuple[Status, str], int], *, begins: bool, ends: bool, now_ms: int) -> None:
        """One step of the sweep."""
        if begins:
            self._round.clear()
        self._round.update(seen)
        if ends:
            self._last = dict(self._round)
            metrics.CENSUS_TIMESTAMP.set(now_ms / 1000)

    def tell(self, loads: Sequence[QueueLoad], sessions: int) -> None:
        """Say how much there is to do, and where all agents are."""
        metrics.LIVE_SESSIONS.set(sessions)
        metrics.RUNNABLE_AGENTS.replace(((load.queue,), load.runnable) for load in loads)
        metrics.CAPACITY.replace(((load.queue,), load.capacity) for load in loads)
        metrics.MAX_AGENTS.replace(((load.queue,), load.cap) for load in loads if load.cap is not None)
        metrics.ORPHANS.replace(((load.queue,), load.orphans) for load in loads)
        agents: dict[tuple[str, ...], float] = {}
        if self._last is not None:
            queues = {load.queue for load in loads} | {queue for _, queue in self._last}
            for status in Status:
                agents |= {(status.value, queue): self._last.get((status, queue), 0) for queue in queues}
        for load in loads:
            agents[Status.READY.value, load.queue] = load.ready
            agents[Status.RUNNING.value, load.queue] = load.running
        metrics.AGENTS.replace(agents.items())

    def forget(self) -> None:
        """Another coordinator speaks now."""
        self._round.clear()
        self._last = None
        load = (metrics.RUNNABLE_AGENTS, metrics.CAPACITY, metrics.MAX_AGENTS, metrics.ORPHANS)
        for gauge in (*load, metrics.LIVE_SESSIONS, metrics.AGENTS, metrics.CENSUS_TIMESTAMP):
            gauge.forget()
