"""The in-memory home keeps both contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from playbooks_providers.clock import ManualClock
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.testing import CheckpointsKit, CoordinatedHome, CoordinationKit, OutageKit


@dataclass(frozen=True, slots=True)
class BreakableHome(CoordinatedHome):
    store: MemoryStore = field(default_factory=MemoryStore)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        with self.store.outage():
            yield


@asynccontextmanager
async def opened() -> AsyncIterator[BreakableHome]:
    clock = ManualClock()
    store = MemoryStore(clock)
    yield BreakableHome(MemoryCheckpoints(store), MemoryCoordination(store), clock.advance, store)


class TestMemoryCheckpoints(CheckpointsKit):
    home = staticmethod(opened)


class TestMemoryCoordination(CoordinationKit):
    home = staticmethod(opened)


class TestMemoryOutage(OutageKit):
    home = staticmethod(opened)
