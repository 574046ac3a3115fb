"""The folder, who owns which agent in it, and the OS locks that this process holds. Used by the two other modules here.

An agent is owned by holding an exclusive `flock` on its lock file, which the kernel ends with the process. Each time it
is taken, the fence in `owner.json` grows, durably, before anything is written under it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path

from playbooks_providers.errors import AgentLocked
from playbooks_providers.filesystem.files import TEMP_SUFFIX, make_folder, sync_folder, write_durably
from playbooks_providers.filesystem.format import PROLOGUE_BYTES, Prologue, read_prologue, unpack
from playbooks_providers.filesystem.inbox_file import InboxFile
from playbooks_providers.ids import AgentId, CheckpointId, agent_id
from playbooks_providers.model import Entry

_REMOVED = ".removed-"  # no agent's id begins like this
_PATIENCE_S = 0.25  # whoever looks whether an agent runs holds its lock for some microseconds


@dataclass(frozen=True, slots=True)
class Owner:
    """The newest owner of an agent, as `owner.json` names it. ``attempts``: takes since an owner last wrote.

    ``birth`` is when the agent was restarted or taken back to an earlier checkpoint, Unix time in milliseconds; 0: never,
    and then it was born when it was started. (Fences begin at 1 here, whoever bore the id before.)"""

    fence: int = 0
    attempts: int = 0
    birth: int = 0


@dataclass(slots=True)
class Held:
    """An OS lock that this process holds. ``writing`` is held for each write: letting go waits for the one under way."""

    fence: int
    fd: int
    kept: list[CheckpointId]
    writing: threading.Lock = field(default_factory=threading.Lock)
    over: bool = False


def _disown(store: FilesystemStore | None) -> None:
    """In a forked child, which would otherwise keep its parent's flocks alive after the parent's death."""
    if store is not None:
        for held in store.held.values():
            os.close(held.fd)
        store.held.clear()


class FilesystemStore:
    """One folder of agents. Share one per process between `FilesystemCheckpoints` and `FilesystemAgents`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.held: dict[AgentId, Held] = {}
        self._inboxes: dict[AgentId, InboxFile] = {}
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _disown(this()))

    # --- places -----------------------------------------------------------------------------------------------------
    def folder(self, agent: AgentId) -> Path:
        return self.root / agent_id(agent)  # checked again: it becomes part of a path

    def start_path(self, agent: AgentId) -> Path:
        return self.folder(agent) / "start.json"

    def stopped_path(self, agent: AgentId) -> Path:
        return self.folder(agent) / "stopped.json"

    def checkpoint_path(self, agent: AgentId, number: int) -> Path:
        return self.folder(agent) / f"{agent}_ckpt_{number}.pkl"

    def events_path(self, agent: AgentId) -> Path:
        return self.folder(agent) / "events.log"

    def source_path(self, fingerprint: str) -> Path:
        return self.root / ".sources" / f"{fingerprint}.json"

    def inbox(self, agent: AgentId) -> InboxFile:
        return self._inboxes.setdefault(agent, InboxFile(self.folder(agent)))

    # --- reading ----------------------------------------------------------------------------------------------------
    def numbers(self, agent: AgentId) -> list[int]:
        """The numbers of the checkpoints that have a file, whole or not, oldest first."""
        name = re.compile(re.escape(agent) + r"_ckpt_([0-9]{1,18})\.pkl")
        try:
            names = os.listdir(self.folder(agent))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(found[1]) for found in map(name.fullmatch, names) if found)

    def entries(self, agent: AgentId) -> list[Entry]:
        """Every checkpoint that has a file, oldest first, without payloads. A damaged one has an empty header.

        One whose fence cannot be read borrows that of the one before: ids stay in order.
        """
        found: list[Entry] = []
        for number in self.numbers(agent):
            entry = self._head(agent, number, found[-1].id.fence if found else 0)
            if entry is not None:
                found.append(entry)
        return found

    def newest(self, agent: AgentId) -> Entry | None:
        """The last of `entries`, for less."""
        while numbers := self.numbers(agent):
            entry = self._head(agent, numbers[-1], 0)
            if entry is not None:
                return entry if entry.header else self.entries(agent)[-1]
        return None

    def entry(self, agent: AgentId, number: int) -> Entry | None:
        """One checkpoint with its payload, as far as they are there. None when there is no file."""
        try:
            data = self.checkpoint_path(agent, number).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        prologue = self._prologue(data, number)
        if prologue is None:
            return Entry(CheckpointId(0, number), b"", b"")
        return Entry(prologue.id, *unpack(data, prologue))

    def owner(self, agent: AgentId) -> Owner:
        try:
            data = json.loads((self.folder(agent) / "owner.json").read_bytes())
            return Owner(int(data["fence"]), int(data["attempts"]), int(data["birth"]))
        except FileNotFoundError:
            return Owner()
        except (ValueError, LookupError, TypeError):  # not ours; fences in the checkpoints are still there
            return Owner()

    # --- the lock -----------------------------------------------------------------------------------------------------
    def holder(self, agent: AgentId) -> str | None:
        """The process that runs *agent* now, or None."""
        try:
            fd = os.open(self.folder(agent) / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(fd, 300).decode(errors="replace").strip() or "another process"
        else:
            return None
        finally:
            os.close(fd)

    def take(self, agent: AgentId) -> tuple[Owner, list[Entry]]:
        """Own *agent*: its OS lock, then the next fence. Also answers its checkpoints. Raises `AgentLocked`."""
        folder = self.folder(agent)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock_file(agent, fd)
            os.truncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            for left in folder.glob(f".*{TEMP_SUFFIX}"):  # of an owner that was killed while it wrote
                left.unlink(missing_ok=True)
            entries = self.entries(agent)
            before = self.owner(agent)
            newest = entries[-1].id.fence if entries else 0
            attempts = 1 if newest == before.fence else before.attempts + 1
            owner = Owner(max(before.fence, newest) + 1, attempts, before.birth)
            self.set_owner(agent, owner)
        except BaseException:
            os.close(fd)
            raise
        self.held[agent] = Held(owner.fence, fd, [entry.id for entry in entries])
        return owner, entries

    def set_owner(self, agent: AgentId, owner: Owner) -> None:
        record = {"format": 1, "fence": owner.fence, "attempts": owner.attempts, "birth": owner.birth}
        write_durably(self.folder(agent) / "owner.json", json.dumps(record).encode())

    def let_go(self, agent: AgentId, fence: int) -> None:
        """Give up the OS lock that was taken with *fence*. Idempotent; waits for a write that is under way."""
        held = self.held.get(agent)
        if held is None or held.fence != fence:
            return
        with held.writing:
            held.over = True
            del self.held[agent]
            os.close(held.fd)

    def remove(self, agent: AgentId) -> None:
        """The folder of *agent* is not there any more, whole or in part. Raises `AgentLocked`."""
        owner, _ = self.take(agent)
        gone = self.root / f"{_REMOVED}{agent}-{secrets.token_hex(4)}"
        try:
            self.folder(agent).rename(gone)
            sync_folder(self.root)
        finally:
            self.let_go(agent, owner.fence)
        self._inboxes.pop(agent, None)
        for left in self.root.glob(f"{_REMOVED}*"):  # this one, and one whose remover was killed
            shutil.rmtree(left, ignore_errors=True)

    def hidden(self, agent: AgentId) -> Path:
        """An empty folder beside that of *agent*, which is to become it."""
        made = (
            self.root / f"{_REMOVED}{agent}-{secrets.token_hex(4)}"
        )  # one whose maker was killed goes with the removed
        make_folder(made)
        return made

    def _lock_file(self, agent: AgentId, fd: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AgentLocked(agent, self.holder(agent) or "another process") from None
                time.sleep(_PATIENCE_S / 10)

    # --- one file -----------------------------------------------------------------------------------------------------
    def _head(self, agent: AgentId, number: int, fence_before: int) -> Entry | None:
        """Id and header of one checkpoint; without a header when it is damaged. None when it is gone by now."""
        try:
            with open(self.checkpoint_path(agent, number), "rb") as file:
                prologue = self._prologue(file.read(PROLOGUE_BYTES), number)
                if prologue is None:
                    return Entry(CheckpointId(fence_before, number), b"", b"")
                whole = os.fstat(file.fileno()).st_size == prologue.file_bytes
                return Entry(prologue.id, file.read(prologue.header_bytes) if whole else b"", b"")
        except FileNotFoundError:
            return None

    @staticmethod
    def _prologue(start: bytes, number: int) -> Prologue | None:
        prologue = read_prologue(start)
        return prologue if prologue is not None and prologue.id.seq == number else None
