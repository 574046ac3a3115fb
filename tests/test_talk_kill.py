"""Agents that talk while their workers die: at every call of the home, before it takes effect and after; and at random."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from playbooks_providers.envelope import read_header
from playbooks_providers.ids import AgentId
from playbooks_providers.model import Choice, Order, OrderKind, Status
from playbooks_providers.testing import eventually
from playbooks_worker.host.giving import give

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from perishing import CONVERSATIONS, PARKING, WHEN, Fuse, World, at_every_call, killed  # noqa: E402


@PARKING
@WHEN
@pytest.mark.parametrize(("entry", "args", "expected"), CONVERSATIONS, ids=lambda value: str(value)[:20])
def test_a_conversation_whose_worker_dies_at_any_call_ends_as_without(entry, args, expected, park_after_s, after):
    async def scenario(world, fuse):
        await world.submit(entry, *args)
        assert await killed(world, fuse, world.result()) == expected

    assert at_every_call(scenario, park_after_s, after=after) > 15


@pytest.mark.parametrize("seed", range(24))
def test_conversations_of_workers_that_die_at_random_calls_of_a_slow_home_end_as_without(seed):
    async def scenario():
        chance = random.Random(seed)
        entry, args, expected = CONVERSATIONS[seed % len(CONVERSATIONS)]
        world = World(0.0 if chance.random() < 0.7 else None, inbox_limit=chance.choice([1, 3, 1000]))
        try:
            for number in range(2):
                await world.worker(
                    f"w{number}", Fuse(chance.randrange(1, 60), after=chance.random() < 0.5, slow=chance)
                )
            await world.submit(entry, *args)
            ending, born = asyncio.create_task(world.result()), 2
            while not ending.done():
                burning = {name: asyncio.create_task(world.fuses[name].burnt.wait()) for name in world.living()}
                await asyncio.wait([ending, *burning.values()], return_when=asyncio.FIRST_COMPLETED)
                for name, task in burning.items():
                    if task.done():
                        await world.bury(name)
                        lasts = chance.randrange(20, 80) if born < 6 else None
                        await world.worker(f"w{born}", Fuse(lasts, after=chance.random() < 0.5, slow=chance))
                        born += 1
                    task.cancel()
            assert await ending == expected
        finally:
            await world.close()

    asyncio.run(scenario())


def test_a_letter_comes_through_although_the_inbox_is_full_of_letters_that_nobody_wants():
    async def scenario():
        world = World(None, inbox_limit=1)
        try:
            await world.worker("w0")
            await world.submit("picky")
            assert await world.result() == ["b", ["a", "c"]]
        finally:
            await world.close()

    asyncio.run(scenario())


def test_an_agent_whose_deadline_came_just_before_it_was_parked_goes_on():
    async def scenario():
        world = World(0.0)
        try:
            await world.worker("w0")
            home, asked, answers = world.fuses["w0"], asyncio.Event(), asyncio.Event()
            call = home.call

            async def slowly(name, method, args, options):
                if name == "park" and not asked.is_set():
                    asked.set()
                    await answers.wait()
                return await call(name, method, args, options)

            home.call = slowly
            await world.submit("short_nap")
            await asked.wait()
            before = (await world.view()).last
            world.clock.advance(1)

            async def has_gone_on():
                return (await world.view()).last > before

            await eventually(has_gone_on, 10.0, "the end of its sleep to be saved")
            answers.set()
            assert await world.result() == "awake"
        finally:
            await world.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("frozen", [False, True], ids=["in doubt", "frozen and thawed"])
def test_an_agent_that_cannot_be_parked_goes_on_although_its_session_was_in_doubt_meanwhile(frozen):
    async def scenario():
        world = World(0.0)
        try:
            await world.worker("w0")
            shift, home, asked, answers = world.shifts["w0"], world.fuses["w0"], asyncio.Event(), asyncio.Event()
            call = home.call

            async def slowly(name, method, args, options):
                if name == "park" and not asked.is_set():
                    asked.set()
                    await answers.wait()
                    shift.gate.close()
                    asyncio.get_running_loop().call_later(0.01, shift.gate.renew, 0.0, 100.0)
                return await call(name, method, args, options)

            home.call = slowly
            await world.submit("hears_one")
            await asked.wait()
            if frozen:
                shift.freeze()
                shift.thaw()
            await world.worker("w1")
            await world.submit("talks", "boss", 7, name="talker")
            await world.ended("talker")
            answers.set()
            assert await world.result() == 7
        finally:
            await world.close()

    asyncio.run(scenario())


# --- timers ----------------------------------------------------------------------------------------------------------
@WHEN
def test_a_sleeper_whose_worker_dies_at_any_call_sleeps_on_for_what_is_left(after):
    async def scenario(world, fuse):
        began_ms = world.clock.now_ms()
        await world.submit("nap")

        async def woken():
            while (view := await world.view()).status is not Status.COMPLETED:
                await asyncio.sleep(0)
                if view.status is Status.WAITING:
                    assert view.wake_ms == began_ms + 3_600_000
                    world.clock.advance((view.wake_ms - world.clock.now_ms()) / 1000)
                    await world.coordination.fire_due(limit=10)
            return read_header(view.header).result

        assert await killed(world, fuse, woken()) == "awake"

    assert at_every_call(scenario, 0.0, after=after) > 5


# --- orders ----------------------------------------------------------------------------------------------------------
async def ordered(world: World, kind: OrderKind, *, turns: int = 0) -> None:
    """As soon as it has written something, or waits; or some turns of the loop later."""
    while (await world.view()).last is None:
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    await give(world.coordination, AgentId("boss"), Order("order 1", kind, "enough"))


@PARKING
@WHEN
def test_a_cancelled_parent_whose_worker_dies_at_any_call_ends_as_cancelled_and_so_do_its_children(park_after_s, after):
    async def scenario(world, fuse):
        await world.submit("parent_of_sleepers")

        async def over():
            await ordered(world, OrderKind.CANCEL)
            await world.ended()
            for child in await world.coordination.agents():
                await world.ended(child)

        await killed(world, fuse, over())
        for agent in await world.coordination.agents():
            view = await world.view(agent)
            assert view.status is Status.CANCELLED, (view.agent, view.status)

    assert at_every_call(scenario, park_after_s, after=after) > 15


def test_a_child_that_is_spawned_between_its_parents_cancellation_and_its_raising_is_cancelled_too():
    async def scenario(turns):
        fuse = Fuse(4)  # its second owner reads the order in its lock, and goes on from the spawn of its first child
        world = World(None)

        async def over():
            await ordered(world, OrderKind.CANCEL, turns=turns)
            await world.ended()
            for child in await world.coordination.agents():
                assert (await world.ended(child)).status is Status.CANCELLED

        try:
            await world.submit("parent_of_sleepers")
            await killed(world, fuse, over())
        finally:
            await world.close()

    for turns in range(20):
        asyncio.run(scenario(turns))


@PARKING
@WHEN
def test_a_pause_while_the_worker_dies_at_any_call_is_obeyed_and_the_conversation_ends_as_without(park_after_s, after):
    entry, args, expected = CONVERSATIONS[0]

    async def scenario(world, fuse):
        await world.submit(entry, *args)

        async def over():
            await ordered(world, OrderKind.PAUSE)
            view = await world.becomes(Status.PAUSED, Status.COMPLETED)
            if view.status is Status.PAUSED:
                again = await world.coordination.retry(AgentId("boss"), view.fence, Choice.RESUME)
                await world.coordination.enqueue(again.ticket)
            return await world.result()

        assert await killed(world, fuse, over()) == expected

    assert at_every_call(scenario, park_after_s, after=after) > 15
