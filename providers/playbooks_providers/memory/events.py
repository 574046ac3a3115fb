"""What agents tell people, in memory: a part of `contracts.Coordination`."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks_providers.events import Event, EventPlace
from playbooks_providers.ids import AgentId
from playbooks_providers.memory.store import MemoryStore
from playbooks_providers.model import Done, Gone, Lock


class MemoryEvents:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def emit(self, lock: Lock, events: Sequence[Event], *, keep: int) -> Done | Gone:
        self._store.require()
        agent = self._store.agents.get(lock.agent)
        if agent is None or not agent.owned(lock.fence, lock.session, lock.nonce):
            return Gone(lock.agent)
        last = agent.events[-1].place if agent.events else EventPlace(0, 0)
        agent.events += [event for event in events if event.place > last]
        del agent.events[:-keep]
        self._store.changed()
        return Done()

    async def emitted(self, agent: AgentId, after: EventPlace, *, limit: int, wait_s: float = 0.0) -> Sequence[Event]:
        self._store.require()
        if wait_s > 0:
            await self._store.wait_until(lambda: bool(self._after(agent, after)), wait_s)
            self._store.require()
        return self._after(agent, after)[:limit]

    def _after(self, agent: AgentId, place: EventPlace) -> list[Event]:
        record = self._store.agents.get(agent)
        return [] if record is None else [event for event in record.events if event.place > place]
