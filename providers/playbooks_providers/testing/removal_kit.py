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
