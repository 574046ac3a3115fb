"""The agents of a folder: starting one, owning one, and how an owner leaves one. The lock's part of coordination.

Called by `run`, and by commands with a storage path. The answers are those of `contracts.Coordination`, so that the worker's
host treats both homes alike; there are no queues and no sessions here: a ticket is a name and a fence, and one that was
never taken has fence 0.
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
from playbooks_providers.filesystem.checkpoints import FilesystemCheckpoints
from playbooks_providers.filesystem.files import (
    create_durably,
    make_folder,
    sync_folder,
    translated,
    write_durably,
    write_whole,
)
from playbooks_providers.filesystem.format import pack
from playbooks_providers.filesystem.inbox_file import InboxFile
from playbooks_providers.filesystem.records import Left, Owner, Wanted
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.filesystem.views import FilesystemViews
from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId, new_nonce, new_session_id
from playbooks_providers.letters import Unread
from playbooks_providers.lifecycle import Step, after, step_to
from playbooks_providers.model import (
    FINAL,
    Choice,
    Created,
    Done,
    Entry,
    Exists,
    Gone,
    Lock,
    Lost,
    Minted,
    OrderKind,
    Saved,
    Stale,
    StartRecord,
    Status,
    Taken,
    Ticket,
    Unwanted,
)

_ENDS = ("completed", "failed", "cancelled")


class FilesystemAgents(FilesystemViews):
    """The agents in a `FilesystemStore`."""

    def __init__(self, store: FilesystemStore, checkpoints: FilesystemCheckpoints) -> None:
        super().__init__(store)
        self._checkpoints = checkpoints
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
            if _unread(self._store.inbox(agent), owner.birth or start.created_ms, read):
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

    # --- leaving ----------------------------------------------------------------------------------------------------
    async def release(self, lock: Lock, why: str, *, delay_s: float = 0.0, blameless: bool = True) -> Minted | Gone:
        """Let go of the agent: whoever wants it may lock it. A delay means nothing here, since nobody waits for it."""
        held = self._store.held.get(lock.agent)
        if held is None or held.fence != lock.fence:
            return Gone(lock.agent)
        self._store.let_go(lock.agent, lock.fence)
        return Minted(Ticket(lock.agent, lock.fence, lock.queue))

    async def finish(
        self, lock: Lock, status: Status, final: Entry, *, read: int | None = None
    ) -> Done | Unread | Gone:
        """End the agent: *final* is its last checkpoint (stored now, if it was not), and the OS lock is let go."""
        step_to(status)
        if self._store.owns(lock.agent, lock.fence) is None:
            return self._left_before(lock, status)
        newest = self._store.newest(lock.agent)
        answer: Saved | Lost = Saved(final.id)
        if newest is None or newest.id != final.id:  # an earlier owner may have written it, and died before this
            answer = await self._checkpoints.save(lock, final, oldest=CheckpointId(0, 0))
        if isinstance(answer, Saved):
            inbox = self._store.inbox(lock.agent)
            with translated(self._store.folder(lock.agent)), inbox.locked():  # no letter is accepted from here on
                if _unread(inbox, lock.birth, read):
                    return Unread(lock.agent)
                if self._store.owner(lock.agent).fence != lock.fence:
                    answer = Lost(lock.agent)
                else:
                    self._over(lock.agent)
                    write_whole(self._store.left_path(lock.agent), Left(status, "", lock.fence).to_json())
        self._store.let_go(lock.agent, lock.fence)
        return Gone(lock.agent) if isinstance(answer, Lost) else Done()

    async def stop(self, lock: Lock, status: Status, why: str) -> Done | Unwanted | Gone:
        """Set the agent aside and say why; its checkpoints are kept, and the OS lock is let go."""
        step_to(status)
        if self._store.owns(lock.agent, lock.fence) is None:
            return self._left_before(lock, status)
        return self.set_aside(lock.agent, Left(status, why, lock.fence))

    def set_aside(self, agent: AgentId, left: Left) -> Done | Unwanted | Gone:
        """Its owner, with that fence, leaves it so, and lets go of it unless nobody wants that."""
        with translated(self._store.folder(agent)), self._store.inbox(agent).locked():
            answer = self._set_aside(agent, left)
        if not isinstance(answer, Unwanted):
            self._store.let_go(agent, left.fence)
        return answer

    def _set_aside(self, agent: AgentId, left: Left) -> Done | Unwanted | Gone:
        """A pause that was ordered is done. The inbox is locked: nobody orders anything meanwhile."""
        if self._store.owner(agent).fence != left.fence:  # it was terminated while this one waited for the inbox
            return Gone(agent)
        wanted = self._store.wanted(agent)
        pause = wanted.order if wanted.order is not None and wanted.order.kind is OrderKind.PAUSE else None
        if left.status is Status.PAUSED:
            if pause is None:
                return Unwanted(agent)
            left = replace(left, why=pause.why)
        write_durably(self._store.left_path(agent), left.to_json())
        if pause is not None:
            write_durably(self._store.order_path(agent), Wanted(None, pause.id).to_json())
        return Done()

    def _left_before(self, lock: Lock, status: Status) -> Done | Gone:
        left = self._store.left(lock.agent)
        self._store.let_go(lock.agent, lock.fence)
        return Done() if left is not None and (left.status, left.fence) == (status, lock.fence) else Gone(lock.agent)

    def _over(self, agent: AgentId) -> None:
        """What was wanted of it is so no more."""
        if self._store.wanted(agent).order is not None:
            write_durably(self._store.order_path(agent), Wanted().to_json())

    # --- by people --------------------------------------------------------------------------------------------------
    async def retry(
        self, agent: AgentId, fence: int, choice: Choice, *, read: int | None = None
    ) -> Minted | Unread | Gone:
        """Let an agent go on that was set aside or has failed, and whose fence is still *fence*, as *choice* says."""
        return self.ready_again(agent, fence, choice, read)

    def ready_again(
        self, agent: AgentId, fence: int, choice: Choice, read: int | None = None
    ) -> Minted | Unread | Gone:
        start = self._start(agent)
        if start is None:
            return Gone(agent)

        def changed(owner: Owner, entries: Sequence[Entry]) -> Owner | None:
            self._no_more_paused(agent)
            return self._chosen(start, replace(owner, attempts=0), entries, choice, 0, read)

        with translated(self._store.folder(agent)):
            owner = self._store.owner(agent)
            status = self._status(agent, owner)[0]
            if status is Status.READY and owner.fence > fence:
                return Minted(Ticket(agent, owner.fence, start.queue))
            if owner.fence != fence or after(status, Step.RETRY) is None:
                return Gone(agent)
            try:
                taken = self._store.take(agent, "", expected=fence, changed=changed)
            except AgentLocked:
                return Gone(agent)
            if taken is None:
                return Unread(agent) if self._store.owner(agent).fence == fence else Gone(agent)
        self._store.let_go(agent, taken[0].fence)
        return Minted(Ticket(agent, taken[0].fence, start.queue))

    async def terminate(self, agent: AgentId, why: str, *, read: int | None = None) -> Done | Unread | Gone:
        """End the agent at once, as cancelled. Raises `AgentLocked` while another process holds it."""
        stands = self.standing(agent)
        if stands is None or stands.status in FINAL:
            ended = stands is not None and stands.status is Status.CANCELLED
            return Done() if ended else Gone(agent)
        held, inbox = self._store.held.get(agent), self._store.inbox(agent)
        with translated(self._store.folder(agent)):
            if held is not None:  # by this process itself, whose agent goes on if it does not end
                if _unread(inbox, stands.birth, read):
                    return Unread(agent)
                self._store.let_go(agent, held.fence)
            taken = self._store.take(agent, "")
            assert taken is not None
            owner, _ = taken
            try:
                with inbox.locked():  # no letter is accepted from here on
                    if _unread(inbox, stands.birth, read):
                        return Unread(agent)
                    await self._checkpoints.delete(agent)
                    write_durably(self._store.left_path(agent), Left(Status.CANCELLED, why, owner.fence).to_json())
                    self._over(agent)
            finally:
                self._store.let_go(agent, owner.fence)
        return Done()

    async def delete(self, agent: AgentId) -> Done | Gone:
        """Forget everything about *agent*: its folder goes as a whole. Raises `AgentLocked` while a process runs it."""
        if self._start(agent) is None:
            return Gone(agent)
        with translated(self._store.folder(agent)):
            self._store.remove(agent)
        return Done()


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


def _unread(inbox: InboxFile, birth: int, read: int | None) -> bool:
    """Whether there is mail behind the place up to which it was looked through (None: nobody looks)."""
    return read is not None and any(mail.place > read for mail in inbox.read(birth).mail)


def _is_end(entry: Entry) -> bool:
    try:
        return read_header(entry.header).kind in _ENDS
    except ValueError:
        return False
