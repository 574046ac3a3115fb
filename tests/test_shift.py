"""One session's time in an executor, over the in-memory home: tickets in, agents lived, tickets acknowledged last."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from playbooks_providers.envelope import Sealer, read_header
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import (
    AgentView,
    Created,
    Minted,
    ProgramInfo,
    SessionInfo,
    StartRecord,
    Status,
    Taken,
    Ticket,
)
from playbooks_providers.testing import eventually
from playbooks_worker import playbook
from playbooks_worker.hold import Bench
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.programs import Program
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.shift import Shift

ME = SessionId("me")
HERE = sys.modules[__name__]
SOON_S = 10.0


class Effects:
    """What the agents of a test do, and a door that holds some of them."""

    begun: list[tuple[str, int]] = []
    doors: dict[str, asyncio.Event] = {}


async def step(name: str, number: int) -> int:
    Effects.begun.append((name, number))
    if name in Effects.doors:
        await Effects.doors[name].wait()
    else:
        await asyncio.sleep(0)
    return number


@playbook
async def main(name: str, n: int) -> int:
    total = 0
    for number in range(n):
        total += await step(name, number)
    return total


@playbook
async def leave() -> None:
    await asyncio.sleep(0)
    raise SystemExit(3)


class World:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.coordination = MemoryCoordination(self.store)
        self.program = Program("here", HERE, "b1", {"main": main, "leave": leave})
        self.gate = Gate(lambda: 0.0)
        self.key = "k" * 32
        self.serving: list[asyncio.Task[None]] = []

    def shift(self, concurrency: int = 50, session: SessionId = ME, drain_timeout_s: float = 5.0) -> Shift:
        around = Surroundings(MemoryCheckpoints(self.store), Sealer(self.key), lambda: 1)
        bench = Bench(self.coordination, around, {"here": self.program})
        made = Shift(session, self.gate, bench, ["q"], concurrency=concurrency, drain_timeout_s=drain_timeout_s)
        self.serving.append(asyncio.create_task(made.serve()))
        return made

    async def submit(
        self, name: str, n: int = 3, *, door: bool = False, program: str = "here", entry: str = "main", args: Any = None
    ) -> Ticket:
        if door:
            Effects.doors[name] = asyncio.Event()
        given = [name, n] if args is None else args
        made = await self.coordination.create(StartRecord(AgentId(name), program, entry, given, {}, "q", 0))
        assert isinstance(made, Created) and made.ticket is not None
        await self.coordination.enqueue(made.ticket)
        return made.ticket

    async def die(self, name: str, times: int) -> None:
        """Let *name* be taken, and its owner die without a word, so often."""
        view = await self.view(name)
        ticket = Ticket(AgentId(name), view.fence, "q")
        for time in range(times):
            dead = SessionId(f"dead{time}")
            assert isinstance(await self.coordination.take(ticket, dead, Nonce("n")), Taken)
            woken = await self.coordination.wake(AgentId(name), ticket.fence, dead)
            assert isinstance(woken, Minted)
            ticket = woken.ticket
        await self.coordination.enqueue(ticket)

    async def view(self, name: str) -> AgentView:
        view = await self.coordination.describe(AgentId(name))
        assert view is not None
        return view

    async def becomes(self, name: str, status: Status) -> AgentView:
        async def is_so() -> AgentView | None:
            view = await self.view(name)
            return view if view.status is status else None

        return await eventually(is_so, SOON_S, f"{name} to be {status}")

    async def begun(self, name: str, number: int = 0) -> None:
        await eventually(lambda: (name, number) in Effects.begun, SOON_S, f"effect {number} of {name}")

    async def held(self, session: SessionId = ME) -> set[str]:
        return {ticket.agent for ticket in await self.coordination.pending(session, ["q"])}

    async def nothing_held(self) -> None:
        async def empty() -> bool:
            return not await self.held()

        await eventually(empty, SOON_S, "all tickets to be acknowledged")


def run(test: Callable[[World], Awaitable[None]]) -> None:
    async def body() -> None:
        world = World()
        Effects.begun, Effects.doors = [], {}
        try:
            async with asyncio.timeout(30):
                await test(world)
        finally:
            for task in world.serving:
                task.cancel()
            await asyncio.gather(*world.serving, return_exceptions=True)

    asyncio.run(body())


def test_agents_are_run_to_their_end_and_their_tickets_acknowledged() -> None:
    async def test(world: World) -> None:
        world.shift()
        for name in ("a", "b"):
            await world.submit(name)
        for name in ("a", "b"):
            view = await world.becomes(name, Status.COMPLETED)
            assert read_header(view.header).result == 3
        await world.nothing_held()

    run(test)


def test_while_an_agent_runs_its_ticket_is_pending() -> None:
    async def test(world: World) -> None:
        world.shift()
        await world.submit("a", door=True)
        await world.begun("a")
        assert await world.held() == {"a"}

    run(test)


def test_a_stale_ticket_is_acknowledged_and_dropped() -> None:
    async def test(world: World) -> None:
        ticket = await world.submit("a")
        await world.coordination.enqueue(ticket)  # a copy: whoever comes second is too late
        world.shift()
        await world.becomes("a", Status.COMPLETED)
        await world.nothing_held()
        assert Effects.begun == [("a", 0), ("a", 1), ("a", 2)]

    run(test)


def test_no_more_agents_run_at_once_than_were_asked_for() -> None:
    async def test(world: World) -> None:
        world.shift(concurrency=2)
        for name in "abc":
            await world.submit(name, door=True)
        await world.begun("a")
        await world.begun("b")
        assert await world.held() == {"a", "b"}
        Effects.doors["a"].set()
        await world.begun("c")

    run(test)


def test_an_agent_of_another_program_is_handed_back_with_a_delay_and_without_blame() -> None:
    async def test(world: World) -> None:
        world.shift()
        await world.submit("a", program="elsewhere")
        view = await world.becomes("a", Status.WAITING)
        assert view.attempts == 0 and "elsewhere" in view.why
        await world.nothing_held()

    run(test)


@pytest.mark.parametrize(
    ("entry", "args", "why"),
    [
        ("gone", [], "program here has no playbook 'gone'; it has: leave, main"),
        ("main", ["only a name"], "arguments don't fit main"),
    ],
)
def test_what_no_build_here_can_start_is_blocked_unless_another_build_is_live(
    entry: str, args: list[Any], why: str
) -> None:
    async def test(world: World) -> None:
        world.shift()
        await world.submit("a", entry=entry, args=args)
        assert why in (await world.becomes("a", Status.BLOCKED)).why
        await world.nothing_held()

        other = SessionId("other")
        await world.coordination.register(SessionInfo(other, "w", "h", 1, "b2", 0))
        await world.coordination.publish(other, [ProgramInfo("here", "q", "b2", {})])
        await world.submit("b", entry=entry, args=args)
        assert why in (await world.becomes("b", Status.WAITING)).why

    run(test)


def test_a_checkpoint_signed_with_another_key_blocks_its_agent_and_only_it() -> None:
    async def test(world: World) -> None:
        first = world.shift()
        await world.submit("a", 5, door=True)
        await world.begun("a")
        await world.submit("b", door=True)
        await world.begun("b")
        Effects.doors["a"].set()
        await world.becomes("a", Status.COMPLETED)
        record = world.store.agents[AgentId("b")]
        await first.drain(0.01)
        entry = world.store.agents[AgentId("a")].final
        assert entry is not None
        # as if somebody had put another agent's checkpoint under this one's name
        forged = entry._replace(id=entry.id._replace(fence=record.fence - 1))
        record.entries[forged.id] = forged
        record.resume_from = forged.id
        world.shift(session=SessionId("second"))
        view = await world.becomes("b", Status.BLOCKED)
        assert "moved here" in view.why and "no checkpoint before it" in view.why
        await world.submit("c")
        await world.becomes("c", Status.COMPLETED)

    run(test)


def test_a_drain_hands_over_at_the_next_checkpoint_takes_no_more_and_blames_nobody() -> None:
    async def test(world: World) -> None:
        shift = world.shift()
        await world.submit("a", 5, door=True)
        await world.begun("a")
        draining = asyncio.create_task(shift.drain(SOON_S))
        await asyncio.sleep(0)
        await world.submit("b")
        Effects.doors["a"].set()
        await draining
        await asyncio.wait_for(world.serving[0], SOON_S)
        assert Effects.begun == [("a", 0)]
        view = await world.view("a")
        assert view.status is Status.READY and view.attempts == 0 and view.last is not None and view.last.seq == 1
        assert await world.held() == set()
        assert {ticket.agent for ticket in world.store.queues["q"]} == {"a", "b"}

    run(test)


def test_at_the_drain_deadline_an_agent_is_handed_over_without_a_checkpoint() -> None:
    async def test(world: World) -> None:
        shift = world.shift()
        await world.submit("a", door=True)
        await world.begun("a")
        await shift.drain(0.05)
        view = await world.view("a")
        assert view.status is Status.READY and view.last is None
        assert await world.held() == set()

    run(test)


def test_a_dropped_shift_concludes_nothing_and_runs_nothing_more() -> None:
    async def test(world: World) -> None:
        shift = world.shift()
        await world.submit("a", door=True)
        await world.begun("a")
        await shift.drop("refused")
        assert (await world.view("a")).status is Status.RUNNING and await world.held() == {"a"}
        Effects.doors["a"].set()
        await asyncio.wait_for(world.serving[0], SOON_S)
        await world.submit("b")
        assert Effects.begun == [("a", 0)]
        assert [ticket.agent for ticket in await world.coordination.recover(ME)] == ["a"]

    run(test)


def test_a_frozen_shift_asks_for_no_tickets_and_thawed_goes_on() -> None:
    async def test(world: World) -> None:
        shift = world.shift()
        await world.submit("a", door=True)
        await world.begun("a")
        world.gate.close()
        shift.freeze()
        await asyncio.sleep(0)
        await world.submit("b")
        Effects.doors["a"].set()
        done, _ = await asyncio.wait(world.serving, timeout=0.05)
        assert not done and await world.held() == {"a"} and Effects.begun == [("a", 0)]
        world.gate.renew(0.0, 5.0)
        shift.thaw()
        for name in "ab":
            await world.becomes(name, Status.COMPLETED)

    run(test)


def test_an_outage_of_the_store_costs_no_agent() -> None:
    async def test(world: World) -> None:
        world.shift()
        await world.submit("a", door=True)
        await world.begun("a")
        with world.store.outage():
            Effects.doors["a"].set()
            await asyncio.wait(world.serving, timeout=0.3)
        await world.submit("b")
        for name in "ab":
            await world.becomes(name, Status.COMPLETED)
        await world.nothing_held()

    run(test)


def test_an_agent_that_died_twice_runs_alone_until_it_has_written_something() -> None:
    async def test(world: World) -> None:
        world.shift()
        await world.submit("neighbour", 50, door=True)
        await world.begun("neighbour")
        Effects.doors["suspect"] = asyncio.Event()
        made = await world.coordination.create(
            StartRecord(AgentId("suspect"), "here", "main", ["suspect", 9], {}, "q", 0)
        )
        assert isinstance(made, Created)
        await world.die("suspect", 2)
        Effects.doors["neighbour"].set()  # to its next checkpoint
        await world.begun("suspect")
        assert (await world.view("suspect")).attempts == 3
        neighbour = await world.view("neighbour")
        assert neighbour.status is Status.READY and neighbour.attempts == 0
        before = len(Effects.begun)
        await asyncio.wait(world.serving, timeout=0.05)
        assert len(Effects.begun) == before and await world.held() == {"suspect"}
        Effects.doors["suspect"].set()
        for name in ("neighbour", "suspect"):
            await world.becomes(name, Status.COMPLETED)

    run(test)


def test_after_three_lonely_deaths_an_agent_is_quarantined_with_the_reason() -> None:
    async def test(world: World) -> None:
        world.shift()
        made = await world.coordination.create(StartRecord(AgentId("a"), "here", "main", ["a", 1], {}, "q", 0))
        assert isinstance(made, Created)
        await world.die("a", 5)
        view = await world.becomes("a", Status.QUARANTINED)
        assert "taken 5 times" in view.why and Effects.begun == []
        await world.nothing_held()

    run(test)


def test_a_program_that_exits_has_failed_and_its_neighbours_go_on() -> None:
    async def test(world: World) -> None:
        world.shift()
        await world.submit("neighbour", door=True)
        await world.begun("neighbour")
        await world.submit("a", entry="leave", args=[])
        error = read_header((await world.becomes("a", Status.FAILED)).header).error
        assert error is not None and (error["type"], error["message"]) == ("SystemExit", "3")
        Effects.doors["neighbour"].set()
        await world.becomes("neighbour", Status.COMPLETED)

    run(test)
