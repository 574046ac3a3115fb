"""The conformance kit of `contracts.Events`: told once, in order, by the owner alone, and bounded.

`EventsKit` is for any home; `EventLivesKit`, a part of the coordination kit, says what becomes of events when agents end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from playbooks_providers.contracts import Events
from playbooks_providers.events import BEGINNING, Event, EventPlace
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Choice, Done, Gone, Lock, Status
from playbooks_providers.testing.agents_kit import A, minted, save
from playbooks_providers.testing.homes import CoordinatedHome, Kit, entry, story

KEEP = 1000
ALL = 100_000


class HomeOfEvents(Protocol):
    @property
    def events(self) -> Events: ...

    async def own(self, agent: AgentId) -> Lock: ...


def events(lock: Lock, *numbers: int) -> list[Event]:
    return [Event(EventPlace(lock.fence, number), b'{"event":%d}' % number) for number in numbers]


async def read(home: HomeOfEvents, after: EventPlace = BEGINNING) -> Sequence[Event]:
    return await home.events.emitted(A, after, limit=ALL)


class EventsKit(Kit[HomeOfEvents]):
    """Subclass it in a test module and say how to open a home."""

    @story
    async def test_events_are_read_from_the_start_or_behind_a_place(self, home: HomeOfEvents) -> None:
        lock = await home.own(A)
        told = events(lock, 1, 2, 3)
        assert await home.events.emit(lock, told[:2], keep=KEEP) == Done()
        assert await home.events.emit(lock, told[2:], keep=KEEP) == Done()
        assert list(await read(home)) == told
        assert list(await read(home, told[0].place)) == told[1:]
        assert list(await home.events.emitted(A, BEGINNING, limit=2)) == told[:2]
        assert list(await home.events.emitted(A, told[1].place, limit=2)) == told[2:]

    @story
    async def test_an_agent_that_told_nothing_or_is_unknown_has_no_events(self, home: HomeOfEvents) -> None:
        assert list(await read(home)) == []
        await home.own(A)
        assert list(await read(home)) == []

    @story
    async def test_what_is_told_again_is_there_once(self, home: HomeOfEvents) -> None:
        lock = await home.own(A)
        await home.events.emit(lock, events(lock, 1, 2), keep=KEEP)
        assert await home.events.emit(lock, events(lock, 1, 2, 3), keep=KEEP) == Done()
        assert list(await read(home)) == events(lock, 1, 2, 3)

    @story
    async def test_a_former_owner_tells_nothing_and_the_next_one_counts_from_one(self, home: HomeOfEvents) -> None:
        former = await home.own(A)
        await home.events.emit(former, events(former, 1, 2), keep=KEEP)
        owner = await home.own(A)
        assert await home.events.emit(former, events(former, 3), keep=KEEP) == Gone(A)
        assert await home.events.emit(owner, events(owner, 1), keep=KEEP) == Done()
        assert await home.events.emit(former, events(former, 3), keep=KEEP) == Gone(A)
        assert list(await read(home)) == events(former, 1, 2) + events(owner, 1)

    @story
    async def test_numbers_may_have_gaps(self, home: HomeOfEvents) -> None:
        lock = await home.own(A)
        await home.events.emit(lock, events(lock, 5, 9), keep=KEEP)
        await home.events.emit(lock, events(lock, 7, 12), keep=KEEP)
        assert list(await read(home)) == events(lock, 5, 9, 12)

    @story
    async def test_the_newest_are_kept(self, home: HomeOfEvents) -> None:
        lock = await home.own(A)
        for first in range(1, 2001, 100):
            await home.events.emit(lock, events(lock, *range(first, first + 100)), keep=50)
        kept = await read(home)
        assert list(kept) == events(lock, *range(1, 2001))[-len(kept) :]
        assert 50 <= len(kept) < 500

    @story
    async def test_a_reader_that_waits_is_answered_when_something_is_told(self, home: HomeOfEvents) -> None:
        lock = await home.own(A)
        await home.events.emit(lock, events(lock, 1), keep=KEEP)
        waiting = asyncio.ensure_future(home.events.emitted(A, EventPlace(lock.fence, 1), limit=ALL, wait_s=30.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        await home.events.emit(lock, events(lock, 2), keep=KEEP)
        async with asyncio.timeout(10):
            assert list(await waiting) == events(lock, 2)

    @story
    async def test_a_reader_does_not_wait_longer_than_it_wants_to(self, home: HomeOfEvents) -> None:
        lock = await home.own(A)
        async with asyncio.timeout(10):
            assert list(await home.events.emitted(A, EventPlace(lock.fence, 0), limit=ALL, wait_s=0.05)) == []

    @story
    async def test_bodies_are_any_bytes(self, home: HomeOfEvents) -> None:
        lock = await home.own(A)
        told = [Event(EventPlace(lock.fence, 1), bytes(range(256))), Event(EventPlace(lock.fence, 2), "ä\n".encode())]
        await home.events.emit(lock, told, keep=KEEP)
        assert list(await read(home)) == told


class EventLivesKit(Kit[CoordinatedHome]):
    """What becomes of the events of an agent that ends, is deleted, or goes on."""

    @story
    async def test_an_ended_agent_tells_nothing_more_but_what_it_told_is_there(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await home.events.emit(lock, events(lock, 1), keep=KEEP)
        await save(home, lock, 1)
        final = entry(lock, 2, b"", kind="completed", result=1)
        await home.checkpoints.save(lock, final, oldest=CheckpointId(lock.fence, 0))
        await home.coordination.finish(lock, Status.COMPLETED, final)
        assert await home.events.emit(lock, events(lock, 2), keep=KEEP) == Gone(A)
        assert list(await read(home)) == events(lock, 1)

    @story
    async def test_events_go_with_their_agent(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await home.events.emit(lock, events(lock, 1), keep=KEEP)
        await home.coordination.delete(A)
        assert list(await read(home)) == []
        assert await home.events.emit(lock, events(lock, 2), keep=KEEP) == Gone(A)
        await home.own(A)
        assert list(await read(home)) == []

    @story
    async def test_a_restarted_agent_begins_with_none_and_one_that_goes_on_keeps_them(
        self, home: CoordinatedHome
    ) -> None:
        lock = await home.own(A)
        await home.events.emit(lock, events(lock, 1), keep=KEEP)
        await home.coordination.stop(lock, Status.BLOCKED, "why")
        again = await home.take(minted(await home.coordination.retry(A, (await fence(home)), Choice.RESUME)))
        assert list(await read(home)) == events(lock, 1)
        await home.coordination.stop(again, Status.BLOCKED, "why")
        await home.coordination.retry(A, (await fence(home)), Choice.RESTART)
        assert list(await read(home)) == []


async def fence(home: CoordinatedHome) -> int:
    view = await home.coordination.describe(A)
    assert view is not None
    return view.fence
