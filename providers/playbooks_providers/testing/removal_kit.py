"""The part of the coordination kit about agents that are gone or are to go."""

from __future__ import annotations

from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.letters import Ordered, Parked
from playbooks_providers.model import Created, Done, Gone, Lost, Saved, Stale, Status, Ticket
from playbooks_providers.testing.agents_kit import A, created, save, status
from playbooks_providers.testing.ending_kit import TERMINATE
from playbooks_providers.testing.homes import CoordinatedHome, Kit, start_record, story
from playbooks_providers.testing.letters_kit import ROOMY, delivered, letter
from playbooks_providers.testing.orders_kit import CANCEL, PAUSE, in_every_status
from playbooks_providers.testing.parking_kit import parked
from playbooks_providers.testing.sessions_kit import ONE, info


class RemovalKit(Kit[CoordinatedHome]):
    """`Coordination.delete`; what wakes nobody any more."""

    @story
    async def test_the_timer_of_a_paused_agent_wakes_nobody(self, home: CoordinatedHome) -> None:
        await parked(home, wake_ms=1)
        assert await home.coordination.order(A, PAUSE) == Ordered(Status.PAUSED)
        assert list(await home.coordination.fire_due(limit=10)) == []
        assert await status(home) is Status.PAUSED

    @story
    async def test_one_that_was_terminated_is_woken_by_nobody(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        await home.coordination.terminate(A, "enough")
        assert await home.coordination.wake(A, lock.fence, lock.session) == Gone(A)

    @story
    async def test_whoever_recovers_one_that_is_to_be_terminated_has_its_ticket(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        await home.coordination.order(A, TERMINATE)
        assert await home.coordination.wake(A, lock.fence, lock.session) != Gone(A)

    @story
    async def test_a_ticket_that_opens_nothing_any_more_is_no_agent_that_could_run(self, home: CoordinatedHome) -> None:
        async def waiting_ones() -> list[tuple[int, int]]:
            return [(load.ready, load.running) for load in (await home.coordination.load()).queues]

        async def pause(agent: AgentId) -> None:
            assert await home.coordination.order(agent, PAUSE) == Ordered(Status.PAUSED)

        async def terminate(agent: AgentId) -> None:  # as commands do
            ordered = await home.coordination.order(agent, TERMINATE)
            assert isinstance(ordered, Ordered) and ordered.ticket is not None
            await home.coordination.enqueue(ordered.ticket)
            assert (1, 0) in await waiting_ones()  # whoever takes it tells who waits for it, and ends it
            assert await home.coordination.terminate(agent, "enough") == Done()

        async def delete(agent: AgentId) -> None:
            assert await home.coordination.delete(agent) == Done()

        for end in (pause, terminate, delete):
            agent = AgentId(end.__name__)
            await home.coordination.enqueue(await created(home, agent))
            await end(agent)
            assert not any(ready for ready, _ in await waiting_ones()), end.__name__

    @story
    async def test_the_ticket_of_another_and_one_that_was_read_are_left_where_they_are(
        self, home: CoordinatedHome
    ) -> None:
        await home.coordination.register(info(ONE))
        read, other = await created(home, AgentId("read")), await created(home, AgentId("other"))
        await home.coordination.enqueue(read)
        (held,) = await home.coordination.read(ONE, ["q"], limit=1, wait_s=5.0)
        await home.coordination.enqueue(other)
        await home.coordination.delete(read.agent)
        (load,) = (await home.coordination.load()).queues
        assert (load.ready, load.running) == (1, 1)
        await home.coordination.acknowledge(ONE, held)
        (ticket,) = await home.coordination.read(ONE, ["q"], limit=9, wait_s=5.0)
        assert (ticket.agent, ticket.fence) == (other.agent, other.fence)

    @story
    async def test_a_deleted_agent_is_forgotten_and_its_owner_refused(self, home: CoordinatedHome) -> None:
        agents = await in_every_status(home)
        view = await home.coordination.describe(agents[Status.RUNNING])
        assert view is not None and view.session is not None
        for agent in agents.values():
            for _ in range(2):
                assert await home.coordination.delete(agent) == Done()
            assert await home.coordination.describe(agent) is None
            assert await home.checkpoints.load(agent) is None
            assert list(await home.coordination.mail(agent, 0, limit=9)) == []
            assert await home.coordination.deliver(agent, letter(1), limit=ROOMY) == Gone(agent)
            assert await home.coordination.order(agent, CANCEL) == Gone(agent)
            assert await home.coordination.terminate(agent, "why") == Gone(agent)
        assert list(await home.coordination.agents()) == []
        assert await home.coordination.wake(view.agent, view.fence, view.session) == Gone(view.agent)
        assert await home.coordination.delete(AgentId("nobody")) == Gone(AgentId("nobody"))

    @story
    async def test_a_new_agent_of_a_deleted_id_is_another_one(self, home: CoordinatedHome) -> None:
        old = await home.take(await created(home))
        await save(home, old, 1)
        await delivered(home, letter(1), letter(2))
        ticket = Ticket(A, old.fence, "q")
        await home.coordination.delete(A)
        assert await home.coordination.take(ticket, old.session, old.nonce) == Stale(ticket)
        answer = await home.coordination.create(start_record(A, other=True))
        assert isinstance(answer, Created) and answer.fresh and answer.ticket is not None
        assert answer.ticket.fence > old.fence
        assert await home.coordination.take(ticket, old.session, old.nonce) == Stale(ticket)
        new = await home.take(answer.ticket)
        assert new.birth == new.fence > old.birth and new.resume_from is None
        assert await save(home, old, 2) == Lost(A)
        assert await home.coordination.deliver(A, letter(3), limit=ROOMY, birth=old.birth) == Gone(A)
        await delivered(home, letter(1))
        await home.coordination.forget_mail(old, 99)
        assert len(await home.coordination.mail(A, 0, limit=9)) == 1
        assert await save(home, new, 1) == Saved(CheckpointId(new.fence, 1))
        assert await home.coordination.park(old, CheckpointId(old.fence, 1), 9, None) == Gone(A)
        await home.coordination.forget_mail(new, 1)
        assert await home.coordination.park(new, CheckpointId(new.fence, 1), 1, None) == Parked()
