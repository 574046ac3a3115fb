"""The contract of coordination, kept in memory. Each method is one step: nothing else runs between its lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from playbooks_providers.ids import Nonce, SessionId
from playbooks_providers.lanes import in_turn, queue_of
from playbooks_providers.loads import Swept
from playbooks_providers.memory.agents import MemoryAgents
from playbooks_providers.memory.events import MemoryEvents
from playbooks_providers.memory.inboxes import MemoryInboxes
from playbooks_providers.memory.loads import MemoryLoads
from playbooks_providers.memory.orders import MemoryOrders
from playbooks_providers.memory.store import SessionRecord
from playbooks_providers.model import Minted, ProgramInfo, SessionInfo, Status, Ticket

SWEEP_AFTER_MS = 5_000  # a creator that lives comes to enqueue long before


class MemoryCoordination(MemoryAgents, MemoryInboxes, MemoryOrders, MemoryEvents, MemoryLoads):
    """`contracts.Coordination` over a `MemoryStore`; here the ready queue, the sessions and what the coordinator does."""

    # --- the ready queue ----------------------------------------------------------------------------------------
    async def enqueue(self, ticket: Ticket) -> None:
        self._store.require()
        self._enqueue(ticket)

    async def read(self, session: SessionId, queues: Sequence[str], *, limit: int, wait_s: float) -> Sequence[Ticket]:
        self._store.require()
        waiting = self._store.queues
        await self._store.wait_until(
            lambda: any(waiting.get(lane) and self._room(lane, limit) for lane in queues), wait_s
        )
        self._store.require()
        tickets: list[Ticket] = []
        for lane in in_turn(queues, 0):
            there = waiting.get(lane, [])
            given = there[: self._room(lane, limit - len(tickets))]
            del there[: len(given)]
            self._store.pending |= {ticket.entry: (session, ticket) for ticket in given}
            tickets += given
        return tickets

    async def pending(self, session: SessionId, queues: Sequence[str]) -> Sequence[Ticket]:
        self._store.require()
        return [ticket for at, ticket in self._store.pending.values() if at == session and ticket.queue in queues]

    async def acknowledge(self, session: SessionId, ticket: Ticket) -> None:
        self._store.require()
        self._store.pending.pop(ticket.entry, None)
        self._store.changed()

    async def recover(self, session: SessionId) -> Sequence[Ticket]:
        self._store.require()
        again = []
        for at, ticket in list(self._store.pending.values()):
            if at != session:
                continue
            woken = self._wake(ticket.agent, ticket.fence, session)
            if isinstance(woken, Minted) and woken.due_ms is None:
                again.append(self._enqueue(woken.ticket))
            self._store.pending.pop(ticket.entry, None)
        self._store.changed()
        return again

    async def ownerless(self) -> Sequence[SessionId]:
        self._store.require()
        return list({at for at, _ in self._store.pending.values()} - self._store.sessions.keys())

    # --- sessions -----------------------------------------------------------------------------------------------
    async def register(self, info: SessionInfo) -> None:
        self._store.require()
        self._store.sessions.setdefault(info.session, SessionRecord(info))

    async def beat(self, sessions: Sequence[SessionId]) -> tuple[frozenset[SessionId], float | None]:
        self._store.require()
        refused = set()
        for session in sessions:
            if session in self._store.sessions:
                self._store.sessions[session].beats += 1
            else:
                refused.add(session)
        return frozenset(refused), self._store.session_timeout_s

    async def sessions(self) -> dict[SessionId, int]:
        self._store.require()
        return {session: record.beats for session, record in self._store.sessions.items()}

    async def session(self, session: SessionId) -> SessionInfo | None:
        self._store.require()
        record = self._store.sessions.get(session)
        return None if record is None else record.info

    async def bury(self, session: SessionId, beats: int | None) -> bool:
        self._store.require()
        record = self._store.sessions.get(session)
        if record is not None and beats is not None and record.beats != beats:
            return False
        self._store.sessions.pop(session, None)
        self._store.pokes.pop(session, None)
        return True

    async def publish_timeout(self, seconds: float) -> None:
        self._store.require()
        self._store.session_timeout_s = seconds

    # --- the coordinator ----------------------------------------------------------------------------------------
    async def lead(self, nonce: Nonce, lease_s: float) -> bool:
        if await self.leader() not in (None, nonce):
            return False
        self._store.lease = (nonce, self._store.clock.monotonic() + lease_s)
        return True

    async def resign(self, nonce: Nonce) -> None:
        if await self.leader() == nonce:
            self._store.lease = None

    async def leader(self) -> Nonce | None:
        self._store.require()
        lease = self._store.lease
        return None if lease is None or lease[1] <= self._store.clock.monotonic() else lease[0]

    async def fire_due(self, *, limit: int) -> Sequence[Ticket]:
        self._store.require()
        now = self._store.clock.now_ms()
        due = [agent for agent in self._store.agents.values() if agent.due_ms is not None and agent.due_ms <= now]
        fired = []
        for agent in due[:limit]:
            woken = self._wake(agent.start.agent, agent.fence, None)
            if isinstance(woken, Minted):
                fired.append(self._enqueue(woken.ticket))
        return fired

    async def sweep(self, cursor: str, *, limit: int) -> Swept:
        self._store.require()
        agents = list(self._store.agents.values())
        start, end = int(cursor or 0), int(cursor or 0) + limit
        known = {(ticket.agent, ticket.fence) for queue in self._store.queues.values() for ticket in queue}
        known |= {(ticket.agent, ticket.fence) for _, ticket in self._store.pending.values()}
        before = self._store.clock.now_ms() - SWEEP_AFTER_MS
        left = [
            self._enqueue(agent.ticket)
            for agent in agents[start:end]
            if agent.status is Status.READY and agent.fence < before and (agent.start.agent, agent.fence) not in known
        ]
        seen = Counter((agent.status, queue_of(agent.start.queue)) for agent in agents[start:end])
        return Swept(str(end) if end < len(agents) else "", left, seen)

    # --- programs -----------------------------------------------------------------------------------------------
    async def publish(self, session: SessionId, programs: Sequence[ProgramInfo]) -> None:
        self._store.require()
        if session in self._store.sessions:
            self._store.sessions[session].programs = tuple(programs)

    async def programs(self) -> Sequence[ProgramInfo]:
        self._store.require()
        return [program for record in self._store.sessions.values() for program in record.programs]

    # --- life ---------------------------------------------------------------------------------------------------
    async def ping(self) -> None:
        self._store.require()

    async def close(self) -> None:
        """Nothing is held."""

    # --- steps --------------------------------------------------------------------------------------------------
    def _room(self, lane: str, most: int) -> int:
        """How many tickets of *lane* may be given, at most *most*."""
        queue = queue_of(lane)
        if queue not in self._store.caps:
            return most
        held = sum(queue_of(ticket.queue) == queue for _, ticket in self._store.pending.values())
        return max(0, min(most, self._store.caps[queue] - held))

    def _enqueue(self, ticket: Ticket) -> Ticket:
        self._store.entry_count += 1
        queued = replace(ticket, entry=str(self._store.entry_count))
        self._store.queues.setdefault(ticket.queue, []).append(queued)
        self._store.changed()
        return queued
