"""The agents of a folder: how an owner leaves one, and what is done to it by people. The lock's part of coordination.

Called by `run`, and by commands with a storage path. The answers are those of `contracts.Coordination`, so that the worker's
host treats both homes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from playbooks_providers.errors import AgentLocked
from playbooks_providers.filesystem.checkpoints import FilesystemCheckpoints
from playbooks_providers.filesystem.files import translated, write_durably, write_whole
from playbooks_providers.filesystem.owners import FilesystemOwners, unread
from playbooks_providers.filesystem.records import Left, Owner, Wanted
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.letters import Unread
from playbooks_providers.lifecycle import Step, after, step_to
from playbooks_providers.model import (
    FINAL,
    Choice,
    Done,
    Entry,
    Gone,
    Lock,
    Lost,
    Minted,
    OrderKind,
    Saved,
    Status,
    Ticket,
    Unwanted,
)


class FilesystemAgents(FilesystemOwners):
    """The agents in a `FilesystemStore`."""

    def __init__(self, store: FilesystemStore, checkpoints: FilesystemCheckpoints) -> None:
        super().__init__(store)
        self._checkpoints = checkpoints

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
                if unread(inbox, lock.birth, read):
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
                if unread(inbox, stands.birth, read):
                    return Unread(agent)
                self._store.let_go(agent, held.fence)
            taken = self._store.take(agent, "")
            assert taken is not None
            owner, _ = taken
            try:
                with inbox.locked():  # no letter is accepted from here on
                    if unread(inbox, stands.birth, read):
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
