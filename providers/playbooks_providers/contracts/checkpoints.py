"""The contract of an agent's history. A part of `contracts`, where the law for all of them is."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Entry, Lock, Lost, Saved


class Checkpoints(Protocol):
    """The history of each agent. Only the holder of the agent's lock writes; anybody reads."""

    def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Awaitable[Saved | Lost]:
        """Append *entry* (``entry.id.fence == lock.fence``, seq greater than the last), then forget all before *oldest*.

        Durable when it answers `Saved`. Raises `EntryTooLarge` for what the store can never take. At most one unacknowledged
        entry per agent may be under way. A coroutine will do; an `Answer` spares the task that it would need.
        """

    async def load(self, agent: AgentId, at: CheckpointId | None = None) -> Entry | None:
        """The checkpoint *at*, or the newest one; None when there is none. Nothing is verified here."""

    async def load_many(self, agent: AgentId, ids: Sequence[CheckpointId]) -> Sequence[Entry]:
        """Those of *ids* that are there, in any order, in one go: what a delta needs to be opened."""

    async def list(self, agent: AgentId) -> Sequence[Entry]:
        """The kept checkpoints, oldest first, with empty payloads (headers are enough to describe them)."""

    async def cleanup(self, lock: Lock, *, oldest: CheckpointId) -> None:
        """Forget the checkpoints before *oldest*."""

    async def delete(self, agent: AgentId) -> None:
        """Forget every checkpoint of *agent*. Idempotent."""

    async def keep_sources(self, sources: Mapping[str, str]) -> None:
        """Keep the texts of playbooks that checkpoints name by these fingerprints; once kept, for good. Idempotent.

        Nothing that goes wrong here may cost more than a diff: nobody signs them, and whoever reads one looks whether it
        has the fingerprint that it was kept under."""

    async def source(self, fingerprint: str) -> str | None:
        """The text kept under *fingerprint*, or None."""
