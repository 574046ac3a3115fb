"""The conformance kit of `contracts.Inboxes`: each letter accepted once, in its sender's order.

    class TestMyInboxes(LettersKit):
        @asynccontextmanager
        async def home(self):
            yield my_home          # a `Home` that also has `inboxes`

A part of the coordination kit, and all that a home without coordination keeps.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from playbooks_providers.contracts import Inboxes
from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail
from playbooks_providers.model import Gone
from playbooks_providers.testing.agents_kit import A
from playbooks_providers.testing.homes import Home, Kit, story


class InboxHome(Home, Protocol):
    @property
    def inboxes(self) -> Inboxes: ...


ROOMY = 1000


def letter(number: int, *, sender: str = "b2", birth: int = 7, body: bytes = b"", pressing: bool = False) -> Letter:
    return Letter(sender, birth, number, body or b"letter %d" % number, pressing)


def accepted(place: int, letter: Letter) -> Mail:
    return Mail(place, letter.sender, letter.birth, letter.number, letter.body)


async def delivered(home: InboxHome, *letters: Letter, to: AgentId = A) -> Delivered:
    """All of *letters*, each fresh; the last answer."""
    answer: object = None
    for one in letters:
        answer = await home.inboxes.deliver(to, one, limit=ROOMY)
        assert isinstance(answer, Delivered) and answer.fresh, answer
    assert isinstance(answer, Delivered)
    return answer


async def known(home: InboxHome, letter: Letter) -> None:
    """*letter* was accepted before, and is not accepted again, room or not."""
    answer = await home.inboxes.deliver(A, letter, limit=0)
    assert isinstance(answer, Delivered) and not answer.fresh, answer


class LettersKit(Kit[InboxHome]):
    """`Inboxes.deliver`, `mail` and `forget_mail`."""

    @story
    async def test_a_letter_of_a_sender_that_has_only_this_one_is_accepted_whenever_it_comes(
        self, home: InboxHome
    ) -> None:
        await home.own(A)
        only = Letter("child:end", 7, 1, b"it has ended", pressing=True, once=True)
        for place in (1, 2):
            answer = await home.inboxes.deliver(A, only, limit=0)
            assert isinstance(answer, Delivered) and (answer.fresh, answer.place) == (True, place)
        assert await home.inboxes.mail(A, 0, limit=9) == [accepted(1, only), accepted(2, only)]
        await delivered(home, letter(1))
        await known(home, letter(1))

    @story
    async def test_letters_are_read_in_the_order_in_which_they_were_accepted(self, home: InboxHome) -> None:
        await home.own(A)
        assert list(await home.inboxes.mail(A, 0, limit=10)) == []
        sent = [
            letter(1),
            letter(1, sender="person:maría"),
            letter(2, body=bytes(range(256))),
            letter(1, sender="x" * 128),
        ]
        await delivered(home, *sent)
        all_of_it = [accepted(place, one) for place, one in enumerate(sent, start=1)]
        assert list(await home.inboxes.mail(A, 0, limit=10)) == all_of_it
        assert list(await home.inboxes.mail(A, 1, limit=2)) == all_of_it[1:3]
        assert list(await home.inboxes.mail(A, 4, limit=10)) == []
        assert list(await home.inboxes.mail(AgentId("nobody"), 0, limit=10)) == []

    @story
    async def test_a_letter_that_was_accepted_before_is_not_accepted_again(self, home: InboxHome) -> None:
        await home.own(A)
        await delivered(home, letter(1), letter(2))
        for again in (letter(2), letter(1, body=b"other"), letter(2)):
            await known(home, again)
        assert [one.number for one in await home.inboxes.mail(A, 0, limit=10)] == [1, 2]

    @story
    async def test_many_copies_at_once_are_accepted_once(self, home: InboxHome) -> None:
        await home.own(A)
        answers = await asyncio.gather(*(home.inboxes.deliver(A, letter(1), limit=ROOMY) for _ in range(10)))
        assert sorted(isinstance(answer, Delivered) and answer.fresh for answer in answers) == [False] * 9 + [True]
        assert len(await home.inboxes.mail(A, 0, limit=10)) == 1

    @story
    async def test_a_letter_before_its_turn_is_told_which_comes_next(self, home: InboxHome) -> None:
        await home.own(A)
        assert await home.inboxes.deliver(A, letter(2), limit=ROOMY) == Gap(A, 1)
        await delivered(home, letter(1))
        assert await home.inboxes.deliver(A, letter(3), limit=ROOMY) == Gap(A, 2)
        await delivered(home, letter(2), letter(3))

    @story
    async def test_a_later_birth_is_another_sender_under_the_same_name(self, home: InboxHome) -> None:
        await home.own(A)
        await delivered(home, letter(1, birth=7), letter(2, birth=7))
        assert await home.inboxes.deliver(A, letter(3, birth=8), limit=ROOMY) == Gap(A, 1)
        await delivered(home, letter(1, birth=8))
        assert await home.inboxes.deliver(A, letter(3, birth=7), limit=ROOMY) == Gone(A)
        assert await home.inboxes.deliver(A, letter(1, birth=7), limit=ROOMY) == Gone(A)
        assert [(one.birth, one.number) for one in await home.inboxes.mail(A, 0, limit=10)] == [
            (7, 1),
            (7, 2),
            (8, 1),
        ]

    @story
    async def test_a_letter_to_an_agent_that_bore_the_id_before_is_for_nobody(self, home: InboxHome) -> None:
        lock = await home.own(A)
        assert lock.birth > 0
        answer = await home.inboxes.deliver(A, letter(1), limit=ROOMY, birth=lock.birth - 1)
        assert answer == Gone(A)
        answer = await home.inboxes.deliver(A, letter(1), limit=ROOMY, birth=lock.birth)
        assert isinstance(answer, Delivered) and answer.fresh

    @story
    async def test_a_full_inbox_takes_what_is_pressing_and_nothing_else(self, home: InboxHome) -> None:
        lock = await home.own(A)
        for number in (1, 2):
            answer = await home.inboxes.deliver(A, letter(number), limit=2)
            assert isinstance(answer, Delivered)
        assert await home.inboxes.deliver(A, letter(3), limit=2) == Full(A)
        await known(home, letter(1))
        answer = await home.inboxes.deliver(A, letter(1, sender="child", pressing=True), limit=2)
        assert isinstance(answer, Delivered) and answer.fresh
        assert await home.inboxes.deliver(A, letter(3), limit=2) == Full(A)
        await home.inboxes.forget_mail(lock, 2)
        answer = await home.inboxes.deliver(A, letter(3), limit=2)
        assert isinstance(answer, Delivered) and answer.fresh
        assert [one.place for one in await home.inboxes.mail(A, 0, limit=10)] == [3, 4]

    @story
    async def test_what_was_read_is_forgotten_by_its_owner_alone_and_is_still_known(self, home: InboxHome) -> None:
        old = await home.own(A)
        await delivered(home, letter(1), letter(2), letter(3))
        new = await home.own(A)
        await home.inboxes.forget_mail(old, 3)
        assert len(await home.inboxes.mail(A, 0, limit=10)) == 3
        for _ in range(2):
            await home.inboxes.forget_mail(new, 2)
            assert [one.place for one in await home.inboxes.mail(A, 0, limit=10)] == [3]
        await home.inboxes.forget_mail(new, 3)
        await known(home, letter(2))
        await delivered(home, letter(4))
        assert [one.place for one in await home.inboxes.mail(A, 0, limit=10)] == [4]
