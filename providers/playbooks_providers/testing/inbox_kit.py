"""The part of the coordination kit about letters: each accepted once, in its sender's order, by whoever still lives."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from playbooks_providers.ids import AgentId, new_session_id
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail
from playbooks_providers.model import FINAL, Choice, Done, Gone, SessionInfo, Status
from playbooks_providers.testing.agents_kit import NOTHING, WAIT_S, A, created, minted, save, status
from playbooks_providers.testing.homes import CoordinatedHome, entry, story

B = AgentId("b2")
ROOMY = 1000


def letter(number: int, *, sender: str = "b2", birth: int = 7, body: bytes = b"", pressing: bool = False) -> Letter:
    return Letter(sender, birth, number, body or b"letter %d" % number, pressing)


def accepted(place: int, letter: Letter) -> Mail:
    return Mail(place, letter.sender, letter.birth, letter.number, letter.body)


async def delivered(home: CoordinatedHome, *letters: Letter, to: AgentId = A) -> Delivered:
    """All of *letters*, each fresh; the last answer."""
    answer: object = None
    for one in letters:
        answer = await home.coordination.deliver(to, one, limit=ROOMY)
        assert isinstance(answer, Delivered) and answer.fresh, answer
    assert isinstance(answer, Delivered)
    return answer


class InboxKit:
    """`Coordination.deliver`, `mail`, `forget_mail`, `poke` and `pokes`."""

    def home(self) -> AbstractAsyncContextManager[CoordinatedHome]:
        raise NotImplementedError("say how to open a home")

    @story
    async def test_letters_are_read_in_the_order_in_which_they_were_accepted(self, home: CoordinatedHome) -> None:
        await home.own(A)
        assert list(await home.coordination.mail(A, 0, limit=10)) == []
        sent = [
            letter(1),
            letter(1, sender="person:maría"),
            letter(2, body=bytes(range(256))),
            letter(1, sender="x" * 128),
        ]
        await delivered(home, *sent)
        all_of_it = [accepted(place, one) for place, one in enumerate(sent, start=1)]
        assert list(await home.coordination.mail(A, 0, limit=10)) == all_of_it
        assert list(await home.coordination.mail(A, 1, limit=2)) == all_of_it[1:3]
        assert list(await home.coordination.mail(A, 4, limit=10)) == []
        assert list(await home.coordination.mail(AgentId("nobody"), 0, limit=10)) == []
        view = await home.coordination.describe(A)
        assert view is not None and view.mail == 4

    @story
    async def test_a_letter_that_was_accepted_before_is_not_accepted_again(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await delivered(home, letter(1), letter(2))
        for again in (letter(2), letter(1, body=b"other"), letter(2)):
            answer = await home.coordination.deliver(A, again, limit=ROOMY)
            assert answer == Delivered(fresh=False, session=lock.session)
        assert [one.number for one in await home.coordination.mail(A, 0, limit=10)] == [1, 2]

    @story
    async def test_many_copies_at_once_are_accepted_once(self, home: CoordinatedHome) -> None:
        await home.own(A)
        answers = await asyncio.gather(*(home.coordination.deliver(A, letter(1), limit=ROOMY) for _ in range(10)))
        assert sorted(isinstance(answer, Delivered) and answer.fresh for answer in answers) == [False] * 9 + [True]
        assert len(await home.coordination.mail(A, 0, limit=10)) == 1

    @story
    async def test_a_letter_before_its_turn_is_told_which_comes_next(self, home: CoordinatedHome) -> None:
        await home.own(A)
        assert await home.coordination.deliver(A, letter(2), limit=ROOMY) == Gap(A, 1)
        await delivered(home, letter(1))
        assert await home.coordination.deliver(A, letter(3), limit=ROOMY) == Gap(A, 2)
        await delivered(home, letter(2), letter(3))

    @story
    async def test_a_later_birth_is_another_sender_under_the_same_name(self, home: CoordinatedHome) -> None:
        await home.own(A)
        await delivered(home, letter(1, birth=7), letter(2, birth=7))
        assert await home.coordination.deliver(A, letter(3, birth=8), limit=ROOMY) == Gap(A, 1)
        await delivered(home, letter(1, birth=8))
        assert await home.coordination.deliver(A, letter(3, birth=7), limit=ROOMY) == Gone(A)
        assert await home.coordination.deliver(A, letter(1, birth=7), limit=ROOMY) == Gone(A)
        assert [(one.birth, one.number) for one in await home.coordination.mail(A, 0, limit=10)] == [
            (7, 1),
            (7, 2),
            (8, 1),
        ]

    @story
    async def test_a_letter_to_an_agent_that_bore_the_id_before_is_for_nobody(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        view = await home.coordination.describe(A)
        assert view is not None and view.birth == lock.birth > 0
        answer = await home.coordination.deliver(A, letter(1), limit=ROOMY, birth=lock.birth - 1)
        assert answer == Gone(A)
        answer = await home.coordination.deliver(A, letter(1), limit=ROOMY, birth=lock.birth)
        assert isinstance(answer, Delivered) and answer.fresh

    @story
    async def test_birth_is_the_first_fence_and_stays_through_all_owners(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        lock = await home.take(ticket)
        assert lock.birth == ticket.fence
        again = await home.own(A)
        assert again.fence > ticket.fence and again.birth == ticket.fence

    @story
    async def test_a_full_inbox_takes_what_is_pressing_and_nothing_else(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        for number in (1, 2):
            answer = await home.coordination.deliver(A, letter(number), limit=2)
            assert isinstance(answer, Delivered)
        assert await home.coordination.deliver(A, letter(3), limit=2) == Full(A)
        assert await home.coordination.deliver(A, letter(1), limit=2) == Delivered(fresh=False, session=lock.session)
        answer = await home.coordination.deliver(A, letter(1, sender="child", pressing=True), limit=2)
        assert isinstance(answer, Delivered) and answer.fresh
        assert await home.coordination.deliver(A, letter(3), limit=2) == Full(A)
        await home.coordination.forget_mail(lock, 2)
        answer = await home.coordination.deliver(A, letter(3), limit=2)
        assert isinstance(answer, Delivered) and answer.fresh
        assert [one.place for one in await home.coordination.mail(A, 0, limit=10)] == [3, 4]

    @story
    async def test_what_was_read_is_forgotten_by_its_owner_alone_and_is_still_known(
        self, home: CoordinatedHome
    ) -> None:
        old = await home.own(A)
        await delivered(home, letter(1), letter(2), letter(3))
        new = await home.own(A)
        await home.coordination.forget_mail(old, 3)
        assert len(await home.coordination.mail(A, 0, limit=10)) == 3
        for _ in range(2):
            await home.coordination.forget_mail(new, 2)
            assert [one.place for one in await home.coordination.mail(A, 0, limit=10)] == [3]
        await home.coordination.forget_mail(new, 3)
        assert await home.coordination.deliver(A, letter(2), limit=ROOMY) == Delivered(fresh=False, session=new.session)
        await delivered(home, letter(4))
        assert [one.place for one in await home.coordination.mail(A, 0, limit=10)] == [4]

    @story
    async def test_whoever_delivers_hears_what_must_follow(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        answer = await home.coordination.deliver(A, letter(1), limit=ROOMY)
        assert answer == Delivered(fresh=True, ticket=ticket)
        assert await home.coordination.deliver(A, letter(1), limit=ROOMY) == Delivered(fresh=False, ticket=ticket)
        lock = await home.take(ticket)
        assert await home.coordination.deliver(A, letter(2), limit=ROOMY) == Delivered(fresh=True, session=lock.session)
        await home.coordination.stop(lock, Status.BLOCKED, "why")
        assert await home.coordination.deliver(A, letter(3), limit=ROOMY) == Delivered(fresh=True)
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
    async def test_a_session_hears_who_was_poked_each_once(self, home: CoordinatedHome) -> None:
        session, other = new_session_id(), new_session_id()
        for one in (session, other):
            await home.coordination.register(SessionInfo(one, "w", "h", 1, "b", 1))
        waiting = asyncio.create_task(home.coordination.pokes(session, wait_s=WAIT_S))
        await asyncio.sleep(0)
        await home.coordination.poke(session, A)
        assert list(await waiting) == [A]
        for agent in (A, B, A):
            await home.coordination.poke(session, agent)
        assert sorted(await home.coordination.pokes(session, wait_s=WAIT_S)) == [A, B]
        assert list(await home.coordination.pokes(session, wait_s=0.01)) == []
        assert list(await home.coordination.pokes(other, wait_s=0)) == []

    @story
    async def test_a_poke_for_a_session_that_is_over_harms_nobody(self, home: CoordinatedHome) -> None:
        session = new_session_id()
        await home.coordination.register(SessionInfo(session, "w", "h", 1, "b", 1))
        await home.coordination.poke(session, A)
        await home.coordination.bury(session, None)
        await home.coordination.poke(session, A)
