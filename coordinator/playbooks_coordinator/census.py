"""What the leader says of all agents: those that can run by looking at the queues, the others by a slow round over all.

Called by `duty` with what it has read; says it as metrics. A leader alone speaks for the system: a sum over all coordinators
would count everything several times. It must not know a store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from playbooks_providers import metrics
from playbooks_providers.loads import SystemLoad
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

    def tell(self, load: SystemLoad, sessions: int) -> None:
        """Say how much there is to do, and where all agents are."""
        metrics.LIVE_SESSIONS.set(sessions)
        metrics.SLOTS.replace(((group,), of_group.slots) for group, of_group in load.groups.items())
        metrics.GROUP_RUNNABLE.replace(((group,), of_group.runnable) for group, of_group in load.groups.items())
        metrics.RUNNABLE_AGENTS.replace(((one.queue,), one.runnable) for one in load.queues)
        metrics.CAPACITY.replace(((one.queue,), one.capacity) for one in load.queues)
        metrics.MAX_AGENTS.replace(((one.queue,), one.cap) for one in load.queues if one.cap is not None)
        metrics.ORPHANS.replace(((one.queue,), one.orphans) for one in load.queues)
        agents: dict[tuple[str, ...], float] = {}
        if self._last is not None:
            queues = {one.queue for one in load.queues} | {queue for _, queue in self._last}
            for status in Status:
                agents |= {(status.value, queue): self._last.get((status, queue), 0) for queue in queues}
        for one in load.queues:
            agents[Status.READY.value, one.queue] = one.ready
            agents[Status.RUNNING.value, one.queue] = one.running
        metrics.AGENTS.replace(agents.items())

    def forget(self) -> None:
        """Another coordinator speaks now."""
        self._round.clear()
        self._last = None
        by_group = (metrics.SLOTS, metrics.GROUP_RUNNABLE)
        by_queue = (metrics.RUNNABLE_AGENTS, metrics.CAPACITY, metrics.MAX_AGENTS, metrics.ORPHANS)
        for gauge in (*by_group, *by_queue, metrics.LIVE_SESSIONS, metrics.AGENTS, metrics.CENSUS_TIMESTAMP):
            gauge.forget()
