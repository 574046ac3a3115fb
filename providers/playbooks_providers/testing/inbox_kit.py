"""The part of the coordination kit about letters and what follows one: who is woken, who is poked, who is gone."""

from __future__ import annotations

import asyncio

from playbooks_providers.ids import AgentId, new_session_id
from playbooks_providers.letters import Delivered, Mail, Poke, Standing
from playbooks_providers.model import FINAL, Choice, Done, Gone, SessionInfo, Status
from playbooks_providers.testing.agents_kit import NOTHING, WAIT_S, A, created, minted, save, status
from playbooks_providers.testing.homes import CoordinatedHome, Kit, entry, story
from playbooks_providers.testing.letters_kit import ROOMY, delivered, letter

B = AgentId("b2")


class InboxKit(Kit[CoordinatedHome]):
    """What `Coordination.deliver` makes of agents in every status; `poke` and `pokes`."""

    @story
    async def test_what_is_in_the_inbox_is_counted(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await delivered(home, letter(1), letter(2), letter(3))
        await home.coordination.forget_mail(lock, 1)
        view = await home.coordination.describe(A)
        assert view is not None and view.mail == 2

    @story
    async def test_birth_is_the_first_fence_and_stays_through_all_owners(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        lock = await home.take(ticket)
        assert lock.birth == ticket.fence
        again = await home.own(A)
        assert again.fence > ticket.fence and again.birth == ticket.fence

    @story
    async def test_where_an_agent_stands_is_known_without_describing_it(self, home: CoordinatedHome) -> None:
        assert await home.coordination.standing(A) is None
        ticket = await created(home)
        assert await home.coordination.standing(A) == Standing(Status.READY, ticket.fence)
        lock = await home.own(A)
        assert await home.coordination.standing(A) == Standing(Status.RUNNING, ticket.fence)
        final = entry(lock, 1, b"", kind="completed", result=1)
        await home.checkpoints.save(lock, final, oldest=NOTHING)
        await home.coordination.finish(lock, Status.COMPLETED, final)
        assert await home.coordination.standing(A) == Standing(Status.COMPLETED, ticket.fence)
        await home.coordination.delete(A)
        assert await home.coordination.standing(A) is None

    @story
    async def test_whoever_delivers_hears_what_must_follow(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        answer = await home.coordination.deliver(A, letter(1), limit=ROOMY)
        assert answer == Delivered(fresh=True, ticket=ticket, place=1)
        assert await home.coordination.deliver(A, letter(1), limit=ROOMY) == Delivered(fresh=False, ticket=ticket)
        lock = await home.take(ticket)
        answer = await home.coordination.deliver(A, letter(2), limit=ROOMY)
        assert answer == Delivered(fresh=True, session=lock.session, place=2)
        await home.coordination.stop(lock, Status.BLOCKED, "why")
        assert await home.coordination.deliver(A, letter(3), limit=ROOMY) == Delivered(fresh=True, place=3)
        assert await status(home) is Status.BLOCKED
        assert len(await home.coordination.mail(A, 0, limit=10)) == 3

    @story
    async def test_an_unknown_or_ended_agent_takes_no_letter_but_knows_those_it_took(
        self, home: CoordinatedHome
    ) -> None:
        assert await home.coordination.deliver(A, letter(1), limit=ROOMY) == Gone(A)
        for number, end in enumerate(sorted(FINAL)):
            agent = AgentId(f"agent-{number}")
            lock = await home.own(agent)
            await delivered(home, letter(1), to=agent)
            final = entry(lock, 1, b"", kind="completed", result=1)
            await home.checkpoints.save(lock, final, oldest=NOTHING)
            assert await home.coordination.finish(lock, end, final) == Done()
            assert await home.coordination.deliver(agent, letter(2), limit=ROOMY) == Gone(agent)
            assert await home.coordination.deliver(agent, letter(1), limit=ROOMY) == Delivered(fresh=False)
            assert len(await home.coordination.mail(agent, 0, limit=10)) == (1 if end is Status.FAILED else 0)

    @story
    async def test_a_failed_agent_that_is_retried_reads_on_where_it_stood(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await delivered(home, letter(1), letter(2))
        await save(home, lock, 1)
        await home.coordination.forget_mail(lock, 1)
        final = entry(lock, 2, b"", kind="failed")
        await home.checkpoints.save(lock, final, oldest=NOTHING)
        await home.coordination.finish(lock, Status.FAILED, final)
        view = await home.coordination.describe(A)
        assert view is not None and view.mail == 1
        again = await home.take(minted(await home.coordination.retry(A, view.fence, Choice.RESUME)))
        assert again.birth == lock.birth
        await delivered(home, letter(3))
        assert [one.number for one in await home.coordination.mail(A, 1, limit=10)] == [2, 3]

    @story
    async def test_a_restarted_agent_is_another_one_under_the_same_id(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await delivered(home, letter(1), letter(2))
        await save(home, lock, 1)
        await home.coordination.stop(lock, Status.BLOCKED, "why")
        view = await home.coordination.describe(A)
        assert view is not None and view.birth == lock.birth
        again = await home.take(minted(await home.coordination.retry(A, view.fence, Choice.RESTART)))
        assert again.birth == again.fence > lock.birth
        assert list(await home.coordination.mail(A, 0, limit=10)) == []
        assert await home.coordination.deliver(A, letter(3), limit=ROOMY, birth=lock.birth) == Gone(A)
        await delivered(home, letter(1))
        assert len(await home.coordination.mail(A, 0, limit=10)) == 1

    # --- pokes ----------------------------------------------------------------------------------------------------
    @story
    async def test_a_session_hears_what_it_was_poked_with(self, home: CoordinatedHome) -> None:
        session, other = new_session_id(), new_session_id()
        for one in (session, other):
            await home.coordination.register(SessionInfo(one, "w", "h", 1, "b", 1))
        waiting = asyncio.create_task(home.coordination.pokes(session, wait_s=WAIT_S))
        await asyncio.sleep(0)
        await home.coordination.poke(session, Poke(A))
        assert list(await waiting) == [Poke(A)]
        given = [Poke(A), Poke(B, 7, Mail(3, "sender", 5, 1, b"body")), Poke(A)]
        for poke in given:
            await home.coordination.poke(session, poke)
        assert list(await home.coordination.pokes(session, wait_s=WAIT_S)) == given
        assert list(await home.coordination.pokes(session, wait_s=0.01)) == []
        assert list(await home.coordination.pokes(other, wait_s=0)) == []

    @story
    async def test_a_poke_for_a_session_that_is_over_harms_nobody(self, home: CoordinatedHome) -> None:
        session = new_session_id()
        await home.coordination.register(SessionInfo(session, "w", "h", 1, "b", 1))
        await home.coordination.poke(session, Poke(A))
        await home.coordination.bury(session, None)
        await home.coordination.poke(session, Poke(A))
