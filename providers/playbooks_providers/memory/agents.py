"""An agent's transitions in memory: the first part of `contracts.Coordination`. Each method is one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playbooks_providers.envelope import read_header
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.letters import Standing, Unread
from playbooks_providers.lifecycle import Step, after, step_to
from playbooks_providers.memory.store import AgentRecord, MemoryStore
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
    OrderKind,
    Stale,
    StartRecord,
    Status,
    Taken,
    Ticket,
    Unwanted,
)


class MemoryAgents:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def create(self, start: StartRecord) -> Created | Exists:
        self._store.require()
        agent = self._store.agents.get(start.agent)
        if agent is None:
            agent = AgentRecord(start, Status.READY, fence=self._store.deleted.pop(start.agent, 0))
            self._store.agents[start.agent] = agent
            self._store.mint(agent, Status.READY)
            agent.birth = agent.fence
            return Created(agent.ticket, fresh=True)
        if agent.start.origin != start.origin:
            return Exists(start.agent, agent.status, agent.start)
        return Created(agent.ticket if agent.status is Status.READY else None, fresh=False)

    async def fork(self, start: StartRecord, entry: Entry) -> Created | Exists:
        answer = await self.create(start)
        if isinstance(answer, Created) and answer.fresh:
            agent = self._store.agents[start.agent]
            agent.entries[entry.id], agent.resume_from = entry, entry.id
        return answer

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
                agent.birth,
                agent.order,
            ),
            agent.by_letter,
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
        elif agent.minted_from != lock.fence or not agent.goes_on:
            return Gone(lock.agent)
        return Minted(agent.ticket, agent.due_ms)

    async def finish(
        self, lock: Lock, status: Status, final: Entry, *, read: int | None = None
    ) -> Done | Unread | Gone:
        self._store.require()
        known = self._store.agents.get(lock.agent)
        if known is not None and known.owned(lock.fence, lock.session, lock.nonce) and known.unread(read):
            return Unread(lock.agent)
        answer = self._leave(lock, status)
        agent = self._store.agents.get(lock.agent)
        if isinstance(answer, Done) and agent is not None and agent.final is None:
            agent.final = final
            agent.order = None
            if status is not Status.FAILED:
                agent.inbox.clear()
            held = [entry for entry in agent.entries.values() if entry.id != final.id and entry.payload]
            agent.entries.clear()
            if status is Status.FAILED and held:  # for a retry, with what it needs to be opened
                base = read_header(held[-1].header).base
                needed = {held[-1].id, *(base.ids if base is not None else ())}
                agent.entries.update((entry.id, entry) for entry in held if entry.id in needed)
        return answer

    async def stop(self, lock: Lock, status: Status, why: str) -> Done | Unwanted | Gone:
        self._store.require()
        agent = self._store.agents.get(lock.agent)
        if agent is None or not agent.owned(lock.fence, lock.session, lock.nonce):
            return self._leave(lock, status)
        pause = agent.order if agent.order is not None and agent.order.kind is OrderKind.PAUSE else None
        if status is Status.PAUSED:
            if pause is None:
                return Unwanted(lock.agent)
            why = pause.why
        answer = self._leave(lock, status)
        agent.why = why
        if pause is not None:
            agent.obeyed, agent.order = pause.id, None
        return answer

    async def retry(
        self, agent: AgentId, fence: int, choice: Choice, *, read: int | None = None
    ) -> Minted | Unread | Gone:
        self._store.require()
        record = self._store.agents.get(agent)
        if record is None:
            return Gone(agent)
        if record.fence == fence:
            ready = after(record.status, Step.RETRY)
            if ready is None:
                return Gone(agent)
            if record.unread(read):
                return Unread(agent)
            record.why, record.final = "", None
            self._store.mint(record, ready, choice)
            record.attempts = 0
            if choice is Choice.RESTART:
                record.birth, record.order = record.fence, None
                record.inbox.clear()
                record.senders.clear()
                record.events.clear()
        elif not record.goes_on:
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
            birth=record.birth,
            mail=len(record.inbox),
            wake_ms=record.due_ms,
            order=record.order,
        )

    async def agents(self) -> Sequence[AgentId]:
        return list(await self.standings())

    async def standings(self) -> Mapping[AgentId, Standing]:
        self._store.require()
        return {id: Standing(agent.status, agent.birth) for id, agent in self._store.agents.items()}

    # --- shared with the queue and the timers -----------------------------------------------------------------------
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
