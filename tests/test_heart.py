"""The heartbeat of a worker: whom it renews, whom it ends, and when it says nothing. The clock is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from playbooks_providers.clock import ManualClock
from playbooks_providers.ids import SessionId
from playbooks_providers.memory import MemoryCoordination, MemoryStore
from playbooks_providers.model import SessionInfo
from playbooks_providers.settings.invariants import BLOCKED_AFTER_S
from playbooks_worker.channel import Message, Orders, Renewed
from playbooks_worker.heart import Heart
from playbooks_worker.seat import Seat, Staff

ORDERS = Orders(
    "w",
    [],
    [],
    1,
    {},
    "",
    "",
    "",
    [],
    "none",
    1,
    10,
    False,
    1.0,
    1.0,
    "console",
    64_000_000,
    5.0,
    1000,
    100,
    False,
    False,
)


class Executor:
    """What a heart sees of a child."""

    pid = 1
    has_ended = False

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.stopped = False
        self.killed = False
        self.channel = self

    def say(self, message: Message) -> None:
        self.told.append(message)

    def is_stopped(self) -> bool:
        return self.stopped

    def kill(self) -> None:
        self.killed = True


class World:
    def __init__(self, stall_timeout_s: float | None) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.coordination = MemoryCoordination(self.store)
        self.seats = [Seat(0), Seat(1)]
        self.drained = 0
        self.refused: list[SessionId | None] = []
        staff = Staff("w", "main", 2, ORDERS, 1.0, 5.0, 1.0, stall_timeout_s)
        self.heart = Heart(staff, self.seats, self.coordination, self.clock, self.on_refused, self.on_drain)
        self.executors: list[Any] = [Executor(), Executor()]

    def on_drain(self) -> None:
        self.drained += 1

    def on_refused(self, seat: Seat) -> None:
        self.refused.append(seat.session)

    async def open(self) -> None:
        for seat, executor in zip(self.seats, self.executors, strict=True):
            seat.session = SessionId(f"s{seat.index}")
            seat.child = executor
            await self.coordination.register(SessionInfo(seat.session, "w", "h", 1, "", 0))

    async def rounds(self, count: int, every_s: float = 1.0) -> None:
        for _ in range(count):
            self.clock.advance(every_s)
            await self.heart.beat()


def run(test: Callable[[World], Awaitable[None]], stall_timeout_s: float | None = None) -> None:
    async def body() -> None:
        world = World(stall_timeout_s)
        await world.open()
        await test(world)

    asyncio.run(body())


def test_each_executor_is_told_of_its_renewal_with_when_it_was_asked_for_and_the_published_timeout() -> None:
    async def test(world: World) -> None:
        await world.rounds(1)
        assert world.executors[0].told == [Renewed(SessionId("s0"), 1.0, 5.0)]
        await world.coordination.publish_timeout(2.0)
        await world.rounds(1)
        assert world.executors[1].told[-1] == Renewed(SessionId("s1"), 2.0, 2.0)
        assert await world.coordination.sessions() == {"s0": 2, "s1": 2}

    run(test)


def test_a_worker_whose_session_is_asked_to_drain_is_told_and_others_are_not() -> None:
    async def test(world: World) -> None:
        await world.coordination.register(SessionInfo(SessionId("of another"), "v", "h", 1, "", 0))
        await world.coordination.ask_to_drain([SessionId("of another")])
        await world.rounds(1)
        assert world.drained == 0
        await world.coordination.ask_to_drain([SessionId("s1")])
        await world.rounds(1)
        assert world.drained == 1
        assert isinstance(world.executors[1].told[-1], Renewed)  # it holds its agents until they are handed over

    run(test)


def test_a_refused_session_is_passed_on_and_the_others_are_renewed() -> None:
    async def test(world: World) -> None:
        await world.coordination.bury(SessionId("s0"), None)
        await world.rounds(1)
        assert world.refused == ["s0"] and world.executors[0].told == []
        assert world.executors[1].told == [Renewed(SessionId("s1"), 1.0, 5.0)]

    run(test)


def test_a_stopped_executor_is_not_renewed_and_ended_only_when_its_session_has_lapsed() -> None:
    async def test(world: World) -> None:
        world.executors[0].stopped = True
        await world.rounds(3)
        assert await world.coordination.sessions() == {"s0": 0, "s1": 3}
        assert not world.executors[0].killed
        await world.coordination.bury(SessionId("s0"), 0)
        await world.rounds(1)
        assert world.executors[0].killed and not world.executors[1].killed

    run(test)


def test_an_executor_that_was_woken_in_time_is_renewed_again() -> None:
    async def test(world: World) -> None:
        world.executors[0].stopped = True
        await world.rounds(2)
        world.executors[0].stopped = False
        await world.rounds(1)
        assert (await world.coordination.sessions())["s0"] == 1 and not world.executors[0].killed

    run(test)


def test_one_that_is_stopped_at_the_first_sight_is_not_ended_yet() -> None:
    """All of the worker was stopped: the supervisor is woken first."""

    async def test(world: World) -> None:
        world.executors[0].stopped = True
        await world.coordination.bury(SessionId("s0"), None)
        await world.rounds(1)
        assert not world.executors[0].killed
        world.executors[0].stopped = False
        await world.rounds(1)
        assert world.refused == ["s0"] and not world.executors[0].killed

    run(test)


def test_without_an_answer_nobody_is_told_that_it_was_renewed() -> None:
    async def test(world: World) -> None:
        with world.store.outage():
            await world.rounds(3)
        assert world.executors[0].told == [] and world.refused == []
        await world.rounds(1)
        assert world.executors[0].told == [Renewed(SessionId("s0"), 4.0, 5.0)]

    run(test)


def test_a_blocked_event_loop_is_ended_only_on_demand() -> None:
    async def blocked(world: World) -> None:
        world.seats[1].heard_at = 1e9
        await world.rounds(round(BLOCKED_AFTER_S) + 20)

    async def spared(world: World) -> None:
        await blocked(world)
        assert not world.executors[0].killed
        assert (await world.coordination.sessions())["s0"] == 25  # it keeps its session

    async def ended(world: World) -> None:
        await blocked(world)
        assert world.executors[0].killed and not world.executors[1].killed

    run(spared)
    run(ended, stall_timeout_s=10.0)


def test_who_was_stopped_itself_does_not_call_its_executors_blocked() -> None:
    async def test(world: World) -> None:
        await world.rounds(1)
        await world.rounds(1, every_s=60.0)
        assert not any(executor.killed for executor in world.executors)

    run(test, stall_timeout_s=10.0)
