"""The contract of inboxes, kept in files: one a agent, `inbox.log`, whose lines are durable before a letter is accepted.

A letter may come from another process than the one that runs its receiver (a person's answer): who is to be told is
answered, as everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from playbooks_providers.filesystem.agents import FilesystemAgents
from playbooks_providers.filesystem.files import translated
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Standing
from playbooks_providers.model import FINAL, Gone, Lock, Status, Ticket


class FilesystemInboxes:
    """`contracts.Inboxes` over a `FilesystemStore`. Raises `StorageFull` where there is no room for a letter."""

    def __init__(self, store: FilesystemStore, agents: FilesystemAgents) -> None:
        self._store = store
        self._agents = agents

    async def standing(self, agent: AgentId) -> Standing | None:
        return self._agents.standing(agent)

    async def deliver(
        self, receiver: AgentId, letter: Letter, *, limit: int, birth: int | None = None
    ) -> Delivered | Full | Gap | Gone:
        # In a thread: an fsync takes milliseconds.
        return await asyncio.to_thread(self._deliver, receiver, birth, letter, limit)

    async def mail(self, agent: AgentId, after: int, *, limit: int) -> Sequence[Mail]:
        birth = self._agents.birth(agent)
        if birth is None:
            return []
        with translated(self._store.folder(agent)):
            inbox = self._store.inbox(agent).read(birth)
        return [mail for mail in inbox.mail if mail.place > after][:limit]

    async def forget_mail(self, lock: Lock, through: int) -> None:
        held = self._store.held.get(lock.agent)
        if held is not None and held.fence == lock.fence:
            await asyncio.to_thread(self._forget, lock, through)

    def _deliver(self, receiver: AgentId, own: int | None, letter: Letter, limit: int) -> Delivered | Full | Gap | Gone:
        if self._agents.birth(receiver) is None:
            return Gone(receiver)
        file = self._store.inbox(receiver)
        with translated(self._store.folder(receiver)), file.locked():
            stands = self._agents.standing(receiver)  # under the lock: one that ends looks for its mail under it, too
            if stands is None or own not in (None, stands.birth):
                return Gone(receiver)
            inbox = file.read(stands.birth)
            birth, last = (0, 0) if letter.once else inbox.known(letter.sender)
            if letter.birth < birth:
                return Gone(receiver)
            if letter.birth > birth:
                last = 0
            if letter.number <= last:
                return self._delivered(receiver, stands, fresh=False, place=0)
            if stands.status in FINAL:
                return Gone(receiver)
            if letter.number != last + 1:
                return Gap(receiver, last + 1)
            if len(inbox.mail) >= limit and not letter.pressing:
                return Full(receiver)
            return self._delivered(receiver, stands, fresh=True, place=file.accept(inbox, letter))

    def _delivered(self, receiver: AgentId, stands: Standing, *, fresh: bool, place: int) -> Delivered:
        """And who is to be told of it."""
        owner = self._store.owner(receiver)
        ready, runs = stands.status is Status.READY, stands.status is Status.RUNNING
        ticket = Ticket(receiver, owner.fence, self._agents.queue(receiver)) if ready else None
        return Delivered(fresh, ticket, SessionId(owner.session) if runs else None, place)

    def _forget(self, lock: Lock, through: int) -> None:
        file = self._store.inbox(lock.agent)
        with translated(self._store.folder(lock.agent)), file.locked():
            file.forget(file.read(lock.birth), through)
