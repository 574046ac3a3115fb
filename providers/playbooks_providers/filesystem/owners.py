"""Who owns which agent of a folder: starting one, taking it, and from which checkpoint its next owner goes on.

The half of the lock's part of coordination that comes before an owner's work; `agents` has what comes after it. There are no
queues and no sessions here: a ticket is a name and a fence, and one that was never taken has fence 0.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace

from playbooks_providers.envelope import read_header
from playbooks_providers.errors import AgentLocked, UnknownAgent, UnknownCheckpoint
from playbooks_providers.filesystem.files import (
    create_durably,
    make_folder,
    sync_folder,
    translated,
    write_durably,
)
from playbooks_providers.filesystem.format import pack
from playbooks_providers.filesystem.inbox_file import InboxFile
from playbooks_providers.filesystem.records import Owner, Wanted
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.filesystem.views import FilesystemViews
from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId, new_nonce, new_session_id
from playbooks_providers.letters import Unread
from playbooks_providers.model import (
    Choice,
    Created,
    Entry,
    Exists,
    Lock,
    OrderKind,
    Stale,
    StartRecord,
    Status,
    Taken,
    Ticket,
)

_ENDS = ("completed", "failed", "cancelled")


class FilesystemOwners(FilesystemViews):
    """The agents in a `FilesystemStore`, for whoever is to own one."""

    def __init__(self, store: FilesystemStore) -> None:
        super().__init__(store)
        self._session = SessionId(f"{os.getpid()}-{new_session_id()}")

    # --- beginning --------------------------------------------------------------------------------------------------
    async def create(self, start: StartRecord) -> Created | Exists:
        """Store the start record, durably. The same origin again is not fresh; another one `Exists`."""
        folder = self._store.folder(start.agent)
        with translated(folder):
            make_folder(folder)
            fresh = create_durably(self._store.start_path(start.agent), start.to_json().encode())
        view = await self.describe(start.agent)
        if view is None:
            raise UnknownAgent(start.agent)
        if view.start.origin != start.origin:
            return Exists(start.agent, view.status, view.start)
        ready = view.status is Status.READY
        return Created(Ticket(start.agent, view.fence, view.start.queue) if ready else None, fresh=fresh)

    async def fork(self, start: StartRecord, entry: Entry) -> Created | Exists:
        """As `create`, but the agent goes on from *entry*, which is sealed for it."""
        folder = self._store.folder(start.agent)
        with translated(folder):
            made = self._store.hidden(start.agent)
            write_durably(made / self._store.checkpoint_path(start.agent, entry.id.seq).name, pack(entry))
            write_durably(made / self._store.start_path(start.agent).name, start.to_json().encode())
            try:
                made.rename(folder)
                sync_folder(folder.parent)
                return Created(Ticket(start.agent, 0, start.queue), fresh=True)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
        shutil.rmtree(made, ignore_errors=True)
        return await self.create(start)

    # --- owning -----------------------------------------------------------------------------------------------------
    async def take(self, ticket: Ticket, session: SessionId, nonce: Nonce) -> Taken | Stale:
        """Open *ticket*: the agent is ready, and its fence is still that of the ticket."""
        stands = self.standing(ticket.agent)
        if stands is None or stands.status is not Status.READY:
            return Stale(ticket)
        try:
            lock = self._own(ticket.agent, session, nonce, expected=ticket.fence)
        except AgentLocked:
            return Stale(ticket)
        return Stale(ticket) if lock is None else Taken(lock)

    async def lock(self, agent: AgentId, *, at: int | None = None, choice: Choice = Choice.RESUME) -> Lock:
        """Own *agent*, to go on from its newest checkpoint or from number *at*, as *choice* says. In whatever status it is.

        One that is restarted, or taken back to an earlier checkpoint, is another agent from now on: it has a new birth.
        Raises `UnknownAgent`, `UnknownCheckpoint`, `AgentLocked` (naming the process).
        """
        lock = self._own(agent, self._session, new_nonce(), at=at, choice=choice)
        assert lock is not None  # no fence was expected, and nobody looks at its mail
        return lock

    async def begin_again(self, agent: AgentId, *, at: int | None, choice: Choice, read: int) -> Lock | Unread:
        """The same; *read* as in `retry`."""
        return self._own(agent, self._session, new_nonce(), at=at, choice=choice, read=read) or Unread(agent)

    def _own(
        self,
        agent: AgentId,
        session: SessionId,
        nonce: Nonce,
        *,
        expected: int | None = None,
        at: int | None = None,
        choice: Choice = Choice.RESUME,
        read: int | None = None,
    ) -> Lock | None:
        start = self._start(agent)
        if start is None:
            raise UnknownAgent(agent)

        def changed(owner: Owner, entries: Sequence[Entry]) -> Owner | None:
            self._no_more_paused(agent)
            if at is None and choice is Choice.RESUME:
                return owner
            return self._chosen(start, owner, entries, choice, at or 0, read)

        with translated(self._store.folder(agent)):
            taken = self._store.take(agent, session, expected=expected, changed=changed)
        if taken is None:
            return None
        owner, entries = taken
        return Lock(
            agent, owner.fence, session, nonce, start.queue, _from(agent, entries, owner), owner.attempts, start,
            owner.choice, birth=owner.birth or start.created_ms, order=self._store.wanted(agent).order,
        )  # fmt: skip

    def _chosen(
        self, start: StartRecord, owner: Owner, entries: Sequence[Entry], choice: Choice, at: int, read: int | None
    ) -> Owner | None:
        """The next owner, for whom the agent goes on as chosen, through deaths, until it has written a checkpoint. None: it
        would be another agent, and there is mail beyond *read*. The inbox is locked."""
        agent = start.agent
        chosen = replace(owner, choice=choice, at=at, chosen=owner.fence)
        resume_from = _from(agent, entries, chosen)
        states = [entry.id for entry in entries if not _is_end(entry)]
        if choice is Choice.RESTART or (states and (resume_from is None or resume_from < states[-1])):
            if unread(self._store.inbox(agent), owner.birth or start.created_ms, read):
                return None
            birth = max(time.time_ns() // 1_000_000, owner.birth + 1, start.created_ms + 1)
            chosen = replace(chosen, birth=birth)
        if choice is Choice.RESTART:
            self._store.events_path(agent).unlink(missing_ok=True)
            self._store.order_path(agent).unlink(missing_ok=True)
        return chosen

    def _no_more_paused(self, agent: AgentId) -> None:
        """Whoever set it aside as ordered may have died before that was noted. The inbox is locked."""
        left, wanted = self._store.left(agent), self._store.wanted(agent)
        is_paused = left is not None and (left.status, left.fence) == (Status.PAUSED, self._store.owner(agent).fence)
        if is_paused and wanted.order is not None and wanted.order.kind is OrderKind.PAUSE:
            write_durably(self._store.order_path(agent), Wanted(None, wanted.order.id).to_json())


def _from(agent: AgentId, entries: Sequence[Entry], owner: Owner) -> CheckpointId | None:
    if owner.choice is Choice.RESTART:
        return None
    if not owner.at:
        if owner.chosen:  # of one that has failed, the checkpoint before its end
            entries = [entry for entry in entries if not _is_end(entry)]
        return entries[-1].id if entries else None
    for entry in entries:
        if entry.id.seq == owner.at:
            return entry.id
    raise UnknownCheckpoint(agent, owner.at, [entry.id.seq for entry in entries])


def unread(inbox: InboxFile, birth: int, read: int | None) -> bool:
    """Whether there is mail behind the place up to which it was looked through (None: nobody looks)."""
    return read is not None and any(mail.place > read for mail in inbox.read(birth).mail)


def _is_end(entry: Entry) -> bool:
    try:
        return read_header(entry.header).kind in _ENDS
    except ValueError:
        return False
