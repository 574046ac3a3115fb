"""The part of the coordination kit about caps: how many agents of a queue are held at once by all sessions together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from playbooks_providers.ids import SessionId
from playbooks_providers.lanes import Priority, lane, lanes_of
from playbooks_providers.loads import Load, Offer, QueueLoad
from playbooks_providers.model import Created, Ticket
from playbooks_providers.testing.agents_kit import WAIT_S
from playbooks_providers.testing.homes import CoordinatedHome, Kit, start_record, story
from playbooks_providers.testing.sessions_kit import ONE, TWO, info

LANES = lanes_of(["q"])


async def _enqueue(home: CoordinatedHome, *agents: str, queue: str = "q") -> None:
    for agent in agents:
        created = await home.coordination.create(start_record(agent, queue=queue))
        assert isinstance(created, Created) and created.ticket is not None
        await home.coordination.enqueue(created.ticket)


async def _read(home: CoordinatedHome, session: SessionId, limit: int = 8) -> Sequence[Ticket]:
    return await home.coordination.read(session, LANES, limit=limit, wait_s=0.0)


async def _any_order(home: CoordinatedHome, chance: random.Random, queue: str) -> None:
    """Beside a model of one line: what is held never grows above the cap."""
    coordination, cap = home.coordination, 3
    await coordination.set_cap(queue, cap)
    sessions, held, waiting, made = [SessionId(f"{queue} {name}") for name in "abc"], dict[str, list[Ticket]](), 0, 0
    for _ in range(120):
        session, act = chance.choice(sessions), chance.choice(["come", "read", "read", "end", "die", "say"])
        mine = held.setdefault(session, [])
        if act == "come":
            made, waiting = made + 1, waiting + 1
            await _enqueue(home, f"{queue} {made}", queue=lane(queue, chance.choice(list(Priority))))
        elif act == "read":
            limit = chance.randint(1, 4)
            room = max(0, cap - sum(map(len, held.values())))
            read = await coordination.read(session, lanes_of([queue]), limit=limit, wait_s=0.0)
            assert len(read) == min(limit, room, waiting)
            mine += read
            waiting -= len(read)
        elif act == "end" and mine:
            await coordination.acknowledge(session, mine.pop())
        elif act == "die":  # it had opened none of them: they are for others again
            await coordination.recover(session)
            waiting += len(mine)
            mine.clear()
        elif act == "say":
            cap = chance.randint(0, 5)
            await coordination.set_cap(queue, cap)


class CapsKit(Kit[CoordinatedHome]):
    """Never more than the cap; who waits learns of room."""

    @story
    async def test_all_sessions_together_hold_no_more_than_the_cap(self, home: CoordinatedHome) -> None:
        await home.coordination.set_cap("q", 3)
        await _enqueue(home, *(f"a{number}" for number in range(5)))
        one = await _read(home, ONE, 2)
        two = await _read(home, TWO)
        assert (len(one), len(two)) == (2, 1)
        assert list(await _read(home, ONE)) == list(await _read(home, TWO)) == []
        await home.coordination.acknowledge(ONE, one[0])
        await home.coordination.acknowledge(ONE, one[0])  # again: it makes no room twice
        assert len(await _read(home, TWO)) == 1
        assert list(await _read(home, ONE)) == []
        assert await home.coordination.caps() == {"q": 3}

    @story
    async def test_what_is_held_is_counted_in_all_lanes_and_room_is_given_by_priority(
        self, home: CoordinatedHome
    ) -> None:
        await home.coordination.set_cap("q", 2)
        for priority in Priority:
            await _enqueue(home, f"1 {priority}", f"2 {priority}", queue=lane("q", priority))
        await _enqueue(home, "another", queue="free")
        taken = []
        while tickets := await home.coordination.read(ONE, lanes_of(["q", "free"]), limit=8, wait_s=0.0):
            taken.append(sorted(ticket.agent for ticket in tickets))
            for ticket in tickets:
                await home.coordination.acknowledge(ONE, ticket)
        assert taken == [["1 high", "2 high", "another"], ["1 normal", "2 normal"], ["1 low", "2 low"]]

    @story
    async def test_who_waits_for_room_gets_it_when_another_session_is_done(self, home: CoordinatedHome) -> None:
        await home.coordination.set_cap("q", 1)
        await _enqueue(home, "a", "b")
        (first,) = await _read(home, ONE)
        waiting = asyncio.create_task(home.coordination.read(TWO, LANES, limit=8, wait_s=WAIT_S))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        await home.coordination.acknowledge(ONE, first)
        assert [ticket.agent for ticket in await waiting] == ["b"]

    @story
    async def test_who_waits_at_a_queue_with_a_cap_gets_what_comes(self, home: CoordinatedHome) -> None:
        await home.coordination.set_cap("q", 5)
        for lanes in (LANES, lanes_of(["q", "free"])):
            waiting = asyncio.create_task(home.coordination.read(ONE, lanes, limit=8, wait_s=WAIT_S))
            await asyncio.wait([waiting], timeout=0.1)
            assert not waiting.done()
            await _enqueue(home, f"a{len(lanes)}")
            assert [ticket.agent for ticket in await waiting] == [f"a{len(lanes)}"]

    @story
    async def test_many_who_wait_share_what_comes_at_once(self, home: CoordinatedHome) -> None:
        await home.coordination.set_cap("q", 6)
        sessions = [SessionId(f"s{number}") for number in range(6)]
        reads = [asyncio.create_task(home.coordination.read(one, LANES, limit=1, wait_s=WAIT_S)) for one in sessions]
        await asyncio.wait(reads, timeout=0.1)
        await _enqueue(home, *(f"a{number}" for number in range(9)))
        given = [ticket.agent for tickets in await asyncio.gather(*reads) for ticket in tickets]
        assert sorted(given) == [f"a{number}" for number in range(6)]
        assert list(await _read(home, ONE)) == []

    @story
    async def test_a_cap_that_is_raised_or_taken_away_lets_go_on_and_0_holds_the_queue(
        self, home: CoordinatedHome
    ) -> None:
        await home.coordination.set_cap("q", 0)
        await _enqueue(home, "a", "b", "c", "d")
        assert list(await _read(home, ONE)) == []
        await home.coordination.set_cap("q", 1)
        assert len(await home.coordination.read(ONE, LANES, limit=8, wait_s=WAIT_S)) == 1
        waiting = asyncio.create_task(home.coordination.read(TWO, LANES, limit=1, wait_s=WAIT_S))
        await asyncio.wait([waiting], timeout=0.1)
        await home.coordination.set_cap("q", 2)
        assert len(await waiting) == 1
        await home.coordination.set_cap("q", 1)  # below what is held: nobody is stopped
        assert list(await _read(home, TWO)) == []
        await home.coordination.set_cap("q", None)
        assert len(await _read(home, TWO)) == 2
        assert await home.coordination.caps() == {}

    @story
    async def test_what_a_dead_session_held_counts_until_it_is_recovered(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        await home.coordination.set_cap("q", 2)
        await _enqueue(home, "a", "b", "c")
        for ticket in await _read(home, ONE):
            await home.take(ticket, ONE)
        await home.coordination.bury(ONE, None)
        assert list(await _read(home, TWO)) == []
        await home.coordination.recover(ONE)
        assert len(await _read(home, TWO)) == 2
        assert list(await _read(home, TWO)) == []

    @story
    async def test_in_any_order_of_steps_a_read_gives_what_there_is_room_for_and_no_more(
        self, home: CoordinatedHome
    ) -> None:
        for seed in range(3):
            await _any_order(home, random.Random(seed), f"q{seed}")

    @story
    async def test_agents_that_wait_for_the_cap_are_ready_and_not_runnable(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        await home.coordination.offer(ONE, Offer("main", 50, {"q": 50}))
        await home.coordination.set_cap("q", 3)
        await _enqueue(home, *(f"a{number}" for number in range(5)))
        (load,) = (await home.coordination.load()).queues
        assert load == QueueLoad("q", 5, 0, 0, 50, 3)
        assert (await home.coordination.load()).groups == {"main": Load(runnable=3, slots=50)}
        await _read(home, ONE)
        await home.coordination.set_cap("q", 1)
        (load,) = (await home.coordination.load()).queues
        assert load == QueueLoad("q", 2, 3, 0, 50, 1) and load.runnable == 3
