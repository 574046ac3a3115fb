"""The LAW of stopping: an agent that stops here runs no statement of a playbook any more, whatever it was doing.

Plain coroutines see an ordinary cancellation, context managers are closed from the inside out, and nothing is left to
the collector.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, AgentLost, Completed, Failed, Stopped, frames
from playbooks_worker.engine import agent as agent_module
from playbooks_worker.engine.place import here

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, nothing_leaks, start, to_end  # noqa: E402

LOG: list[object] = []


@pytest.fixture(autouse=True)
def fresh_log():
    LOG.clear()


async def forever(name="forever"):
    LOG.append(("in", name))
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        LOG.append(("cancelled", name))
        raise
    finally:
        LOG.append(("out", name))


async def tick(turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)


@contextmanager
def opened(name):
    LOG.append(("open", name))
    try:
        yield name
    finally:
        LOG.append(("close", name))


class Async:
    def __init__(self, name, swallow=False):
        self.name = name
        self.swallow = swallow

    async def __aenter__(self):
        await tick()
        LOG.append(("aopen", self.name))
        return self.name

    async def __aexit__(self, *raised):
        await tick(3)
        LOG.append(("aclose", self.name))
        return self.swallow


class Swallow:
    def __enter__(self):
        return 1

    def __exit__(self, *raised):
        return True


# --- programs ---


@playbook
async def handlers():
    try:
        await tick()
        await forever()
    except BaseException:
        LOG.append("handler")
        raise
    else:
        LOG.append("else")
    finally:
        LOG.append("finally")
    LOG.append("after")


@playbook
async def endless_handler():
    await tick()
    while True:
        try:
            await forever()
        except BaseException:
            LOG.append("handler")
            continue


@playbook
async def suppressing():
    await tick()
    with suppress(BaseException):
        await forever()
        LOG.append("inside")
    LOG.append("after")


@playbook
async def swallowing():
    await tick()
    with Swallow():
        async with Async("s", swallow=True):
            await forever()
            LOG.append("inside")
    LOG.append("after")


@playbook
async def gathering():
    await tick()
    found = await asyncio.gather(handlers(), endless_handler(), suppressing(), forever("g"), return_exceptions=True)
    LOG.append(("after", found))


@playbook
async def managers():
    async with Async("1"):
        with opened("2"):
            async with Async("3"), Async("4"):
                with opened("5"):
                    await nested()
                    LOG.append("after")


@playbook
async def nested():
    with opened("6"):
        async with Async("7"):
            await tick()
            await forever()
            LOG.append("after")


async def stubborn():
    try:
        await forever("stubborn")
    except asyncio.CancelledError:
        LOG.append("swallowed")
    try:
        await another()
    except BaseException as error:
        LOG.append(type(error).__name__)
    return "done"


@playbook
async def another():
    LOG.append("another runs")


@playbook
async def above_stubborn():
    await tick()
    try:
        LOG.append(await stubborn())
    finally:
        LOG.append("finally")


async def plain_helper():
    try:
        await handlers()
    except asyncio.CancelledError:
        LOG.append("helper saw it")
        raise


@playbook
async def through_helpers():
    try:
        await asyncio.gather(plain_helper(), handlers(), return_exceptions=True)
    except BaseException:
        LOG.append("handler")
    LOG.append("after")


PROGRAMS = [
    handlers,
    endless_handler,
    suppressing,
    swallowing,
    gathering,
    managers,
    above_stubborn,
    through_helpers,
]
NEVER = {"handler", "else", "finally", "after", "inside", "another runs"}


def ran_nothing():
    assert not [entry for entry in LOG if entry in NEVER or (isinstance(entry, tuple) and entry[0] == "after")], LOG


def waiting(count=1):
    return sum(1 for entry in LOG if isinstance(entry, tuple) and entry[0] == "in") >= count


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"never: {LOG}")


# --- ways to stop ---


@pytest.mark.parametrize("case", PROGRAMS, ids=lambda p: p.__name__)
def test_stop_runs_no_statement_of_a_playbook(case):
    async def main():
        store = Store()
        agent = Agent("a", persist=store.persist)
        running = asyncio.create_task(agent.start(case))
        await until(waiting)
        await tick(20)
        written = len(store.payloads)
        await agent.stop("enough")
        assert await running == Stopped("enough")
        assert len(store.payloads) == written

    to_end(main())
    ran_nothing()


@pytest.mark.parametrize("case", PROGRAMS, ids=lambda p: p.__name__)
def test_a_cancelled_start_runs_no_statement_of_a_playbook(case):
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(case))
        await until(waiting)
        await tick(20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    to_end(main())
    ran_nothing()


@pytest.mark.parametrize("case", PROGRAMS, ids=lambda p: p.__name__)
def test_the_end_of_the_loop_runs_no_statement_of_a_playbook(case):
    async def main():
        agents = [Agent("a", persist=Store().persist) for _ in range(3)]
        tasks = [asyncio.create_task(agent.start(case)) for agent in agents]
        await until(lambda: waiting(3))
        await tick(20)
        return tasks  # asyncio.run cancels every task, in any order

    to_end(main())
    ran_nothing()


@pytest.mark.parametrize("how", ["at once", "later"])
@pytest.mark.parametrize("lost", [AgentLost("taken over"), OSError(28, "disk full")], ids=["lost", "broken"])
@pytest.mark.parametrize("case", PROGRAMS, ids=lambda p: p.__name__)
def test_a_refused_checkpoint_runs_no_statement_of_a_playbook(case, lost, how):
    seen = []

    def persist(moment, payload):
        seen.append(moment)

        async def write():
            await tick(3)
            raise lost

        if how == "later":
            return write()
        raise lost

    async def main():
        agent = Agent("a", persist=persist)
        if isinstance(lost, AgentLost):
            assert await agent.start(case) == Stopped("taken over")
        else:
            with pytest.raises(OSError, match="disk full"):
                await agent.start(case)

    to_end(main())
    ran_nothing()
    assert len(seen) == 1


@pytest.mark.parametrize("case", PROGRAMS, ids=lambda p: p.__name__)
def test_a_hand_over_stops_at_the_next_durable_checkpoint(case):
    store = Store()

    async def main():
        agent = Agent("a", persist=store.persist)
        agent.stop_at_checkpoint("drain")
        assert await agent.start(case) == Stopped("drain")
        assert len(store.payloads) == 1

    to_end(main())
    ran_nothing()


def test_context_managers_are_closed_from_the_inside_out():
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(managers))
        await until(waiting)
        await tick(20)
        await agent.stop("enough")
        await running

    to_end(main())
    closed = [entry[1] for entry in LOG if entry[0] in ("close", "aclose")]
    assert closed == ["7", "6", "5", "4", "3", "2", "1"]


def test_a_plain_coroutine_may_swallow_its_cancellation_but_calls_no_playbook_any_more():
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(above_stubborn))
        await until(waiting)
        await agent.stop("enough")
        await running

    to_end(main())
    assert "swallowed" in LOG and "AgentStopped" in LOG
    ran_nothing()


async def swallow_and_wait():
    while True:
        try:
            await forever("again")
        except asyncio.CancelledError:
            if LOG.count(("cancelled", "again")) >= 2:
                return "at last"


@playbook
async def above_swallower():
    await tick()
    LOG.append(("after", await swallow_and_wait()))


def test_a_lost_agent_ends_although_a_plain_coroutine_swallows_the_first_cancellation():
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(above_swallower))
        await until(waiting)
        agent._not_written(AgentLost("gone"))  # as a checkpoint of another branch would tell
        assert await asyncio.wait_for(running, 10) == Stopped("gone")

    to_end(main())
    ran_nothing()


# --- at awkward instants ---


@playbook
async def short():
    await tick()
    return 1


def test_stopped_while_its_end_is_written_it_is_stopped_and_not_cancelled():
    async def main():
        writing = asyncio.Event()

        async def persist(moment, payload):
            if moment.kind == "completed":
                writing.set()
                await asyncio.get_running_loop().create_future()

        agent = Agent("a", persist=persist)
        running = asyncio.create_task(agent.start(short))
        await writing.wait()
        await agent.stop("enough")
        assert await running == Stopped("enough")

    to_end(main())


def test_stopped_while_a_checkpoint_is_written():
    async def main():
        writing = asyncio.Event()
        ends = asyncio.get_running_loop().create_future()

        async def persist(moment, payload):
            writing.set()
            await ends

        agent = Agent("a", persist=persist)
        running = asyncio.create_task(agent.start(handlers))
        await writing.wait()
        await agent.stop("enough")
        assert await running == Stopped("enough")
        ends.set_result(None)
        await tick(3)

    to_end(main())
    ran_nothing()


def test_stopped_before_its_first_turn():
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(handlers))
        await agent.stop("too early")
        assert await running == Stopped("too early")

    to_end(main())
    ran_nothing()
    assert not LOG


def test_stopped_twice_and_after_its_end():
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(handlers))
        await until(waiting)
        await asyncio.gather(agent.stop("one"), agent.stop("two"))
        assert await running == Stopped("one")
        await agent.stop("three")
        other = Agent("b", persist=Store().persist)
        assert await other.start(short) == Completed(1)
        await other.stop("late")

    to_end(main())
    ran_nothing()


def test_stopped_while_frozen():
    async def main():
        agent = Agent("a", persist=Store().persist)
        agent.freeze()
        running = asyncio.create_task(agent.start(handlers))
        await tick(10)
        await agent.stop("enough")
        assert await running == Stopped("enough")

    to_end(main())
    ran_nothing()


def test_stopped_by_its_own_effect():
    async def main():
        agent = Agent("a", persist=Store().persist)
        AGENTS["it"] = agent
        assert await asyncio.wait_for(agent.start(stops_itself), 10) == Stopped("from inside")

    to_end(main())
    ran_nothing()


AGENTS = {}


async def stop_it():
    await AGENTS["it"].stop("from inside")
    LOG.append("stop returned")


@playbook
async def stops_itself():
    try:
        await stop_it()
    finally:
        LOG.append("finally")
    LOG.append("after")


# --- what leaves the program ---


@playbook
async def exits():
    try:
        await tick()
        sys.exit(3)
    finally:
        LOG.append("its own finally")


def test_sys_exit_is_a_failure_of_the_agent_as_any_other_exception():
    async def main():
        outcome = await Agent("a", persist=Store().persist).start(exits)
        assert isinstance(outcome, Failed) and isinstance(outcome.error, SystemExit)

    to_end(main())
    assert LOG == ["its own finally"]


async def interrupt():
    await tick()
    raise KeyboardInterrupt


@playbook
async def interrupted():
    try:
        await interrupt()
    except BaseException:
        LOG.append("handler")
    finally:
        LOG.append("finally")


def test_an_interrupt_leaves_the_loop_and_runs_no_statement():
    async def main():
        await Agent("a", persist=Store().persist).start(interrupted)

    with nothing_leaks(), pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    ran_nothing()


# --- freezing ---


async def started(name):
    LOG.append(name)
    await tick(2)
    return name


@playbook
async def two_effects():
    await started("one")
    await started("two")
    return await asyncio.gather(started("three"), inner_effect("four"))


@playbook
async def inner_effect(name):
    return await started(name)


class Entering:
    async def __aenter__(self):
        LOG.append("entering")
        await tick()

    async def __aexit__(self, *raised):
        await tick()


@playbook
async def enters():
    await tick(2)
    async with Entering():
        await started("inside")


@pytest.mark.parametrize("case", [two_effects, enters], ids=lambda p: p.__name__)
def test_no_effect_starts_while_frozen(case):
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(case))
        while not running.done():
            agent.freeze()
            await tick(5)
            before = list(LOG)
            await tick(20)
            if LOG != before:
                raise AssertionError(f"{before} became {LOG} while frozen")
            agent.thaw()
            await tick(1)
        assert isinstance(running.result(), Completed)

    to_end(main())


# --- cancellation by the program itself ---


@playbook
async def cancellable(seen):
    try:
        seen.append(await started("effect"))
        seen.append("went on")
        await forever()
    except asyncio.CancelledError:
        seen.append("cancelled at the next await")
        raise


async def cancels(seen, gate):
    task = asyncio.ensure_future(cancellable(seen))
    await gate()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "helper saw it"


@playbook
async def with_canceller():
    seen = []
    got = await cancels(seen, WRITING["gate"])
    return seen, got


WRITING = {}


def test_a_cancellation_during_a_checkpoint_waits_for_the_next_await():
    async def main():
        writing, release = asyncio.Event(), asyncio.Event()

        async def persist(moment, payload):
            if not writing.is_set():
                writing.set()
                await release.wait()

        async def gate():
            await writing.wait()
            asyncio.get_running_loop().call_later(0.01, release.set)

        WRITING["gate"] = gate
        agent = Agent("a", persist=persist)
        outcome = await asyncio.wait_for(agent.start(with_canceller), 10)
        assert outcome == Completed((["effect", "went on", "cancelled at the next await"], "helper saw it"))

    to_end(main())


@asynccontextmanager
async def slow_exit():
    try:
        yield "x"
    finally:
        await asyncio.wait_for(tick(2), 5)


@playbook
async def exits_slowly():
    async with slow_exit() as x:
        await tick()
    return x


def test_a_manager_may_use_tasks_while_it_is_left():
    async def main():
        outcome = await asyncio.wait_for(Agent("a", persist=Store().persist).start(exits_slowly), 5)
        assert outcome == Completed("x")

    to_end(main())


@playbook
async def holds_a_manager():
    with Swallow():
        await started("inside")


@playbook
async def calls_one():
    await holds_a_manager()


@playbook
async def managers_below_branches():
    await asyncio.gather(calls_one(), holds_a_manager())


@pytest.mark.parametrize("kill_at", [1, 2, 3])
def test_a_collected_agent_leaves_the_context_of_whoever_collects_it_as_it_was(kill_at, monkeypatch):
    """Given an agent whose loop will never run again, When it is collected, Then code here is not inside that agent."""
    moved = []
    monkeypatch.setattr(frames, "here", Watched(here, moved))
    monkeypatch.setattr(agent_module, "here", Watched(here, moved))
    assert start(managers_below_branches, store=Store(kill_at)) is None
    assert moved == []
    assert here.get() is None


class Watched:
    """The place, with those kept that are set where no loop runs."""

    def __init__(self, variable, moved):
        self.get = variable.get
        self.variable = variable
        self.moved = moved

    def set(self, place):
        if asyncio._get_running_loop() is None:
            self.moved.append(place)
        return self.variable.set(place)
