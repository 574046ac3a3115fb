"""The contract of coordination, kept in memory. Each method is one step: nothing else runs between its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from playbooks_providers.envelope import read_header
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.lifecycle import Step, after, step_to
from playbooks_providers.memory.store import AgentRecord, MemoryStore, SessionRecord
from playbooks_providers.model import (
    FINAL,
    AgentView,
    Choice,
    Created,
    Done,
    Entry,
    Exists,
    Gone,
    Lock,
    Minted,
    ProgramInfo,
    SessionInfo,
    Stale,
    StartRecord,
    Status,
    Taken,
    Ticket,
)

SWEEP_AFTER_MS = 5_000  # a creator that lives comes to enqueue long before


class MemoryCoordination:
    """`contracts.Coordination` over a `MemoryStore`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    # --- agents -------------------------------------------------------------------------------------------------
    async def create(self, start: StartRecord) -> Created | Exists:
        self._store.require()
        agent = self._store.agents.get(start.agent)
        if agent is None:
            agent = AgentRecord(start, Status.READY, fence=0)
            self._store.agents[start.agent] = agent
            self._store.mint(agent, Status.READY)
            return Created(agent.ticket, fresh=True)
        if agent.start.origin != start.origin:
            return Exists(start.agent, agent.status, agent.start)
        return Created(agent.ticket if agent.status is Status.READY else None, fresh=False)

    async def enqueue(self, ticket: Ticket) -> None:
        self._store.require()
        self._enqueue(ticket)

    async def take(self, ticket: Ticket, session: SessionId, nonce: Nonce) -> Taken | Stale:
        self._store.require()
        agent = self._store.agents.get(ticket.agent)
        if agent is None or agent.fence != ticket.fence:
            return Stale(ticket)
        if (running := after(agent.status, Step.TAKE)) is not None:
            agent.status, agent.session, agent.nonce = running, session, nonce
            agent.why = ""
            agent.attempts += 1
        elif not agent.owned(ticket.fence, session, nonce):
            return Stale(ticket)
        return Taken(
            Lock(
                ticket.agent,
                agent.fence,
                session,
                nonce,
                agent.start.queue,
                agent.resume_from,
                agent.attempts,
                agent.start,
                agent.choice,
            )
        )

    async def release(self, lock: Lock, why: str, *, delay_s: float = 0.0, blameless: bool = True) -> Minted | Gone:
        self._store.require()
        agent = self._store.agents.get(lock.agent)
        if agent is None:
            return Gone(lock.agent)
        if agent.owned(lock.fence, lock.session, lock.nonce):
            if blameless:
                agent.attempts -= 1
            agent.why = why
            if delay_s > 0:
                self._store.mint(agent, Status.WAITING)
                agent.due_ms = self._store.clock.now_ms() + round(delay_s * 1000)
            else:
                self._store.mint(agent, Status.READY)
        elif agent.minted_from != lock.fence or agent.status not in (Status.READY, Status.WAITING):
            return Gone(lock.agent)
        return Minted(agent.ticket, agent.due_ms)

    async def finish(self, lock: Lock, status: Status, final: Entry) -> Done | Gone:
        answer = self._leave(lock, status)
        agent = self._store.agents.get(lock.agent)
        if isinstance(answer, Done) and agent is not None and agent.final is None:
            agent.final = final
            held = [entry for entry in agent.entries.values() if entry.id != final.id and entry.payload]
            agent.entries.clear()
            if status is Status.FAILED and held:  # for a retry, with what it needs to be opened
                base = read_header(held[-1].header).base
                needed = {held[-1].id, *(base.ids if base is not None else ())}
                agent.entries.update((entry.id, entry) for entry in held if entry.id in needed)
        return answer

    async def stop(self, lock: Lock, status: Status, why: str) -> Done | Gone:
        answer = self._leave(lock, status)
        if isinstance(answer, Done):
            self._store.agents[lock.agent].why = why
        return answer

    async def retry(self, agent: AgentId, fence: int, choice: Choice) -> Minted | Gone:
        self._store.require()
        record = self._store.agents.get(agent)
        if record is None:
            return Gone(agent)
        if record.fence == fence:
            ready = after(record.status, Step.RETRY)
            if ready is None:
                return Gone(agent)
            record.why, record.final = "", None
            self._store.mint(record, ready, choice)
            record.attempts = 0
        elif record.status not in (Status.READY, Status.WAITING):
            return Gone(agent)
        return Minted(record.ticket, record.due_ms)

    async def wake(self, agent: AgentId, fence: int, by: SessionId | None) -> Minted | Gone:
        self._store.require()
        return self._wake(agent, fence, by)

    async def describe(self, agent: AgentId) -> AgentView | None:
        self._store.require()
        record = self._store.agents.get(agent)
        if record is None:
            return None
        newest = record.final if record.final is not None else record.newest
        return AgentView(
            agent=agent,
            status=record.status,
            fence=record.fence,
            start=record.start,
            session=record.session,
            attempts=record.attempts,
            why=record.why,
            last=None if newest is None else newest.id,
            header=b"" if newest is None else newest.header,
        )

    async def agents(self) -> Sequence[AgentId]:
        self._store.require()
        return list(self._store.agents)

    # --- the ready queue ----------------------------------------------------------------------------------------
    async def read(self, session: SessionId, queues: Sequence[str], *, limit: int, wait_s: float) -> Sequence[Ticket]:
        self._store.require()
        waiting = self._store.queues
        await self._store.wait_until(lambda: any(waiting.get(queue) for queue in queues), wait_s)
        self._store.require()
        tickets: list[Ticket] = []
        for queue in queues:
            there = waiting.get(queue, [])
            count = limit - len(tickets)
            tickets += there[:count]
            del there[:count]
        for ticket in tickets:
            self._store.pending[ticket.entry] = (session, ticket)
        return tickets

    async def pending(self, session: SessionId, queues: Sequence[str]) -> Sequence[Ticket]:
        self._store.require()
        return [ticket for at, ticket in self._store.pending.values() if at == session and ticket.queue in queues]

    async def acknowledge(self, session: SessionId, ticket: Ticket) -> None:
        self._store.require()
        self._store.pending.pop(ticket.entry, None)

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

    async def sweep(self, cursor: str, *, limit: int) -> tuple[str, Sequence[Ticket]]:
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
        return str(end) if end < len(agents) else "", left

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
    def _enqueue(self, ticket: Ticket) -> Ticket:
        self._store.entry_count += 1
        queued = replace(ticket, entry=str(self._store.entry_count))
        self._store.queues.setdefault(ticket.queue, []).append(queued)
        self._store.changed()
        return queued

    def _wake(self, id: AgentId, fence: int, by: SessionId | None) -> Minted | Gone:
        agent = self._store.agents.get(id)
        if agent is None:
            return Gone(id)
        # its very ticket was read by a session that is given up, and may yet try to open it: no longer with that fence
        unopened = agent.status is Status.READY and by is not None and agent.fence == fence
        if agent.status is Status.READY and not unopened:  # woken before, by somebody who may not have enqueued it
            return Minted(agent.ticket)
        orphan = agent.status is Status.RUNNING and by is not None and agent.session == by
        due = agent.status is Status.WAITING and by is None
        if agent.fence != fence or not (orphan or due or unopened):
            return Gone(id)
        self._store.mint(agent, Status.READY)
        return Minted(agent.ticket)

    def _leave(self, lock: Lock, status: Status) -> Done | Gone:
        """The owner ends its agent or sets it aside; again is done already."""
        self._store.require()
        step = step_to(status)
        agent = self._store.agents.get(lock.agent)
        if agent is None or agent.fence != lock.fence or agent.nonce != lock.nonce:
            return Gone(lock.agent)
        if agent.status is not status and after(agent.status, step) is None:
            return Gone(lock.agent)
        agent.status, agent.session = status, None
        if status in FINAL:
            agent.attempts = 0
        return Done()
