"""The contract of checkpoints, kept in files: one a checkpoint, written whole under another name and then renamed.

A save is fenced twice: this process must hold the agent's OS lock, and `owner.json` must still name its fence. A full disk
is waited for (whoever made this may be told, and stop the agent). A file that is torn, empty or garbage hides nothing: it is
listed and loaded as it is, and does not verify when it is opened (a damaged one is listed with an empty header).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from playbooks_providers.envelope import read_header
from playbooks_providers.errors import StorageFull
from playbooks_providers.filesystem.files import make_folder, translated, write_durably
from playbooks_providers.filesystem.format import pack
from playbooks_providers.filesystem.store import FilesystemStore, Held
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Entry, Lock, Lost, Saved

log = structlog.get_logger()


class FilesystemCheckpoints:
    """`contracts.Checkpoints` over a `FilesystemStore`. A full disk is tried again every *retry_s* seconds.

    *full* is told once per save that waits for room, instead of the log: it may stop the agent.
    """

    def __init__(
        self, store: FilesystemStore, *, retry_s: float = 1.0, full: Callable[[StorageFull], None] | None = None
    ) -> None:
        self._store = store
        self._retry_s = retry_s
        self._full = full

    async def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Saved | Lost:
        waiting = False
        while True:
            try:
                # In a thread: an fsync takes milliseconds, in which the agent's other branches go on.
                return await asyncio.to_thread(self._save, lock, entry, oldest)
            except StorageFull as error:
                if not waiting and self._full is not None:
                    self._full(error)
                elif not waiting:
                    log.warning("storage full, waiting", agent=lock.agent, checkpoint=str(entry.id), reason=str(error))
                waiting = True
                await asyncio.sleep(self._retry_s)

    async def load(self, agent: AgentId, at: CheckpointId | None = None) -> Entry | None:
        with translated(self._store.folder(agent)):
            if at is not None:
                return self._at(agent, at)
            while (newest := self._store.newest(agent)) is not None:
                entry = self._at(agent, newest.id)
                if entry is not None:  # else trimmed since, by an owner that has written a newer one
                    return entry
        return None

    async def load_many(self, agent: AgentId, ids: Sequence[CheckpointId]) -> Sequence[Entry]:
        with translated(self._store.folder(agent)):
            found = [self._at(agent, id) for id in ids]
        return [entry for entry in found if entry is not None]

    async def list(self, agent: AgentId) -> Sequence[Entry]:
        with translated(self._store.folder(agent)):
            return self._store.entries(agent)

    async def cleanup(self, lock: Lock, *, oldest: CheckpointId) -> None:
        held = self._store.held.get(lock.agent)
        if held is not None and held.fence == lock.fence:
            await asyncio.to_thread(self._forget, lock.agent, held, oldest)

    async def delete(self, agent: AgentId) -> None:
        with translated(self._store.folder(agent)):
            for number in self._store.numbers(agent):
                self._store.checkpoint_path(agent, number).unlink(missing_ok=True)

    async def keep_sources(self, sources: Mapping[str, str]) -> None:
        folder = self._store.source_path("").parent
        with translated(folder):
            for fingerprint, text in sources.items():
                path = self._store.source_path(fingerprint)
                if not path.exists():
                    make_folder(folder)
                    write_durably(path, text.encode())

    async def source(self, fingerprint: str) -> str | None:
        path = self._store.source_path(fingerprint)
        with translated(path):
            try:
                return path.read_text(encoding="utf-8")
            except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
                return None

    def _at(self, agent: AgentId, id: CheckpointId) -> Entry | None:
        entry = self._store.entry(agent, id.seq)
        if entry is not None and entry.id != id:
            # Damaged beyond its fence: still what was asked for, and it will not verify. Else a stranger to this id.
            return None if entry.header else Entry(id, b"", b"")
        return entry

    def _save(self, lock: Lock, entry: Entry, oldest: CheckpointId) -> Saved | Lost:
        folder = self._store.folder(lock.agent)
        held = self._store.held.get(lock.agent)
        if held is None or held.fence != lock.fence:
            with translated(folder):
                return self._read_back(lock, entry)
        with held.writing, translated(folder):
            if held.over or self._store.owner(lock.agent).fence != lock.fence:
                return self._read_back(lock, entry)
            if held.kept and entry.id.seq <= held.kept[-1].seq:
                return self._read_back(lock, entry)
            write_durably(self._store.checkpoint_path(lock.agent, entry.id.seq), pack(entry))
            held.kept.append(entry.id)
        self._forget(lock.agent, held, oldest)
        return Saved(entry.id)

    def _read_back(self, lock: Lock, entry: Entry) -> Saved | Lost:
        """Refused: unless it was this very owner that had written it before."""
        there = self._store.entry(lock.agent, entry.id.seq)
        if there is None or there.id != entry.id:
            return Lost(lock.agent)
        try:
            mine = read_header(there.header).nonce == lock.nonce
        except ValueError:
            return Lost(lock.agent)
        return Saved(entry.id) if mine else Lost(lock.agent)

    def _forget(self, agent: AgentId, held: Held, oldest: CheckpointId) -> None:
        """Older files go only after the newer one is durable. One that cannot be removed stays until the next time."""
        with held.writing:
            if held.over:
                return
            for old in [id for id in held.kept if id < oldest]:
                try:
                    self._store.checkpoint_path(agent, old.seq).unlink(missing_ok=True)
                except OSError as error:
                    log.warning("old checkpoint not removed", agent=agent, checkpoint=str(old), reason=str(error))
                    return
                held.kept.remove(old)
