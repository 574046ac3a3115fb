"""The filesystem home keeps the contracts of checkpoints, of inboxes and of events."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playbooks_providers.filesystem import (
    FilesystemAgents,
    FilesystemCheckpoints,
    FilesystemEvents,
    FilesystemInboxes,
    FilesystemStore,
)
from playbooks_providers.ids import AgentId
from playbooks_providers.model import Lock
from playbooks_providers.testing import CheckpointsKit, EventsKit, LettersKit, start_record


class FilesystemHome:
    """One folder. A new owner takes over as if the process of the one before had died."""

    def __init__(self, root: Path) -> None:
        store = FilesystemStore(root)
        self.checkpoints = FilesystemCheckpoints(store)
        self.agents = FilesystemAgents(store, self.checkpoints)
        self.inboxes = FilesystemInboxes(store, self.agents)
        self.events = FilesystemEvents(store)
        self._owners: dict[AgentId, Lock] = {}

    async def own(self, agent: AgentId) -> Lock:
        await self.agents.create(start_record(agent))
        if agent in self._owners:
            await self.agents.release(self._owners[agent], "its process died")
        self._owners[agent] = await self.agents.lock(agent)
        return self._owners[agent]


@asynccontextmanager
async def opened() -> AsyncIterator[FilesystemHome]:
    with tempfile.TemporaryDirectory(prefix="playbooks-test-") as folder:
        yield FilesystemHome(Path(folder, "checkpoints"))


class TestFilesystemCheckpoints(CheckpointsKit):
    home = staticmethod(opened)


class TestFilesystemInboxes(LettersKit):
    home = staticmethod(opened)


class TestFilesystemEvents(EventsKit):
    home = staticmethod(opened)
