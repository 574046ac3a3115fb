"""The contract of checkpoints, kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

from playbooks_providers.answer import Answer
from playbooks_providers.envelope import read_header
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.memory.store import AgentRecord, MemoryStore
from playbooks_providers.model import Entry, Lock, Lost, Saved, Status


class MemoryCheckpoints:
    """`contracts.Checkpoints` over a `MemoryStore`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Awaitable[Saved | Lost]:
        if not self._store.reachable:
            return self._save_later(lock, entry, oldest)
        answer: Answer[Saved | Lost] = Answer(asyncio.get_running_loop())
        answer.set_result(self._save(lock, entry, oldest))
        return answer

    async def _save_later(self, lock: Lock, entry: Entry, oldest: CheckpointId) -> Saved | Lost:
        await self._store.until_reachable()
        return self._save(lock, entry, oldest)

    def _save(self, lock: Lock, entry: Entry, oldest: CheckpointId) -> Saved | Lost:
        agent = self._store.agents.get(lock.agent)
        if agent is None:
            return Lost(lock.agent)
        there = agent.entries.get(entry.id)
        if there is not None:  # refused, so read back: is it mine?
            return Saved(entry.id) if read_header(there.header).nonce == lock.nonce else Lost(lock.agent)
        if agent.status is not Status.RUNNING or agent.fence != lock.fence or entry.id <= agent.last:
            return Lost(lock.agent)
        agent.entries[entry.id] = entry
        agent.last = entry.id
        _trim(agent, oldest)
        return Saved(entry.id)

    async def load(self, agent: AgentId, at: CheckpointId | None = None) -> Entry | None:
        self._store.require()
        record = self._store.agents.get(agent)
        if record is None:
            return None
        return record.newest if at is None else record.entries.get(at)

    async def load_many(self, agent: AgentId, ids: Sequence[CheckpointId]) -> Sequence[Entry]:
        self._store.require()
        record = self._store.agents.get(agent)
        return [] if record is None else [record.entries[id] for id in ids if id in record.entries]

    async def list(self, agent: AgentId) -> Sequence[Entry]:
        self._store.require()
        record = self._store.agents.get(agent)
        return [] if record is None else [Entry(entry.id, entry.header, b"") for entry in record.entries.values()]

    async def cleanup(self, lock: Lock, *, oldest: CheckpointId) -> None:
        await self._store.until_reachable()
        agent = self._store.agents.get(lock.agent)
        if agent is not None and agent.fence == lock.fence:
            _trim(agent, oldest)

    async def delete(self, agent: AgentId) -> None:
        self._store.require()
        record = self._store.agents.get(agent)
        if record is not None:
            record.entries.clear()

    async def keep_sources(self, sources: Mapping[str, str]) -> None:
        self._store.require()
        self._store.sources.update(sources)

    async def source(self, fingerprint: str) -> str | None:
        self._store.require()
        return self._store.sources.get(fingerprint)


def _trim(agent: AgentRecord, oldest: CheckpointId) -> None:
    entries = agent.entries  # in order, so the ones to forget are the first
    while entries:
        first = next(iter(entries))
        if first >= oldest:
            return
        del entries[first]
