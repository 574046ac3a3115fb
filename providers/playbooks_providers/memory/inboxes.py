"""Letters, parking and pokes in memory: the second part of `contracts.Coordination`. Each method is one step."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks_providers.envelope import read_header
from playbooks_providers.ids import AgentId, CheckpointId, SessionId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Parked, Poke, Standing, Unread
from playbooks_providers.lifecycle import Step, after
from playbooks_providers.memory.store import AgentRecord, MemoryStore
from playbooks_providers.model import FINAL, Gone, Lock, Status


class MemoryInboxes:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def standing(self, agent: AgentId) -> Standing | None:
        self._store.require()
        record = self._store.agents.get(agent)
        return None if record is None else Standing(record.status, record.birth)

    async def deliver(
        self, receiver: AgentId, letter: Letter, *, limit: int, birth: int | None = None
    ) -> Delivered | Full | Gap | Gone:
        self._store.require()
        agent = self._store.agents.get(receiver)
        if agent is None or birth not in (None, agent.birth):
            return Gone(receiver)
        known, last = (0, 0) if letter.once else agent.senders.get(letter.sender, (0, 0))
        if letter.birth < known:
            return Gone(receiver)
        if letter.birth > known:
            last = 0
        if letter.number <= last:
            return _delivered(agent, fresh=False)
        if agent.status in FINAL:
            return Gone(receiver)
        if letter.number != last + 1:
            return Gap(receiver, last + 1)
        if len(agent.inbox) >= limit and not letter.pressing:
            return Full(receiver)
        agent.accepted += 1
        agent.inbox.append(Mail(agent.accepted, letter.sender, letter.birth, letter.number, letter.body))
        if not letter.once:
            agent.senders[letter.sender] = (letter.birth, letter.number)
        if agent.status is Status.WAITING:
            self._store.mint(agent, Status.READY, by_letter=True)
        return _delivered(agent, fresh=True, place=agent.accepted)

    async def mail(self, agent: AgentId, after: int, *, limit: int) -> Sequence[Mail]:
        self._store.require()
        record = self._store.agents.get(agent)
        return [] if record is None else [mail for mail in record.inbox if mail.place > after][:limit]

    async def forget_mail(self, lock: Lock, through: int) -> None:
        self._store.require()
        agent = self._store.agents.get(lock.agent)
        if agent is not None and agent.fence == lock.fence:
            agent.inbox = [mail for mail in agent.inbox if mail.place > through]

    async def park(
        self, lock: Lock, at: CheckpointId, cursor: int, wake_ms: int | None, *, keep: bool = False
    ) -> Parked | Unread | Gone:
        self._store.require()
        agent = self._store.agents.get(lock.agent)
        if agent is None or not agent.owned(lock.fence, lock.session, lock.nonce):
            return Parked() if agent is not None and agent.status is Status.WAITING else Gone(lock.agent)
        newest = agent.newest
        if newest is None or newest.id != at:
            raise ValueError(f"{lock.agent} cannot wait at {at}: its newest checkpoint is {newest and newest.id}")
        if agent.order is not None or any(mail.place > cursor for mail in agent.inbox):
            return Unread(lock.agent)
        waiting = after(agent.status, Step.PARK)
        assert waiting is not None
        agent.inbox = []
        if not keep:
            base = read_header(newest.header).base
            needed = {at, *(base.ids if base is not None else ())}
            agent.entries = {id: entry for id, entry in agent.entries.items() if id in needed}
        self._store.mint(agent, waiting)
        agent.attempts, agent.due_ms = 0, wake_ms
        return Parked()

    async def poke(self, session: SessionId, poke: Poke) -> None:
        self._store.require()
        if session in self._store.sessions:
            self._store.pokes.setdefault(session, []).append(poke)
            self._store.changed()

    async def pokes(self, session: SessionId, *, wait_s: float) -> Sequence[Poke]:
        self._store.require()
        await self._store.wait_until(lambda: bool(self._store.pokes.get(session)), wait_s)
        self._store.require()
        return self._store.pokes.pop(session, [])


def _delivered(agent: AgentRecord, *, fresh: bool, place: int = 0) -> Delivered:
    if agent.status is Status.READY:
        return Delivered(fresh, ticket=agent.ticket, place=place)
    return Delivered(fresh, session=agent.session if agent.status is Status.RUNNING else None, place=place)
