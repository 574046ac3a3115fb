"""How much there is to do, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from playbooks_providers.ids import SessionId
from playbooks_providers.loads import Offer, QueueLoad, SystemLoad, system_load
from playbooks_providers.memory.store import MemoryStore


class MemoryLoads:
    """`loads.Loads` over a `MemoryStore`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def offer(self, session: SessionId, offer: Offer) -> None:
        self._store.require()
        if session in self._store.sessions:
            self._store.sessions[session].offer = offer

    async def offers(self) -> Mapping[SessionId, Offer]:
        self._store.require()
        return {name: record.offer for name, record in self._store.sessions.items() if record.offer is not None}

    async def set_cap(self, queue: str, most: int | None) -> None:
        self._store.require()
        self._store.caps.pop(queue, None)
        if most is not None:
            self._store.caps[queue] = most
        self._store.changed()

    async def caps(self) -> Mapping[str, int]:
        self._store.require()
        return dict(self._store.caps)

    async def ask_to_drain(self, sessions: Sequence[SessionId]) -> None:
        self._store.require()
        for session in sessions:
            if session in self._store.sessions:
                self._store.sessions[session].draining = True

    async def draining(self) -> frozenset[SessionId]:
        self._store.require()
        return frozenset(name for name, record in self._store.sessions.items() if record.draining)

    async def load(self) -> SystemLoad:
        self._store.require()
        ready = Counter({queue: len(tickets) for queue, tickets in self._store.queues.items()})
        held = Counter(ticket.queue for _, ticket in self._store.pending.values())
        alive = self._store.sessions
        lost = Counter(ticket.queue for at, ticket in self._store.pending.values() if at not in alive)
        caps = self._store.caps
        lanes = [
            QueueLoad(name, ready[name], held[name], lost[name], 0, caps.get(name)) for name in {*ready, *held, *caps}
        ]
        offers = [record.offer for record in self._store.sessions.values() if record.offer and not record.draining]
        return system_load(lanes, offers)
