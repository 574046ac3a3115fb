"""The agents of a folder: starting one, owning one, and saying where each stands. The lock's part of coordination.

Called by `run`, and by `list` and `show` with a storage path. The answers are those of `contracts.Coordination`, so that
the worker's host treats both homes alike; there are no tickets, sessions or queues here.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from playbooks_providers.envelope import read_header
from playbooks_providers.errors import InvalidAgentId, StorageFailed, UnknownAgent, UnknownCheckpoint
from playbooks_providers.filesystem.checkpoints import FilesystemCheckpoints
from playbooks_providers.filesystem.files import create_durably, make_folder, sync_folder, translated, write_durably
from playbooks_providers.filesystem.format import pack
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.ids import AgentId, CheckpointId, SessionId, agent_id, new_nonce, new_session_id
from playbooks_providers.letters import Standing, Unread
from playbooks_providers.lifecycle import step_to
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
    Lost,
    Minted,
    Saved,
    StartRecord,
    Status,
    Ticket,
)

log = structlog.get_logger()

_ENDS = {"completed": Status.COMPLETED, "failed": Status.FAILED, "cancelled": Status.CANCELLED}


@dataclass(frozen=True, slots=True)
class _Stopped:
    """`stopped.json`: the owner with this fence set its agent aside. A newer owner makes it void."""

    status: Status
    why: str
    fence: int


class FilesystemAgents:
    """The agents in a `FilesystemStore`."""

    def __init__(self, store: FilesystemStore, checkpoints: FilesystemCheckpoints) -> None:
        self._store = store
        self._checkpoints = checkpoints

    # --- transitions ------------------------------------------------------------------------------------------------
    async def create(self, start: StartRecord) -> Created | Exists:
        """Store the start record, durably. The same origin again is not fresh; another one `Exists`."""
        folder = self._store.folder(start.agent)
        with translated(folder):
            make_folder(folder)
            if create_durably(self._store.start_path(start.agent), start.to_json().encode()):
                return Created(None, fresh=True)
        view = await self.describe(start.agent)
        if view is None:
            raise UnknownAgent(start.agent)
        if view.start.origin != start.origin:
            return Exists(start.agent, view.status, view.start)
        return Created(None, fresh=False)

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
                return Created(None, fresh=True)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
        shutil.rmtree(made, ignore_errors=True)
        return await self.create(start)

    async def lock(self, agent: AgentId, *, at: int | None = None, choice: Choice = Choice.RESUME) -> Lock:
        """Own *agent*, to go on from its newest checkpoint or from number *at*, as *choice* says. For a stopped one, too.

        One that is restarted, or taken back to an earlier checkpoint, is another agent from now on: it has a new birth.
        Raises `UnknownAgent`, `UnknownCheckpoint`, `AgentLocked` (naming the process).
        """
        start = self._start(agent)
        if start is None:
            raise UnknownAgent(agent)
        with translated(self._store.folder(agent)):
            owner, entries = self._store.take(agent)
        try:
            resume_from = _from(agent, entries, at, choice)
            states = [entry.id for entry in entries if not _is_end(entry)]
            if states and (resume_from is None or resume_from < states[-1]):
                if choice is Choice.RESTART:
                    self._store.events_path(agent).unlink(missing_ok=True)
                birth = max(time.time_ns() // 1_000_000, owner.birth + 1, start.created_ms + 1)
                owner = replace(owner, birth=birth)
                with translated(self._store.folder(agent)):
                    self._store.set_owner(agent, owner)
        except BaseException:
            self._store.let_go(agent, owner.fence)
            raise
        session = SessionId(f"{os.getpid()}-{new_session_id()}")
        return Lock(
            agent, owner.fence, session, new_nonce(), start.queue, resume_from, owner.attempts, start, choice,
            birth=owner.birth or start.created_ms,
        )  # fmt: skip

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
        answer = await self._checkpoints.save(lock, final, oldest=CheckpointId(0, 0))
        if read is not None and isinstance(answer, Saved):
            inbox = self._store.inbox(lock.agent)
            with translated(self._store.folder(lock.agent)), inbox.locked():  # no letter is accepted from here on
                if any(mail.place > read for mail in inbox.read(lock.birth).mail):
                    return Unread(lock.agent)
        self._store.let_go(lock.agent, lock.fence)
        return Gone(lock.agent) if isinstance(answer, Lost) else Done()

    async def stop(self, lock: Lock, status: Status, why: str) -> Done | Gone:
        """Set the agent aside and say why; its checkpoints are kept, and the OS lock is let go."""
        step_to(status)
        if lock.agent not in self._store.held or self._store.held[lock.agent].fence != lock.fence:
            stopped = self._stopped(lock.agent)
            again = stopped is not None and (stopped.status, stopped.fence) == (status, lock.fence)
            return Done() if again else Gone(lock.agent)
        record = {"format": 1, "status": status, "why": why, "fence": lock.fence}
        with translated(self._store.folder(lock.agent)):
            write_durably(self._store.stopped_path(lock.agent), json.dumps(record).encode())
        self._store.let_go(lock.agent, lock.fence)
        return Done()

    async def delete(self, agent: AgentId) -> Done | Gone:
        """Forget everything about *agent*: its folder goes as a whole. Raises `AgentLocked` while a process runs it."""
        if self._start(agent) is None:
            return Gone(agent)
        with translated(self._store.folder(agent)):
            self._store.remove(agent)
        return Done()

    # --- views ------------------------------------------------------------------------------------------------------
    def birth(self, agent: AgentId) -> int | None:
        start = self._start(agent)
        if start is None:
            return None
        with translated(self._store.folder(agent)):
            return self._store.owner(agent).birth or start.created_ms

    def standing(self, agent: AgentId) -> Standing | None:
        birth = self.birth(agent)
        if birth is None:
            return None
        with translated(self._store.folder(agent)):
            newest, fence, holder = self._store.newest(agent), self._store.owner(agent).fence, self._store.holder(agent)
        return Standing(self._status(agent, newest, fence, holder)[0], birth)

    async def describe(self, agent: AgentId) -> AgentView | None:
        """Where *agent* stands, by what lies in its folder; nothing is verified. While it runs, ``why`` says where."""
        start = self._start(agent)
        if start is None:
            return None
        with translated(self._store.folder(agent)):
            holder = self._store.holder(agent)
            owner = self._store.owner(agent)
            newest = self._store.newest(agent)
            birth = owner.birth or start.created_ms
        try:
            mail = len(self._store.inbox(agent).read(birth).mail)
        except StorageFailed as error:  # whoever reads the mail is told; the agent can still be looked at
            log.warning("inbox not readable", agent=agent, reason=str(error))
            mail = 0
        status, why = self._status(agent, newest, owner.fence, holder)
        return AgentView(
            agent=agent,
            status=status,
            fence=owner.fence,
            start=start,
            attempts=owner.attempts,
            why=why,
            last=None if newest is None else newest.id,
            header=b"" if newest is None else newest.header,
            birth=birth,
            mail=mail,
        )

    async def agents(self) -> Sequence[AgentId]:
        """All agents that were started here, in no order."""
        with translated(self._store.root):
            try:
                names = os.listdir(self._store.root)
            except FileNotFoundError:
                return []
            return [
                AgentId(name) for name in names if _is_agent_id(name) and self._store.start_path(AgentId(name)).exists()
            ]

    async def standings(self) -> Mapping[AgentId, Standing]:
        """The same, with where each stands."""
        found = {agent: self.standing(agent) for agent in await self.agents()}
        return {agent: standing for agent, standing in found.items() if standing is not None}

    async def newest(self, program: str) -> AgentId | None:
        """The newest agent of *program* that has not ended, else its newest one, else None. (Not one that another has
        spawned: that goes on with its run.)"""
        starts = []
        for agent in await self.agents():
            try:
                start = self._start(agent)
            except StorageFailed as error:  # one that somebody has damaged does not stand in the way of the others
                log.warning("agent skipped", agent=agent, reason=str(error))
                continue
            if start is not None and start.program == program and not start.run:
                starts.append(start)
        starts.sort(key=lambda start: (start.created_ms, start.agent), reverse=True)
        for start in starts:
            view = await self.describe(start.agent)
            if view is not None and view.status not in FINAL:
                return start.agent
        return starts[0].agent if starts else None

    def _start(self, agent: AgentId) -> StartRecord | None:
        path = self._store.start_path(agent)
        with translated(path):
            try:
                return StartRecord.from_json(path.read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                return None
            except (ValueError, LookupError, TypeError) as error:
                raise StorageFailed(
                    f"{path} is not a start record: {error!r}; restore it, or remove its folder"
                ) from error

    def _status(self, agent: AgentId, newest: Entry | None, fence: int, holder: str | None) -> tuple[Status, str]:
        if newest is not None and newest.header:
            try:
                kind = read_header(newest.header).kind
            except ValueError:
                kind = "step"
            if kind in _ENDS:
                return _ENDS[kind], ""
        if holder is not None:
            return Status.RUNNING, f"in {holder}"
        stopped = self._stopped(agent)
        if stopped is not None and stopped.fence == fence:
            return stopped.status, stopped.why
        return Status.READY, ""

    def _stopped(self, agent: AgentId) -> _Stopped | None:
        try:
            data = json.loads(self._store.stopped_path(agent).read_bytes())
            return _Stopped(Status(data["status"]), str(data["why"]), int(data["fence"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, LookupError, TypeError):
            return None


def _from(agent: AgentId, entries: Sequence[Entry], at: int | None, choice: Choice) -> CheckpointId | None:
    if choice is Choice.RESTART:
        return None
    if at is None:
        if choice is Choice.ACCEPT_CHANGED:  # of one that has failed, the checkpoint before its end
            entries = [entry for entry in entries if not _is_end(entry)]
        return entries[-1].id if entries else None
    for entry in entries:
        if entry.id.seq == at:
            return entry.id
    raise UnknownCheckpoint(agent, at, [entry.id.seq for entry in entries])


def _is_end(entry: Entry) -> bool:
    try:
        return read_header(entry.header).kind in _ENDS
    except ValueError:
        return False


def _is_agent_id(name: str) -> bool:
    try:
        agent_id(name)
    except InvalidAgentId:
        return False
    return True
