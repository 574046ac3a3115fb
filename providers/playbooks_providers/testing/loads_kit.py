"""The part of the coordination kit about how much there is to do, who could do it, and who is asked to stop."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from playbooks_providers.ids import Nonce, SessionId
from playbooks_providers.lanes import Priority, lane, lanes_of
from playbooks_providers.loads import Load, Offer, QueueLoad
from playbooks_providers.model import Created, Status, Taken
from playbooks_providers.testing.homes import CoordinatedHome, Kit, start_record, story
from playbooks_providers.testing.sessions_kit import ONE, TWO, info


async def _enqueue(home: CoordinatedHome, *agents: str) -> str:
    queue = ""
    for agent in agents:
        created = await home.coordination.create(start_record(agent))
        assert isinstance(created, Created) and created.ticket is not None
        await home.coordination.enqueue(created.ticket)
        queue = created.ticket.queue
    return queue


async def _take(home: CoordinatedHome, session: SessionId, queue: str, count: int) -> None:
    for ticket in await home.coordination.read(session, [queue], limit=count, wait_s=0.0):
        assert isinstance(await home.coordination.take(ticket, session, Nonce("n")), Taken)


class LoadsKit(Kit[CoordinatedHome]):
    """Ready, running, orphaned; capacity; draining; the census."""

    @story
    async def test_a_home_without_work_and_workers_has_no_load(self, home: CoordinatedHome) -> None:
        assert (await home.coordination.load()).queues == []

    @story
    async def test_ready_and_running_agents_are_counted_by_queue_until_they_are_acknowledged(
        self, home: CoordinatedHome
    ) -> None:
        await home.coordination.register(info(ONE))
        queue = await _enqueue(home, "a1", "a2", "a3")
        assert (await home.coordination.load()).queues == [QueueLoad(queue, 3, 0, 0, 0)]
        await _take(home, ONE, queue, 2)
        (load,) = (await home.coordination.load()).queues
        assert load == QueueLoad(queue, 1, 2, 0, 0) and load.runnable == 3
        (first, _) = await home.coordination.pending(ONE, [queue])
        await home.coordination.acknowledge(ONE, first)
        assert (await home.coordination.load()).queues == [QueueLoad(queue, 1, 1, 0, 0)]

    @story
    async def test_what_a_dead_session_held_is_orphaned_until_it_is_recovered(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        queue = await _enqueue(home, "a1", "a2")
        await _take(home, ONE, queue, 2)
        await home.coordination.bury(ONE, None)
        assert (await home.coordination.load()).queues == [QueueLoad(queue, 0, 2, 2, 0)]
        await home.coordination.recover(ONE)
        assert (await home.coordination.load()).queues == [QueueLoad(queue, 2, 0, 0, 0)]

    @story
    async def test_capacity_is_what_live_sessions_offer_and_a_draining_one_offers_nothing(
        self, home: CoordinatedHome
    ) -> None:
        for session, queues in ((ONE, {"p": 50, "q": 50}), (TWO, {"q": 50})):
            await home.coordination.register(info(session))
            await home.coordination.offer(session, Offer("main", 50, queues))
        assert (await home.coordination.load()).queues == [QueueLoad("p", 0, 0, 0, 50), QueueLoad("q", 0, 0, 0, 100)]
        for _ in range(2):
            await home.coordination.ask_to_drain([TWO])
        assert await home.coordination.draining() == {TWO}
        load = await home.coordination.load()
        assert [one.capacity for one in load.queues] == [50, 50] and load.groups == {"main": Load(0, 50)}
        await home.coordination.bury(TWO, None)
        assert await home.coordination.draining() == frozenset()
        await home.coordination.bury(ONE, None)
        assert (await home.coordination.load()).queues == []

    @story
    async def test_who_takes_from_several_queues_has_its_slots_once(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        queue = await _enqueue(home, *(f"a{number}" for number in range(6)))
        assert (await home.coordination.load()).total == Load(runnable=6, slots=0)
        await home.coordination.offer(ONE, Offer("main", 4, {queue: 4, "tea": 4, "coffee": 4}))
        load = await home.coordination.load()
        assert [one.capacity for one in load.queues] == [4, 4, 4]
        assert load.groups == {"main": Load(runnable=6, slots=4)} and load.total == Load(runnable=6, slots=4)

    @story
    async def test_each_group_has_the_load_of_the_queues_that_it_takes_from(self, home: CoordinatedHome) -> None:
        queue = await _enqueue(home, *(f"a{number}" for number in range(6)))
        for session, group, slots, queues in ((ONE, "main", 4, ("tea",)), (TWO, "heavy", 2, (queue, "tea"))):
            await home.coordination.register(info(session))
            await home.coordination.offer(session, Offer(group, slots, dict.fromkeys(queues, slots)))
        load = await home.coordination.load()
        assert load.groups == {"main": Load(0, 4), "heavy": Load(6, 2)} and load.total == Load(6, 6)
        assert {session: offer.group for session, offer in (await home.coordination.offers()).items()} == {
            ONE: "main",
            TWO: "heavy",
        }
        await home.coordination.bury(ONE, None)
        assert list(await home.coordination.offers()) == [TWO]
        await home.coordination.register(info(ONE))
        await home.coordination.offer(ONE, Offer("main", 4, {"tea": 4}))
        await home.coordination.ask_to_drain([TWO])
        load = await home.coordination.load()
        assert load.groups == {"main": Load(0, 4)} and load.total == Load(6, 4)

    @story
    async def test_lanes_are_one_queue_to_who_counts_and_read_by_priority(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        for agent, priority in (("l", "low"), ("n1", "normal"), ("h1", "high"), ("n2", "normal"), ("h2", "high")):
            start = replace(start_record(agent), queue=lane("q", Priority(priority)))
            created = await home.coordination.create(start)
            assert isinstance(created, Created) and created.ticket is not None
            await home.coordination.enqueue(created.ticket)
        assert (await home.coordination.load()).queues == [QueueLoad("q", 5, 0, 0, 0)]
        taken: list[str] = []
        for count in (1, 2, 2):
            tickets = await home.coordination.read(ONE, lanes_of(["q"]), limit=count, wait_s=5.0)
            assert len(tickets) == count
            taken += [ticket.agent for ticket in tickets]
        assert taken == ["h1", "h2", "n1", "n2", "l"]
        assert (await home.coordination.load()).queues == [QueueLoad("q", 0, 5, 0, 0)]
        assert (await home.coordination.sweep("", limit=1000)).seen == {(Status.READY, "q"): 5}

    @story
    async def test_a_round_of_the_sweep_counts_every_agent_once(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        queue = await _enqueue(home, *(f"a{number}" for number in range(25)))
        await _take(home, ONE, queue, 5)
        cursor, seen = "", Counter[tuple[Status, str]]()
        while True:
            swept = await home.coordination.sweep(cursor, limit=10)
            seen.update(swept.seen)
            cursor = swept.cursor
            if not cursor:
                break
        assert seen == {(Status.READY, queue): 20, (Status.RUNNING, queue): 5}
