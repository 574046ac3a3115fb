"""What agents tell people, kept in files: `events.log` of each, one line an event, for people and not for recovery.

Nothing is synced to the disk: what a power cut takes was a sentence. Only the owner writes, whole lines at the end; a line
that a kill has torn is passed over. The file is written anew, whole under another name, when it has twice as many lines, or
bytes, as are kept. A line is JSON: fence, number, body.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playbooks_providers.errors import StorageFull
from playbooks_providers.events import BEGINNING, Event, EventPlace
from playbooks_providers.filesystem.files import TEMP_SUFFIX, translated
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.ids import AgentId
from playbooks_providers.model import Done, Gone, Lock

_LOOK_EVERY_S = 0.1
_MOST_BYTES = 8 << 20  # that are kept, about


@dataclass(slots=True)
class _Written:
    """What this owner knows of its file."""

    fence: int
    lines: int
    last: EventPlace


@dataclass(frozen=True, slots=True)
class _Read:
    """Up to where a reader has read: *after* stands right before byte *end* of the file *inode*."""

    inode: int
    end: int
    after: EventPlace


class FilesystemEvents:
    """`contracts.Events` over a `FilesystemStore`."""

    def __init__(self, store: FilesystemStore) -> None:
        self._store = store
        self._written: dict[AgentId, _Written] = {}
        self._read: dict[AgentId, _Read] = {}

    async def emit(self, lock: Lock, events: Sequence[Event], *, keep: int) -> Done | Gone:
        held = self._store.held.get(lock.agent)
        if held is None or held.fence != lock.fence:
            return Gone(lock.agent)
        path = self._path(lock.agent)
        try:
            with translated(path):
                self._append(path, lock, events, keep)
        except StorageFull:
            return Done()  # the agent's own checkpoints say what is to be done; nobody waits for room for a sentence
        return Done()

    async def emitted(self, agent: AgentId, after: EventPlace, *, limit: int, wait_s: float = 0.0) -> Sequence[Event]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            with translated(self._store.folder(agent)):
                found = self._behind(agent, after, limit)
            left_s = deadline - loop.time()
            if found or left_s <= 0:
                return found
            await asyncio.sleep(min(left_s, _LOOK_EVERY_S))

    # --- writing ----------------------------------------------------------------------------------------------------
    def _append(self, path: Path, lock: Lock, events: Sequence[Event], keep: int) -> None:
        known = self._written.get(lock.agent)
        if known is None or known.fence != lock.fence:
            there = _events(path)
            known = _Written(lock.fence, len(there), there[-1].place if there else BEGINNING)
            self._written[lock.agent] = known
        fresh = [event for event in events if event.place > known.last]
        if not fresh:
            return
        with open(path, "ab+") as file:
            size = file.tell()
            torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" * torn + b"".join(map(_line, fresh)))
            size = file.tell()
        known.last = fresh[-1].place
        known.lines += len(fresh)
        if known.lines > 2 * keep or size > 2 * _MOST_BYTES:
            known.lines = _rewritten(path, keep)

    # --- reading ----------------------------------------------------------------------------------------------------
    def _behind(self, agent: AgentId, after: EventPlace, limit: int) -> list[Event]:
        path = self._path(agent)
        if not path.exists():
            return []
        found: list[Event] = []
        with open(path, "rb") as file:
            status, known = os.fstat(file.fileno()), self._read.get(agent)
            if (
                known is not None
                and (known.inode, known.after) == (status.st_ino, after)
                and known.end <= status.st_size
            ):
                file.seek(known.end)
            end = file.tell()
            for line in file:
                if not line.endswith(b"\n") or len(found) == limit:
                    break
                end += len(line)
                event = _event(line)
                if event is not None and event.place > after:
                    found.append(event)
        self._read[agent] = _Read(status.st_ino, end, found[-1].place if found else after)
        return found

    def _path(self, agent: AgentId) -> Path:
        return self._store.events_path(agent)


def _line(event: Event) -> bytes:
    return json.dumps([*event.place, event.body.decode("utf-8", "surrogateescape")]).encode() + b"\n"


def _event(line: bytes) -> Event | None:
    try:
        fence, number, body = json.loads(line)
        return Event(EventPlace(int(fence), int(number)), str(body).encode("utf-8", "surrogateescape"))
    except (ValueError, TypeError):
        return None


def _events(path: Path) -> list[Event]:
    try:
        return [event for line in path.read_bytes().splitlines() if (event := _event(line)) is not None]
    except FileNotFoundError:
        return []


def _rewritten(path: Path, keep: int) -> int:
    """Keep the newest; answers how many those are."""
    lines: list[bytes] = []
    room = _MOST_BYTES
    for event in reversed(_events(path)[-keep:]):
        line = _line(event)
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
    temp = path.with_name(f".{path.name}{TEMP_SUFFIX}")
    temp.write_bytes(b"".join(reversed(lines)))
    temp.rename(path)
    return len(lines)
