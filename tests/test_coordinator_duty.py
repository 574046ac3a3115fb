"""A coordinator over the in-memory store, turn by turn, on a clock turned by hand: no processes, no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from playbooks_coordinator.duty import Coordinator, Timing
from playbooks_providers.clock import ManualClock
from playbooks_providers.errors import Unreachable
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.memory import MemoryCoordination, MemoryStore
from playbooks_providers.model import Created, Minted, SessionInfo, StartRecord, Status, Taken, Ticket
from playbooks_providers.testing import eventually


class World:
    """A store, its clock, and what workers and clients do to it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.coordination = MemoryCoordination(self.store)
        self.living: list[SessionId] = []

    def coordinator(self, name: str, coordination: MemoryCoordination | None = None, **timing: float) -> Coordinator:
        chosen = Timing(**{"tick_s": 0.25, "session_timeout_s": 5.0, "lease_s": 5.0, **timing})
        return Coordinator(coordination or self.coordination, Nonce(name), chosen, clock=self.clock)

    async def session(self, name: str) -> SessionId:
        session = SessionId(name)
        await self.coordination.register(SessionInfo(session, "worker", "host", 1, "build", 0))
        self.living.append(session)
        return session

    async def submit(self, name: str) -> Ticket:
        start = StartRecord(AgentId(name), "program", "main", [], {}, "queue", 0)
        created = await self.coordination.create(start)
        assert isinstance(created, Created) and created.ticket is not None
        await self.coordination.enqueue(created.ticket)
        return created.ticket

    async def take(self, session: SessionId) -> Taken:
        (ticket,) = await self.coordination.read(session, ["queue"], limit=1, wait_s=0)
        taken = await self.coordination.take(ticket, session, Nonce("n"))
        assert isinstance(taken, Taken)
        return taken

    async def turn(self, *coordinators: Coordinator, passes_s: float = 0.25, beats: bool = True) -> None:
        """Time passes; sessions beat; each coordinator campaigns, looks and acts once."""
        self.clock.advance(passes_s)
        if beats:
            try:
                await self.coordination.beat(self.living)
            except Unreachable:
                pass
        for coordinator in coordinators:
            await coordinator.election.campaign()
            await coordinator.look()
            await coordinator.act()

    async def turns(self, seconds: float, *coordinators: Coordinator) -> None:
        for _ in range(round(seconds / 0.25)):
            await self.turn(*coordinators)

    async def status(self, name: str) -> Status:
        view = await self.coordination.describe(AgentId(name))
        assert view is not None
        return view.status

    def queued(self) -> list[str]:
        return [ticket.agent for ticket in self.store.queues.get("queue", [])]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def events() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def named(events: list[Any], name: str) -> list[Any]:
    return [event for event in events if event["event"] == name]


def test_a_leader_publishes_the_timeout_that_every_heartbeat_reads_back(world: World) -> None:
    async def main() -> None:
        await world.turn(world.coordinator("one"))
        assert await world.coordination.beat([]) == (frozenset(), 5.0)

    asyncio.run(main())


def test_a_session_that_stops_beating_is_buried_and_its_agents_are_ready_for_others(
    world: World, events: list[Any]
) -> None:
    async def main() -> None:
        one = world.coordinator("one")
        dead, alive = await world.session("dead"), await world.session("alive")
        await world.submit("a1")
        await world.submit("a2")
        await world.take(dead)
        await world.take(alive)
        await world.turns(2.0, one)
        world.living.remove(dead)

        await world.turns(4.75, one)
        assert await world.status("a1") is Status.RUNNING
        await world.turns(0.5, one)

        assert await world.coordination.sessions() == {alive: pytest.approx(29)}
        assert await world.status("a1") is Status.READY
        assert await world.status("a2") is Status.RUNNING
        assert world.queued() == ["a1"]
        (buried,) = named(events, "session buried")
        assert (buried["session"], buried["silent_s"]) == ("dead", 5.0)
        (recovered,) = named(events, "agents recovered")
        assert (recovered["session"], recovered["count"], recovered["agents"]) == ("dead", 1, ["a1"])

    asyncio.run(main())


def test_an_event_names_at_most_twenty_agents_and_counts_all(world: World, events: list[Any]) -> None:
    async def main() -> None:
        one, dead = world.coordinator("one"), await world.session("dead")
        for number in range(25):
            await world.submit(f"a{number}")
            await world.take(dead)
        world.living.clear()
        await world.turns(6.0, one)
        (recovered,) = named(events, "agents recovered")
        assert recovered["count"] == 25
        assert recovered["agents"] == [f"a{number}" for number in range(20)]

    asyncio.run(main())


def test_a_session_that_beat_after_it_was_counted_dead_is_not_buried(world: World) -> None:
    async def main() -> None:
        one, late = world.coordinator("one"), await world.session("late")
        world.living.clear()
        await world.turns(5.0, one)
        world.clock.advance(0.25)
        await one.look()
        await world.coordination.beat([late])  # between the look and the burial
        await one.act()
        assert late in await world.coordination.sessions()

    asyncio.run(main())


def test_an_outage_of_the_store_kills_no_session_and_is_logged_once(world: World, events: list[Any]) -> None:
    async def main() -> None:
        one, session = world.coordinator("one"), await world.session("s")
        await world.turns(2.0, one)
        with world.store.outage():
            await world.turns(60.0, one)
        for _ in range(19):  # the worker needs its time to come back
            await world.turn(one, beats=False)
        assert session in await world.coordination.sessions()
        await world.turns(10.0, one)
        assert session in await world.coordination.sessions()
        assert len(named(events, "store lost")) == 1
        assert len(named(events, "store is back")) == 1
        assert not named(events, "session buried")

    asyncio.run(main())


def test_a_leader_that_was_stopped_past_the_timeout_kills_nobody_when_it_wakes(world: World) -> None:
    async def main() -> None:
        one, session = world.coordinator("one"), await world.session("s")
        await world.turns(2.0, one)
        await world.turn(one, passes_s=60.0, beats=False)
        assert session in await world.coordination.sessions()

    asyncio.run(main())


def test_one_leads_and_the_other_stands_by_until_the_lease_ends(world: World, events: list[Any]) -> None:
    async def main() -> None:
        one, two = world.coordinator("one"), world.coordinator("two")
        await world.turns(20.0, one, two)
        assert (one.leading, two.leading) == (True, False)

        await world.turns(4.75, two)  # one was killed
        assert not two.leading
        await world.turns(0.5, two)
        assert two.leading
        assert [event["nonce"] for event in named(events, "leader won")] == ["one", "two"]

        await world.turn(one, two)  # it was only stopped
        assert (one.leading, two.leading) == (False, True)
        (lost,) = named(events, "leader lost")
        assert (lost["nonce"], lost["reason"]) == ("one", "another coordinator leads")

    asyncio.run(main())


def test_a_standby_buries_at_once_whom_it_watched_die(world: World) -> None:
    async def main() -> None:
        one, two, session = world.coordinator("one"), world.coordinator("two"), await world.session("s")
        await world.turns(1.0, one, two)
        world.living.clear()  # worker and leader die together
        await world.turns(5.25, two)
        assert two.leading
        assert session not in await world.coordination.sessions()

    asyncio.run(main())


def test_two_leaders_at_once_recover_an_agent_once(world: World) -> None:
    """Each in a world of its own lease: the worst that a split can do."""

    async def main() -> None:
        one, two = world.coordinator("one"), world.coordinator("two")
        dead = await world.session("dead")
        await world.submit("a1")
        await world.take(dead)
        world.living.clear()
        for _ in range(24):
            world.clock.advance(0.25)
            for coordinator in (one, two):
                world.store.lease = None
                await coordinator.election.campaign()
                await coordinator.look()
            await asyncio.gather(one.act(), two.act())
        assert world.queued() == ["a1"]

    asyncio.run(main())


def test_a_leader_whose_lease_runs_out_while_the_store_is_away_steps_down(world: World, events: list[Any]) -> None:
    async def main() -> None:
        one = world.coordinator("one")
        await world.turn(one)
        with world.store.outage():
            await world.turns(4.5, one)
            assert one.leading
            await world.turns(0.5, one)
            assert not one.leading
        assert "did not answer" in named(events, "leader lost")[0]["reason"]
        await world.turn(one)
        assert one.leading

    asyncio.run(main())


def test_a_coordinator_that_ends_resigns_so_that_the_standby_need_not_wait(world: World) -> None:
    async def main() -> None:
        one, two = world.coordinator("one"), world.coordinator("two")
        await world.turn(one, two)
        running = asyncio.create_task(one.run())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not one.leading
        await world.turn(two, passes_s=0.0)
        assert two.leading

    asyncio.run(main())


def test_tickets_held_by_a_session_that_is_gone_are_found_at_the_start(world: World, events: list[Any]) -> None:
    async def main() -> None:
        gone = await world.session("gone")
        await world.submit("a1")
        await world.take(gone)
        await world.coordination.bury(gone, None)  # and its remover died before it came to recover
        await world.turn(world.coordinator("one"))
        assert world.queued() == ["a1"]
        assert named(events, "agents recovered")[0]["session"] == "gone"

    asyncio.run(main())


def test_tickets_of_a_session_that_somebody_else_removed_half_way_are_found_at_the_next_tick(world: World) -> None:
    async def main() -> None:
        one, gone = world.coordinator("one"), await world.session("gone")
        await world.submit("a1")
        await world.take(gone)
        await world.turns(1.0, one)
        await world.coordination.bury(gone, None)
        await world.turn(one)
        assert world.queued() == ["a1"]

    asyncio.run(main())


def test_tickets_read_by_a_session_after_its_burial_are_found_within_a_timeout(world: World) -> None:
    async def main() -> None:
        one, gone = world.coordinator("one"), await world.session("gone")
        await world.turns(1.0, one)
        await world.coordination.bury(gone, None)
        await world.turns(1.0, one)
        await world.submit("a1")
        await world.take(gone)
        await world.turns(5.0, one)
        assert world.queued() == ["a1"]

    asyncio.run(main())


def test_a_recovery_that_an_outage_cut_short_is_finished_when_the_store_is_back(world: World) -> None:
    class Fragile(MemoryCoordination):
        broken = True

        async def recover(self, session: SessionId) -> Any:
            if self.broken:
                raise Unreachable("cut")
            return await super().recover(session)

    async def main() -> None:
        fragile = Fragile(world.store)
        one, dead = world.coordinator("one", fragile), await world.session("dead")
        await world.submit("a1")
        await world.take(dead)
        world.living.clear()
        await world.turns(5.5, one)
        assert await world.coordination.sessions() == {}
        assert world.queued() == []
        fragile.broken = False
        await world.turn(one)
        assert world.queued() == ["a1"]

    asyncio.run(main())


def test_an_agent_whose_delay_is_over_is_enqueued_at_the_next_tick(world: World, events: list[Any]) -> None:
    async def main() -> None:
        one, session = world.coordinator("one"), await world.session("s")
        ticket = await world.submit("a1")
        taken = await world.take(session)
        minted = await world.coordination.release(taken.lock, "no such program here", delay_s=2.0)
        assert isinstance(minted, Minted)
        await world.coordination.acknowledge(session, ticket)
        await world.turns(1.75, one)
        assert await world.status("a1") is Status.WAITING
        await world.turns(0.25, one)
        assert await world.status("a1") is Status.READY
        assert world.queued() == ["a1"]
        assert named(events, "agents due")[0]["agents"] == ["a1"]

    asyncio.run(main())


def test_an_agent_whose_creator_died_before_it_was_enqueued_is_enqueued_by_the_sweep(world: World) -> None:
    async def main() -> None:
        one = world.coordinator("one")
        await world.coordination.create(StartRecord(AgentId("a1"), "program", "main", [], {}, "queue", 0))
        await world.submit("a2")
        await world.turns(130.0, one)
        assert sorted(world.queued()) == ["a1", "a2"]

    asyncio.run(main())


def test_a_shorter_timeout_waits_once_for_workers_that_still_keep_to_the_longer_one(world: World) -> None:
    async def main() -> None:
        await world.turn(world.coordinator("old", session_timeout_s=20.0, lease_s=0.1))
        new, session = world.coordinator("new", session_timeout_s=1.0), await world.session("s")
        world.living.clear()
        await world.turns(19.5, new)
        assert session in await world.coordination.sessions()
        await world.turns(1.0, new)
        assert session not in await world.coordination.sessions()

    asyncio.run(main())


def test_a_coordinator_runs_by_itself(world: World) -> None:
    """The same through its own tasks, on the real clock."""

    async def main() -> None:
        store = MemoryStore()
        coordination = MemoryCoordination(store)
        one = Coordinator(coordination, Nonce("one"), Timing(0.01, 0.2, 0.3), clock=store.clock)
        await coordination.register(SessionInfo(SessionId("s"), "worker", "host", 1, "build", 0))
        running = asyncio.create_task(one.run())

        async def buried() -> bool:
            return not await coordination.sessions()

        await eventually(buried, 10.0, "the silent session is buried")
        running.cancel()
        await asyncio.wait([running])
        assert await coordination.leader() is None

    asyncio.run(main())
