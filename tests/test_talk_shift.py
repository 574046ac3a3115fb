"""Agents that talk, over the in-memory home and one or two executors' shifts: letters, children, parking."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_providers.clock import ManualClock
from playbooks_providers.envelope import Body, Sealer, read_header, seal_letter
from playbooks_providers.events import BEGINNING
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.letters import Ordered
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Choice, Done, Order, OrderKind, SessionInfo, StartRecord, Status
from playbooks_providers.testing import eventually
from playbooks_worker.hold import Bench
from playbooks_worker.host.answers import answered
from playbooks_worker.host.events import Reading
from playbooks_worker.host.forking import fork_of
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.giving import give
from playbooks_worker.host.programs import load
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.shift import Shift

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from perishing import CONVERSATIONS  # noqa: E402

PROGRAM = str(Path(__file__).parent / "programs" / "talkers.py")


class World:
    def __init__(self, park_after_s=None, keep_when_parked=False):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.coordination = MemoryCoordination(self.store)
        self.program = load(PROGRAM)
        self.park_after_s = park_after_s
        self.keep_when_parked = keep_when_parked
        self.tasks = []
        self.shifts = {}

    async def worker(self, name):
        session = SessionId(name)
        await self.coordination.register(SessionInfo(session, name, "h", 1, "b", 0))
        around = Surroundings(
            MemoryCheckpoints(self.store),
            Sealer("k" * 32),
            self.clock.now_ms,
            park_after_s=self.park_after_s,
            keep_when_parked=self.keep_when_parked,
        )
        bench = Bench(self.coordination, around, {"talkers": self.program})
        shift = Shift(session, Gate(lambda: 0.0), bench, ["q"], concurrency=50, drain_timeout_s=5.0)
        self.shifts[name] = shift
        self.tasks.append(asyncio.create_task(shift.serve()))
        return shift

    async def submit(self, entry, *args, name="boss"):
        made = await self.coordination.create(StartRecord(AgentId(name), "talkers", entry, list(args), {}, "q", 0))
        await self.coordination.enqueue(made.ticket)

    async def view(self, name="boss"):
        return await self.coordination.describe(AgentId(name))

    async def becomes(self, status, name="boss"):
        async def is_so():
            view = await self.view(name)
            return view if view is not None and view.status is status else None

        return await eventually(is_so, 10.0, f"{name} to be {status}")

    async def has_written(self, name="boss"):
        async def it_has():
            view = await self.view(name)
            return view is not None and view.last is not None

        await eventually(it_has, 10.0, f"{name} to have a checkpoint")

    async def waiting(self, count):
        views = [await self.view(agent) for agent in await self.coordination.agents()]
        return sum(view.status is Status.WAITING for view in views) > count

    async def result(self, name="boss"):
        return read_header((await self.becomes(Status.COMPLETED, name)).header).result


def run(scenario, **options):
    async def body():
        world = World(**options)
        try:
            async with asyncio.timeout(25):
                await scenario(world)
        finally:
            for task in world.tasks:
                task.cancel()
            await asyncio.gather(*world.tasks, return_exceptions=True)

    asyncio.run(body())


@pytest.mark.parametrize(("entry", "args", "expected"), CONVERSATIONS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("workers", [1, 2])
def test_conversations_on_one_worker_and_on_two(entry, args, expected, workers):
    async def scenario(world):
        for number in range(workers):
            await world.worker(f"w{number}")
        await world.submit(entry, *args)
        assert await world.result() == expected

    run(scenario)


@pytest.mark.parametrize(("entry", "args", "expected"), CONVERSATIONS, ids=lambda value: str(value)[:20])
def test_conversations_of_agents_that_are_parked_whenever_they_wait(entry, args, expected):
    async def scenario(world):
        await world.worker("w0")
        await world.submit(entry, *args)
        assert await world.result() == expected

    run(scenario, park_after_s=0.0)


def test_an_agent_that_sleeps_is_parked_and_wakes_when_it_is_due():
    async def scenario(world):
        shift = await world.worker("w0")
        await world.submit("nap")
        view = await world.becomes(Status.WAITING)
        assert view.wake_ms == world.clock.now_ms() + 3_600_000
        await eventually(lambda: not shift.agents, 5.0, "nobody to hold it")
        world.clock.advance(3600)
        assert await world.coordination.fire_due(limit=10)
        assert await world.result() == "awake"

    run(scenario, park_after_s=0.0)


async def order(world, kind, *, name="boss", why="enough", deadline_ms=None):
    return await give(world.coordination, AgentId(name), Order(f"{kind} 1", kind, why, deadline_ms))


@pytest.mark.parametrize("park_after_s", [0.0, None], ids=["parked", "in memory"])
def test_a_cancelled_agent_tidies_up_and_ends_as_cancelled(park_after_s):
    async def scenario(world):
        await world.worker("w0")
        await world.submit("tidies_up")
        await waits(world, park_after_s)
        assert isinstance(await order(world, OrderKind.CANCEL), Ordered)
        view = await world.becomes(Status.CANCELLED)
        assert read_header(view.header).error["message"] == "enough"
        assert talkers().DONE == ["enough", "tidied", "twice"]

    run(scenario, park_after_s=park_after_s)


def talkers():
    talkers = sys.modules["talkers"]
    return talkers


async def waits(world, park_after_s):
    talkers().DONE.clear()
    if park_after_s is not None:
        await world.becomes(Status.WAITING)
    else:
        await eventually(lambda: world.shifts["w0"].agents, 5.0, "it to be taken")
        await world.has_written()


@pytest.mark.parametrize("park_after_s", [0.0, None], ids=["parked", "in memory"])
def test_a_paused_agent_goes_on_when_a_person_says_so(park_after_s):
    async def scenario(world):
        shift = await world.worker("w0")
        await world.submit("nap")
        await waits(world, park_after_s)
        await order(world, OrderKind.PAUSE, why="lunch")
        view = await world.becomes(Status.PAUSED)
        assert view.why == "lunch"
        await eventually(lambda: not shift.agents, 5.0, "nobody to hold it")
        world.clock.advance(4000)
        again = await world.coordination.retry(AgentId("boss"), view.fence, Choice.RESUME)
        await world.coordination.enqueue(again.ticket)
        assert await world.result() == "awake"

    run(scenario, park_after_s=park_after_s)


def test_an_agent_at_work_is_paused_at_its_next_checkpoint_and_nothing_is_done_twice():
    async def scenario(world):
        await world.worker("w0")
        await world.submit("counts", 50)
        await world.has_written()
        await order(world, OrderKind.PAUSE)
        view = await world.becomes(Status.PAUSED)
        again = await world.coordination.retry(AgentId("boss"), view.fence, Choice.RESUME)
        await world.coordination.enqueue(again.ticket)
        assert await world.result() == 50
        assert (await world.view()).last.seq <= 52

    run(scenario)


class Crossing(MemoryCoordination):
    """Something else is wanted of the agent in the very moment in which its owner obeys a pause."""

    meanwhile = None

    async def stop(self, lock, status, why):
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().stop(lock, status, why)


def crossing(world):
    world.coordination = Crossing(world.store)
    return world.coordination


def test_a_cancel_that_crosses_with_its_owners_obeying_a_pause_is_raised():
    async def scenario(world):
        crossing(world).meanwhile = lambda: order(world, OrderKind.CANCEL)
        await world.worker("w0")
        await world.submit("tidies_up")
        await waits(world, None)
        await order(world, OrderKind.PAUSE, why="lunch")
        view = await world.becomes(Status.CANCELLED)
        assert talkers().DONE == ["enough", "tidied", "twice"] and view.order is None

    run(scenario)


def test_an_unpause_that_crosses_with_its_owners_obeying_lets_the_agent_go_on_and_nothing_is_done_twice():
    async def scenario(world):
        coordination, boss = crossing(world), AgentId("boss")

        async def withdrawn():
            wanted = await coordination.wanted(boss)
            assert await coordination.withdraw(boss, wanted) == Done()

        coordination.meanwhile = withdrawn
        await world.worker("w0")
        await world.submit("counts", 50)
        await world.has_written()
        await order(world, OrderKind.PAUSE)
        assert await world.result() == 50
        assert coordination.meanwhile is None and (await world.view()).last.seq <= 52

    run(scenario)


def test_a_cancellation_reaches_the_children():
    async def scenario(world):
        await world.worker("w0")
        await world.worker("w1")
        await world.submit("parent_of_sleepers")
        await eventually(lambda: world.waiting(2), 5.0, "its children to wait")
        talkers().DONE.clear()
        await order(world, OrderKind.CANCEL)
        await world.becomes(Status.CANCELLED)
        children = [agent for agent in await world.coordination.agents() if agent != "boss"]
        for child in children:
            view = await world.becomes(Status.CANCELLED, child)
            assert "its parent boss was cancelled" in read_header(view.header).error["message"]
        assert talkers().DONE.count("twice") == 2

    run(scenario, park_after_s=0.0)


@pytest.mark.parametrize("park_after_s", [0.05, None], ids=["parked", "in memory"])
def test_an_agent_that_does_not_end_by_the_deadline_is_ended(park_after_s):
    async def scenario(world):
        await world.worker("w0")
        await world.submit("stubborn")
        await waits(world, park_after_s)
        await order(world, OrderKind.CANCEL, deadline_ms=world.clock.now_ms() + 50)
        view = await world.becomes(Status.CANCELLED)
        assert "deadline" in view.why

    run(scenario, park_after_s=park_after_s)


def test_an_order_to_an_orphan_is_obeyed_by_its_next_owner():
    async def scenario(world):
        made = await world.coordination.create(StartRecord(AgentId("boss"), "talkers", "nap", [], {}, "q", 0))
        await world.coordination.take(made.ticket, SessionId("dead"), Nonce("n"))
        await order(world, OrderKind.CANCEL)
        woken = await world.coordination.wake(AgentId("boss"), made.ticket.fence, SessionId("dead"))
        await world.coordination.enqueue(woken.ticket)
        await world.worker("w0")
        await world.becomes(Status.CANCELLED)

    run(scenario)


# --- events ----------------------------------------------------------------------------------------------------------
async def heard(world, name="boss"):
    events = await world.coordination.emitted(AgentId(name), BEGINNING, limit=1000)
    return [told.event for told in Reading(AgentId(name)).read(events)]


@pytest.mark.parametrize("park_after_s", [0.0, None], ids=["parked", "in memory"])
def test_what_an_agent_tells_is_in_its_stream_before_it_is_parked_and_before_it_ends(park_after_s):
    async def scenario(world):
        await world.worker("w0")
        await world.submit("waits_for_mail")
        if park_after_s is not None:
            await world.becomes(Status.WAITING)

        async def told():
            return await heard(world)

        assert await eventually(told, 10.0, "an event") == ["waiting"]
        letter = seal_letter(Sealer("k" * 32), AgentId("boss"), "person:x", 1, 1, Body("message", "", "hello"))
        await answered(world.coordination, AgentId("boss"), letter)
        assert await world.result() == "hello"
        assert await heard(world) == ["waiting", "heard ", "hello"]

    run(scenario, park_after_s=park_after_s)


def test_a_failed_agent_has_told_everything():
    async def scenario(world):
        await world.worker("one")
        await world.submit("tells_and_fails")
        await world.becomes(Status.FAILED)
        assert await heard(world) == ["about to fail", "one "]

    run(scenario)


# --- forks -----------------------------------------------------------------------------------------------------------
async def fork(world, name, new):
    checkpoints, sealer = MemoryCheckpoints(world.store), Sealer("k" * 32)
    start, entry = await fork_of(checkpoints, sealer, await world.view(name), AgentId(new), None, 1)
    made = await world.coordination.fork(start, entry)
    await world.coordination.enqueue(made.ticket)


async def write(world, name, value):
    letter = seal_letter(Sealer("k" * 32), AgentId(name), "person:x", 1, 1, Body("message", "", value))
    await answered(world.coordination, AgentId(name), letter)


def test_a_fork_of_a_parked_agent_has_its_own_inbox_and_its_own_end():
    async def scenario(world):
        await world.worker("w0")
        await world.submit("waits_for_mail")
        await world.becomes(Status.WAITING)
        await fork(world, "boss", "twin")
        await world.becomes(Status.WAITING, "twin")
        await write(world, "twin", "to the twin")
        assert await world.result("twin") == "to the twin"
        assert (await world.view()).status is Status.WAITING
        await write(world, "boss", "to the first")
        assert await world.result() == "to the first"

    run(scenario, park_after_s=0.0)


@pytest.mark.parametrize("keep", [True, False])
def test_a_parked_agent_keeps_its_checkpoints_when_it_is_set_to(keep):
    async def scenario(world):
        await world.worker("w0")
        await world.submit("waits_for_a_child")
        await world.becomes(Status.WAITING)
        kept = await MemoryCheckpoints(world.store).list(AgentId("boss"))
        assert (len(kept) > 1) == keep

    run(scenario, park_after_s=0.0, keep_when_parked=keep)


def test_the_children_of_an_agent_are_not_those_of_its_fork():
    async def scenario(world):
        await world.worker("w0")
        await world.submit("waits_for_a_child")
        await world.becomes(Status.WAITING)
        await world.becomes(Status.WAITING, "boss.child")
        await fork(world, "boss", "twin")
        await write(world, "twin", "go on")
        assert await world.result("twin") == ["Forked", "unknown"]
        assert (await world.view("boss.child")).status is Status.WAITING

    run(scenario, park_after_s=0.0)


def test_a_fork_asks_anew_what_was_asked_of_an_agent():
    async def scenario(world):
        await world.worker("w0")
        await world.submit("answers_when_told", name="other")
        await world.submit("asks_the_other")
        await world.becomes(Status.WAITING)
        await world.becomes(Status.WAITING, "other")
        await fork(world, "boss", "twin")
        await world.becomes(Status.WAITING, "twin")
        await write(world, "other", "now")
        assert await world.result() == "boss"
        assert await world.result("twin") == "twin"

    run(scenario, park_after_s=0.0)


def test_a_failed_child_that_is_retried_ends_for_itself_and_its_parent_is_told_once():
    async def scenario(world):
        await world.worker("w0")
        talkers().FAILURES["left"] = 1
        await world.submit("awaits_twice")
        await world.becomes(Status.WAITING)
        failed = await world.becomes(Status.FAILED, "boss.child")
        minted = await world.coordination.retry(AgentId("boss.child"), failed.fence, Choice.RESUME)
        await world.coordination.enqueue(minted.ticket)
        assert await world.result("boss.child") == "well"
        sealer = Sealer("k" * 32)
        for number in (1, 2):
            body = Body("message", "", "go on")
            letter = seal_letter(sealer, AgentId("boss"), "person:x", 1, number, body)
            await answered(world.coordination, AgentId("boss"), letter)
        assert await world.result() == ["failed", "failed"]

    run(scenario, park_after_s=0.0)


def test_a_worker_that_drains_hands_over_at_once_who_only_waits():
    async def scenario(world):
        shift = await world.worker("w0")
        await world.submit("nap")
        await world.has_written()
        async with asyncio.timeout(2):
            await shift.drain(20.0)
        assert (await world.view()).status is Status.READY

    run(scenario)
