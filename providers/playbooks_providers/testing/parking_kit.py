"""The part of the coordination kit about agents that only wait: parked without an owner, woken by mail or a time."""

from __future__ import annotations

import asyncio

import pytest

from playbooks_providers.envelope import Base, Header, Sealer
from playbooks_providers.ids import AgentId, CheckpointId, new_nonce, new_session_id
from playbooks_providers.letters import Delivered, Parked, Unread
from playbooks_providers.model import Choice, Done, Entry, Gone, Lock, Lost, Saved, Stale, Status, Taken, Ticket
from playbooks_providers.testing.agents_kit import NOTHING, WAIT_S, A, created, minted, save, status
from playbooks_providers.testing.homes import KEY, CoordinatedHome, Kit, entry, story
from playbooks_providers.testing.letters_kit import ROOMY, accepted, delivered, letter
from playbooks_providers.testing.waiting import eventually

SESSION = new_session_id()


def woken(answer: object) -> Ticket:
    assert isinstance(answer, Delivered) and answer.ticket is not None, answer
    return answer.ticket


async def parked(home: CoordinatedHome, agent: AgentId = A, *, wake_ms: int | None = None, seq: int = 1) -> Lock:
    """An agent with one checkpoint that waits; the lock of its former owner."""
    lock = await home.take(await created(home, agent))
    await save(home, lock, seq)
    assert await home.coordination.park(lock, CheckpointId(lock.fence, seq), 0, wake_ms) == Parked()
    return lock


def built_on(lock: Lock, seq: int, bases: list[Entry]) -> Entry:
    """A checkpoint that says that it needs *bases*. Its payload is no delta: nobody opens it here."""
    header = Header(
        agent=lock.agent, program="program", fence=lock.fence, seq=seq, nonce=lock.nonce, time_ms=1, kind="step",
        stack_json="[]", lowering=1, attempts=1,
        base=Base(ids=tuple(one.id for one in bases), mac="m", number=len(bases), delta_bytes=1),
    )  # fmt: skip
    h, d = Sealer(KEY).seal(header, b"delta %d" % seq)
    return Entry(CheckpointId(lock.fence, seq), h, d)


class ParkingKit(Kit[CoordinatedHome]):
    """`Coordination.park`, and what wakes a parked agent."""

    @story
    async def test_a_parked_agent_waits_and_its_owner_is_out(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        for seq in (1, 2, 3):
            await save(home, lock, seq)
        at = CheckpointId(lock.fence, 3)
        for _ in range(2):  # the second time is an answer lost and asked for again
            assert await home.coordination.park(lock, at, 0, None) == Parked()
        assert await save(home, lock, 4) == Lost(A)
        view = await home.coordination.describe(A)
        assert view is not None
        assert (view.status, view.session, view.attempts, view.wake_ms) == (Status.WAITING, None, 0, None)
        assert (view.last, view.header, view.birth) == (at, entry(lock, 3).header, lock.birth)
        assert view.fence > lock.fence
        for answer in (
            await home.coordination.release(lock, "late"),
            await home.coordination.wake(A, lock.fence, lock.session),
        ):
            assert answer == Gone(A)
        assert await home.coordination.finish(lock, Status.COMPLETED, entry(lock, 4, b"")) == Gone(A)
        assert await home.coordination.stop(lock, Status.BLOCKED, "late") == Gone(A)

    @story
    async def test_whoever_takes_it_is_told_that_a_letter_has_woken_it(self, home: CoordinatedHome) -> None:
        async def by_letter(ticket: Ticket) -> bool:
            nonce = new_nonce()
            answers = [await home.coordination.take(ticket, SESSION, nonce) for _ in range(2)]
            assert isinstance(answers[0], Taken) and answers[0] == answers[1]
            await save(home, answers[0].lock, 1)
            return answers[0].by_letter

        await parked(home)
        ticket = woken(await home.coordination.deliver(A, letter(1), limit=ROOMY))
        await home.coordination.deliver(A, letter(2), limit=ROOMY)
        assert await by_letter(ticket)
        other = AgentId("other")
        ticket = await created(home, other)
        await home.coordination.deliver(other, letter(1), limit=ROOMY)  # it did not wait
        assert not await by_letter(ticket)
        third = AgentId("third")
        await parked(home, third, wake_ms=1)
        (fired,) = await home.coordination.fire_due(limit=10)
        assert not await by_letter(fired)

    @story
    async def test_a_letter_wakes_it_at_the_same_checkpoint(self, home: CoordinatedHome) -> None:
        old = await parked(home)
        ticket = woken(await home.coordination.deliver(A, letter(1), limit=ROOMY))
        assert ticket.fence > old.fence and ticket.queue == "q"
        assert await home.coordination.deliver(A, letter(1), limit=ROOMY) == Delivered(fresh=False, ticket=ticket)
        assert await home.coordination.deliver(A, letter(2), limit=ROOMY) == Delivered(True, ticket, place=2)
        lock = await home.take(ticket)
        assert (lock.resume_from, lock.attempts, lock.birth) == (CheckpointId(old.fence, 1), 1, old.birth)
        assert await home.checkpoints.load(A) == entry(old, 1)
        assert await home.checkpoints.load(A, CheckpointId(old.fence, 1)) == entry(old, 1)
        assert list(await home.coordination.mail(A, 0, limit=9)) == [accepted(n, letter(n)) for n in (1, 2)]
        assert await save(home, old, 2) == Lost(A)
        assert await save(home, lock, 2) == Saved(CheckpointId(lock.fence, 2))
        assert await home.checkpoints.load(A) == entry(lock, 2)

    @story
    async def test_it_is_not_parked_while_there_is_mail_beyond_its_cursor(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await delivered(home, letter(1), letter(2))
        await save(home, lock, 1)
        at = CheckpointId(lock.fence, 1)
        for cursor in (0, 1):
            assert await home.coordination.park(lock, at, cursor, None) == Unread(A)
            await home.coordination.forget_mail(lock, cursor)
        assert await status(home) is Status.RUNNING
        assert await save(home, lock, 2) == Saved(CheckpointId(lock.fence, 2))
        assert await home.coordination.park(lock, CheckpointId(lock.fence, 2), 2, None) == Parked()
        assert list(await home.coordination.mail(A, 0, limit=9)) == []
        again = await home.take(woken(await home.coordination.deliver(A, letter(3), limit=ROOMY)))
        assert list(await home.coordination.mail(A, 2, limit=9)) == [accepted(3, letter(3))]
        assert await home.coordination.deliver(A, letter(2), limit=ROOMY) == Delivered(False, session=again.session)

    @story
    async def test_only_its_newest_checkpoint_can_be_waited_at(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        for at in (CheckpointId(lock.fence, 1), CheckpointId(lock.fence, 0)):
            with pytest.raises(ValueError, match="newest checkpoint"):
                await home.coordination.park(lock, at, 0, None)
        await save(home, lock, 1)
        await save(home, lock, 2)
        with pytest.raises(ValueError, match="newest checkpoint"):
            await home.coordination.park(lock, CheckpointId(lock.fence, 1), 0, None)
        assert await status(home) is Status.RUNNING

    @story
    async def test_it_is_woken_when_its_time_has_come_and_not_before(self, home: CoordinatedHome) -> None:
        view = await home.coordination.describe((await home.own(AgentId("clock"))).agent)
        assert view is not None
        wake_ms = view.fence + 600  # a fence is the store's time
        lock = await parked(home, wake_ms=wake_ms)
        view = await home.coordination.describe(A)
        assert view is not None and view.wake_ms == wake_ms
        if view.fence < wake_ms - 300:
            assert list(await home.coordination.fire_due(limit=10)) == []
        home.pass_time(0.7)
        fired = await eventually(lambda: home.coordination.fire_due(limit=10), WAIT_S, "its time to come")
        assert [ticket.agent for ticket in fired] == [A]
        assert (await home.take(fired[0])).resume_from == CheckpointId(lock.fence, 1)
        view = await home.coordination.describe(A)
        assert view is not None and view.wake_ms is None

    @story
    async def test_one_that_was_woken_by_mail_is_not_woken_by_its_time(self, home: CoordinatedHome) -> None:
        await parked(home, wake_ms=1)
        lock = await home.take(woken(await home.coordination.deliver(A, letter(1), limit=ROOMY)))
        assert list(await home.coordination.fire_due(limit=10)) == []
        assert await status(home) is Status.RUNNING
        assert await save(home, lock, 2) == Saved(CheckpointId(lock.fence, 2))

    @story
    async def test_it_may_be_parked_again_where_it_stood_having_written_nothing(self, home: CoordinatedHome) -> None:
        old = await parked(home)
        at = CheckpointId(old.fence, 1)
        fence = old.fence
        for number in range(1, 4):
            lock = await home.take(woken(await home.coordination.deliver(A, letter(number), limit=ROOMY)))
            assert (lock.resume_from, lock.attempts) == (at, 1) and lock.fence > fence
            fence = lock.fence
            assert await home.coordination.park(lock, at, number, None) == Parked()
        assert await home.coordination.park(old, at, 9, None) == Parked()  # a former owner: it waits, and is not his
        assert await home.checkpoints.load(A) == entry(old, 1)

    @story
    async def test_it_keeps_what_its_checkpoint_needs_to_be_opened(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        kept = [entry(lock, 1, b"whole" * 1000), entry(lock, 2), entry(lock, 3)]
        kept.append(built_on(lock, 4, [kept[0], kept[2]]))
        for one in kept:
            await home.checkpoints.save(lock, one, oldest=NOTHING)
        assert await home.coordination.park(lock, kept[3].id, 0, None) == Parked()
        needed = [kept[0], kept[2], kept[3]]
        for _ in range(2):  # waiting, and after it was woken
            found = await home.checkpoints.load_many(A, [one.id for one in kept])
            assert sorted(found, key=lambda one: one.id) == needed
            assert [one.id for one in await home.checkpoints.list(A)] == [one.id for one in needed]
            assert await home.checkpoints.load(A) == kept[3]
            await home.coordination.deliver(A, letter(1), limit=ROOMY)

    @story
    async def test_it_keeps_all_its_checkpoints_when_it_is_asked_to(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        for seq in (1, 2, 3):
            await save(home, lock, seq)
        at = CheckpointId(lock.fence, 3)
        for _ in range(2):
            assert await home.coordination.park(lock, at, 0, None, keep=True) == Parked()
        assert [one.id.seq for one in await home.checkpoints.list(A)] == [1, 2, 3]
        assert await save(home, lock, 4) == Lost(A)
        again = await home.take(woken(await home.coordination.deliver(A, letter(1), limit=ROOMY)))
        assert again.resume_from == at
        assert await save(home, again, 4) == Saved(CheckpointId(again.fence, 4))

    @story
    async def test_what_a_person_chose_is_not_forgotten_by_waiting(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await save(home, lock, 1)
        at = CheckpointId(lock.fence, 1)
        await home.coordination.stop(lock, Status.BLOCKED, "the code changed")
        view = await home.coordination.describe(A)
        assert view is not None
        lock = await home.take(minted(await home.coordination.retry(A, view.fence, Choice.ACCEPT_CHANGED)))
        assert await home.coordination.park(lock, at, 0, None) == Parked()
        lock = await home.take(woken(await home.coordination.deliver(A, letter(1), limit=ROOMY)))
        assert (lock.choice, lock.resume_from) == (Choice.ACCEPT_CHANGED, at)

    @story
    async def test_an_owner_that_was_given_up_parks_nothing(self, home: CoordinatedHome) -> None:
        old = await home.own(A)
        await save(home, old, 1)
        new = await home.own(A)
        assert await home.coordination.park(old, CheckpointId(old.fence, 1), 0, None) == Gone(A)
        assert await save(home, new, 2) == Saved(CheckpointId(new.fence, 2))
        assert await home.coordination.park(new, CheckpointId(new.fence, 2), 0, None) == Parked()

    @story
    async def test_the_death_of_its_former_session_does_not_wake_it(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        await home.coordination.enqueue(Ticket(A, lock.fence, "q"))
        (ticket,) = await home.coordination.read(lock.session, ["q"], limit=1, wait_s=WAIT_S)
        await save(home, lock, 1)
        await home.coordination.park(lock, CheckpointId(lock.fence, 1), 0, None)
        assert list(await home.coordination.recover(lock.session)) == []
        assert await status(home) is Status.WAITING
        assert await home.coordination.take(ticket, lock.session, lock.nonce) == Stale(ticket)

    @story
    async def test_many_letters_at_once_wake_it_once(self, home: CoordinatedHome) -> None:
        await parked(home)
        answers = await asyncio.gather(
            *(home.coordination.deliver(A, letter(1, sender=f"s{number}"), limit=ROOMY) for number in range(10))
        )
        assert len({woken(answer) for answer in answers}) == 1
        assert len(await home.coordination.mail(A, 0, limit=99)) == 10
        lock = await home.take(woken(answers[0]))
        assert await home.coordination.stop(lock, Status.BLOCKED, "why") == Done()

    @story
    async def test_a_letter_ends_a_delay_too(self, home: CoordinatedHome) -> None:
        lock = await home.own(A)
        await save(home, lock, 1)
        await home.coordination.release(lock, "later", delay_s=1000.0)
        again = await home.take(woken(await home.coordination.deliver(A, letter(1), limit=ROOMY)))
        assert again.resume_from == CheckpointId(lock.fence, 1)
