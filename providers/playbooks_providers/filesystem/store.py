"""The folder, who owns which agent in it, and the OS locks that this process holds. Used by the two other modules here.

An agent is owned by holding an exclusive `flock` on its lock file, which the kernel ends with the process. Each time it
is taken, the fence in `owner.json` grows, durably, before anything is written under it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playbooks_providers.errors import AgentLocked
from playbooks_providers.filesystem.files import TEMP_SUFFIX, make_folder, sync_folder, write_durably
from playbooks_providers.filesystem.format import PROLOGUE_BYTES, Prologue, read_prologue, unpack
from playbooks_providers.filesystem.inbox_file import InboxFile
from playbooks_providers.filesystem.records import Holder, Left, Owner, Wanted
from playbooks_providers.ids import AgentId, CheckpointId, agent_id
from playbooks_providers.model import Entry

_REMOVED = ".removed-"  # no agent's id begins like this
_PATIENCE_S = 0.25  # whoever looks whether an agent runs holds its lock for some microseconds


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

    def left_path(self, agent: AgentId) -> Path:
        return self.folder(agent) / "left.json"

    def order_path(self, agent: AgentId) -> Path:
        return self.folder(agent) / "order.json"

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
        return Owner.from_json(_bytes(self.folder(agent) / "owner.json"))

    def left(self, agent: AgentId) -> Left | None:
        return Left.from_json(_bytes(self.left_path(agent)))

    def wanted(self, agent: AgentId) -> Wanted:
        return Wanted.from_json(_bytes(self.order_path(agent)))

    # --- the lock -----------------------------------------------------------------------------------------------------
    def holder(self, agent: AgentId) -> Holder | None:
        """The process that holds *agent* now, or None."""
        try:
            fd = os.open(self.folder(agent) / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Holder.from_text(os.read(fd, 300).decode(errors="replace"))
        else:
            return None
        finally:
            os.close(fd)

    def take(
        self,
        agent: AgentId,
        session: str,
        *,
        expected: int | None = None,
        changed: Callable[[Owner, list[Entry]], Owner | None] = lambda owner, entries: owner,
    ) -> tuple[Owner, list[Entry]] | None:
        """Own *agent*: its OS lock, then the next fence. Also answers its checkpoints. Raises `AgentLocked`.

        None, and nothing has changed: its fence is not *expected*, which is given by whoever has looked at the agent before;
        or *changed* says so, who is asked what the next owner is to be while no letter is accepted."""
        folder = self.folder(agent)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock_file(agent, fd)
            os.truncate(fd, 0)
            for left in folder.glob(f".*{TEMP_SUFFIX}"):  # of an owner that was killed while it wrote
                left.unlink(missing_ok=True)
            entries = self.entries(agent)
            newest = entries[-1].id.fence if entries else 0
            with self.inbox(agent).locked():  # who orders an owner away mints a fence, too
                before = self.owner(agent)
                owner = changed(before.next(newest, session), entries)
                if owner is None or expected not in (None, before.fence):
                    os.close(fd)
                    return None
                self.set_owner(agent, owner)
            os.pwrite(fd, Holder.text(os.getpid(), owner.fence).encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        self.held[agent] = Held(owner.fence, fd, [entry.id for entry in entries])
        return owner, entries

    def set_owner(self, agent: AgentId, owner: Owner) -> None:
        """The inbox is locked."""
        write_durably(self.folder(agent) / "owner.json", owner.to_json())

    def owns(self, agent: AgentId, fence: int) -> Held | None:
        """The OS lock that this process has taken with *fence*, while no newer fence was minted."""
        held = self.held.get(agent)
        return held if held is not None and held.fence == fence == self.owner(agent).fence else None

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
        taken = self.take(agent, "")
        assert taken is not None
        owner, _ = taken
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
                    holder = self.holder(agent)
                    raise AgentLocked(agent, holder.name if holder else "another process") from None
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


def _bytes(path: Path) -> bytes:
    """Of a small file of ours; nothing, when it is not there."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""
