"""Checkpoints of a run that keeps none (`durability.enabled = false`): each is forgotten at once, but for the last.

An agent's last entry holds its result, which whoever waits for it reads. Made by `run`; a life does not know the difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

from playbooks_providers.answer import Answer
from playbooks_providers.contracts import Checkpoints
from playbooks_providers.envelope import read_header
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Entry, Lock, Lost, Saved


class Unkept:
    """`contracts.Checkpoints`, of which *ends* gets the last entries."""

    def __init__(self, ends: Checkpoints) -> None:
        self._ends = ends

    def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Awaitable[Saved | Lost]:
        if read_header(entry.header).kind != "step":
            return self._ends.save(lock, entry, oldest=entry.id)
        answer: Answer[Saved | Lost] = Answer(asyncio.get_running_loop())
        answer.set_result(Saved(entry.id))
        return answer

    async def load(self, agent: AgentId, at: CheckpointId | None = None) -> Entry | None:
        return await self._ends.load(agent, at)

    async def load_many(self, agent: AgentId, ids: Sequence[CheckpointId]) -> Sequence[Entry]:
        return await self._ends.load_many(agent, ids)

    async def list(self, agent: AgentId) -> Sequence[Entry]:
        return await self._ends.list(agent)

    async def cleanup(self, lock: Lock, *, oldest: CheckpointId) -> None:
        """There is nothing to trim."""

    async def delete(self, agent: AgentId) -> None:
        await self._ends.delete(agent)

    async def keep_sources(self, sources: Mapping[str, str]) -> None:
        """Nothing is ever resumed, so no playbook can have changed since."""

    async def source(self, fingerprint: str) -> str | None:
        return None
