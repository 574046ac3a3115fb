"""The filesystem home keeps the contracts of checkpoints, inboxes, orders and events, and of agents as far as it goes."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playbooks_providers.filesystem import FilesystemCoordination
from playbooks_providers.ids import AgentId, new_nonce, new_session_id
from playbooks_providers.model import Created, Lock, Status, Taken, Ticket
from playbooks_providers.testing import (
    CheckpointsKit,
    CrossingKit,
    EndingKit,
    EventsKit,
    LettersKit,
    OrdersKit,
    RetryKit,
    start_record,
)


class FilesystemHome:
    """One folder. A new owner takes over as if the process of the one before had died."""

    statuses = tuple(set(Status) - {Status.WAITING, Status.QUARANTINED})

    def __init__(self, root: Path) -> None:
        self.coordination, self.checkpoints = FilesystemCoordination.open(root)
        self.inboxes = self.events = self.coordination
        self._owners: dict[AgentId, Lock] = {}

    async def own(self, agent: AgentId) -> Lock:
        await self._died(agent)
        created = await self.coordination.create(start_record(agent))
        assert isinstance(created, Created) and created.ticket is not None
        return await self.take(created.ticket)

    async def take(self, ticket: Ticket) -> Lock:
        await self._died(ticket.agent)
        taken = await self.coordination.take(ticket, new_session_id(), new_nonce())
        assert isinstance(taken, Taken), taken
        self._owners[ticket.agent] = taken.lock
        return taken.lock

    async def _died(self, agent: AgentId) -> None:
        if agent in self._owners:
            await self.coordination.release(self._owners.pop(agent), "its process died")


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


class TestFilesystemOrders(OrdersKit):
    home = staticmethod(opened)


class TestFilesystemCrossings(CrossingKit):
    home = staticmethod(opened)
    every = 7  # it writes durably


class TestFilesystemEnds(EndingKit):
    home = staticmethod(opened)


class TestFilesystemRetries(RetryKit):
    home = staticmethod(opened)
