"""A part of the coordination kit, which a folder keeps, too: mail that nobody has looked through, agents that are to be
terminated."""

from __future__ import annotations

from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Ordered, Unread
from playbooks_providers.model import FINAL, Done, Gone, Lost, Order, OrderKind, Status
from playbooks_providers.testing.agents_kit import NOTHING, A, save, status
from playbooks_providers.testing.homes import AgentsHome, Kit, entry, story
from playbooks_providers.testing.letters_kit import delivered, letter
from playbooks_providers.testing.orders_kit import CANCEL, PAUSE, in_every_status

TERMINATE = Order("t1", OrderKind.TERMINATE, "enough")


class EndingKit(Kit[AgentsHome]):
    """`Coordination.finish` and `terminate` with ``read``; `order` of *terminate*."""

    @story
    async def test_an_agent_does_not_end_before_its_mail_was_looked_through(self, home: AgentsHome) -> None:
        for number, end in enumerate(sorted(FINAL)):
            agent = AgentId(f"agent-{number}")
            lock = await home.own(agent)
            final = entry(lock, 1, b"", kind="completed", result=1)
            await home.checkpoints.save(lock, final, oldest=NOTHING)
            await delivered(home, letter(1), letter(2), to=agent)
            for _ in range(2):
                assert await home.coordination.finish(lock, end, final, read=1) == Unread(agent)
                assert await status(home, agent) is Status.RUNNING
            assert len(await home.coordination.mail(agent, 1, limit=9)) == 1
            for _ in range(2):
                assert await home.coordination.finish(lock, end, final, read=2) == Done()
            assert await home.coordination.finish(lock, end, final, read=0) == Done()

    @story
    async def test_nor_is_it_terminated_before(self, home: AgentsHome) -> None:
        lock = await home.own(A)
        await delivered(home, letter(1))
        assert await home.coordination.terminate(A, "enough", read=0) == Unread(A)
        assert await status(home, A) is Status.RUNNING and await save(home, lock, 1) != Lost(A)
        assert await home.coordination.terminate(A, "enough", read=1) == Done()
        assert await home.coordination.terminate(A, "enough", read=0) == Done()

    @story
    async def test_one_that_is_to_be_terminated_is_ready_and_its_owner_is_out(self, home: AgentsHome) -> None:
        for before, agent in (await in_every_status(home)).items():
            was = await home.coordination.describe(agent)
            assert was is not None
            answer = await home.coordination.order(agent, TERMINATE)
            if before in FINAL:
                assert answer == Gone(agent)
                continue
            assert isinstance(answer, Ordered) and answer.ticket is not None
            assert (answer.status, answer.session) == (Status.READY, was.session)
            assert answer.ticket.fence > was.fence and await home.coordination.wanted(agent) == TERMINATE
            again = await home.coordination.order(agent, TERMINATE)
            assert isinstance(again, Ordered) and again.ticket == answer.ticket
            lock = await home.take(answer.ticket)
            assert lock.order == TERMINATE and lock.resume_from == was.last and lock.birth == was.birth
            assert await home.coordination.terminate(agent, "enough", read=0) == Done()
            assert await home.coordination.wanted(agent) is None

    @story
    async def test_the_owner_of_one_that_is_to_be_terminated_writes_nothing_more(self, home: AgentsHome) -> None:
        lock = await home.own(A)
        await save(home, lock, 1)
        await home.coordination.order(A, TERMINATE)
        assert await save(home, lock, 2) == Lost(A)
        final = entry(lock, 3, b"", kind="completed", result=1)
        assert await home.coordination.finish(lock, Status.COMPLETED, final) == Gone(A)

    @story
    async def test_nothing_less_takes_the_place_of_that_order_and_every_owner_is_told(self, home: AgentsHome) -> None:
        lock = await home.own(A)
        await home.coordination.order(A, CANCEL)
        answer = await home.coordination.order(A, TERMINATE)
        assert isinstance(answer, Ordered) and answer.session == lock.session
        for order in (PAUSE, CANCEL):
            assert await home.coordination.order(A, order) == Gone(A)
        assert (await home.own(A)).order == TERMINATE  # who took it died
        assert (await home.own(A)).order == TERMINATE
