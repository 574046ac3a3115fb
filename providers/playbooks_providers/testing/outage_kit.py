"""The conformance kit for the time in which a store cannot be reached. For homes whose store can be taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from playbooks_providers.contracts import Coordination
from playbooks_providers.errors import Unreachable
from playbooks_providers.ids import AgentId, CheckpointId, SessionId
from playbooks_providers.model import Saved
from playbooks_providers.testing.homes import Home, Kit, entry, start_record, story

A = AgentId("a1")
S = SessionId("s1")


class Breakable(Home, Protocol):
    """A home whose store can be made unreachable."""

    @property
    def coordination(self) -> Coordination: ...

    def outage(self) -> AbstractAsyncContextManager[None]:
        """Open: the store is gone. Closed: it is back, with all that it had acknowledged."""


async def unreachable(request: Awaitable[object]) -> bool:
    try:
        await request
    except Unreachable:
        return True
    return False


class OutageKit(Kit[Breakable]):
    """Subclass it and give it a `home`."""

    @story
    async def test_reads_and_transitions_raise_unreachable(self, home: Breakable) -> None:
        await home.own(A)
        async with home.outage():
            requests: list[Awaitable[object]] = [
                home.checkpoints.load(A),
                home.checkpoints.list(A),
                home.coordination.describe(A),
                home.coordination.create(start_record("a2")),
                home.coordination.sessions(),
                home.coordination.beat([S]),
                home.coordination.read(S, ["q"], limit=1, wait_s=0.1),
                home.coordination.fire_due(limit=10),
                home.coordination.ping(),
            ]
            assert [await unreachable(request) for request in requests] == [True] * len(requests)

    @story
    async def test_a_save_waits_for_the_store_and_then_answers(self, home: Breakable) -> None:
        lock = await home.own(A)
        saved = entry(lock, 1)
        async with home.outage():
            save = asyncio.ensure_future(home.checkpoints.save(lock, saved, oldest=saved.id))
            done, _ = await asyncio.wait([save], timeout=0.3)
            assert not done
        assert await save == Saved(saved.id)
        assert await home.checkpoints.load(A) == saved

    @story
    async def test_a_waiting_save_is_ended_by_cancelling_its_task(self, home: Breakable) -> None:
        lock = await home.own(A)
        async with home.outage():
            save = asyncio.ensure_future(home.checkpoints.save(lock, entry(lock, 1), oldest=CheckpointId(0, 0)))
            await asyncio.wait([save], timeout=0.1)
            save.cancel()
            await asyncio.wait([save], timeout=10)
            assert save.cancelled()

    @story
    async def test_after_an_outage_everything_goes_on(self, home: Breakable) -> None:
        lock = await home.own(A)
        await home.checkpoints.save(lock, entry(lock, 1), oldest=CheckpointId(0, 0))
        async with home.outage():
            assert await unreachable(home.coordination.ping())
        await home.coordination.ping()
        assert await home.checkpoints.save(lock, entry(lock, 2), oldest=CheckpointId(0, 0)) == Saved(
            CheckpointId(lock.fence, 2)
        )
