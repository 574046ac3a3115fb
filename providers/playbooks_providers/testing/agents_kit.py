"""The part of the coordination kit about an agent's transitions: create, take, release, finish, stop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from playbooks_providers.ids import AgentId, CheckpointId, new_nonce, new_session_id
from playbooks_providers.letters import Unread
from playbooks_providers.model import (
    FINAL,
    Created,
    Done,
    Exists,
    Gone,
    Lock,
    Lost,
    Minted,
    Order,
    OrderKind,
    Saved,
    Stale,
    Status,
    Taken,
    Ticket,
)
from playbooks_providers.testing.homes import AgentsHome, CoordinatedHome, Kit, entry, start_record, story
from playbooks_providers.testing.waiting import eventually

A = AgentId("a1")
NOTHING = CheckpointId(0, 0)
WAIT_S = 20.0


async def created(home: AgentsHome, agent: AgentId = A) -> Ticket:
    answer = await home.coordination.create(start_record(agent))
    assert isinstance(answer, Created) and answer.ticket is not None, answer
    return answer.ticket


def minted(answer: Minted | Unread | Gone) -> Ticket:
    assert isinstance(answer, Minted), answer
    return answer.ticket


async def status(home: AgentsHome, agent: AgentId = A) -> Status:
    view = await home.coordination.describe(agent)
    assert view is not None
    return view.status


async def save(home: AgentsHome, lock: Lock, seq: int) -> Saved | Lost:
    return await home.checkpoints.save(lock, entry(lock, seq), oldest=NOTHING)


class AgentsKit(Kit[CoordinatedHome]):
    """Transitions, called as an owner would."""

    # --- create ---------------------------------------------------------------------------------------------------
    @story
    async def test_a_created_agent_is_ready_and_described_by_its_start(self, home: CoordinatedHome) -> None:
        start = start_record(A, topic="ünï", deep={"a": [None, 1.5]})
        answer = await home.coordination.create(start)
        assert isinstance(answer, Created) and answer.fresh and answer.ticket is not None
        assert (answer.ticket.agent, answer.ticket.queue) == (A, "q") and answer.ticket.fence > 0
        view = await home.coordination.describe(A)
        assert view is not None
        assert (view.agent, view.status, view.fence, view.start) == (A, Status.READY, answer.ticket.fence, start)
        assert (view.session, view.attempts, view.why, view.last, view.header) == (None, 0, "", None, b"")
        assert await home.coordination.agents() == [A]

    @story
    async def test_an_unknown_agent_is_described_as_none(self, home: CoordinatedHome) -> None:
        assert await home.coordination.describe(A) is None
        assert list(await home.coordination.agents()) == []

    @story
    async def test_the_same_start_again_is_the_same_ticket_while_the_agent_is_ready(
        self, home: CoordinatedHome
    ) -> None:
        ticket = await created(home)
        later = replace(start_record(A), created_ms=5)
        assert await home.coordination.create(later) == Created(ticket, fresh=False)
        await home.take(ticket)
        assert await home.coordination.create(later) == Created(None, fresh=False)

    @story
    async def test_another_start_under_a_used_id_is_told_what_is_there(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        for other in (start_record(A, entry="other"), start_record(A, topic=1)):
            assert await home.coordination.create(other) == Exists(A, Status.RUNNING, lock.start)

    # --- take -----------------------------------------------------------------------------------------------------
    @story
    async def test_a_ticket_opens_its_agent_once(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        answers = await asyncio.gather(
            *(home.coordination.take(ticket, new_session_id(), new_nonce()) for _ in range(10))
        )
        taken = [answer for answer in answers if isinstance(answer, Taken)]
        assert len(taken) == 1
        assert [answer for answer in answers if isinstance(answer, Stale)] == [Stale(ticket)] * 9
        lock, view = taken[0].lock, await home.coordination.describe(A)
        assert (lock.agent, lock.fence, lock.queue, lock.attempts) == (A, ticket.fence, "q", 1)
        assert lock.start == start_record(A) and lock.resume_from is None
        assert view is not None
        assert (view.status, view.session, view.attempts) == (Status.RUNNING, lock.session, 1)

    @story
    async def test_the_same_session_and_nonce_take_the_same_lock_again(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        session, nonce = new_session_id(), new_nonce()
        first = await home.coordination.take(ticket, session, nonce)
        assert isinstance(first, Taken)
        assert await home.coordination.take(ticket, session, nonce) == first
        assert await home.coordination.take(ticket, session, new_nonce()) == Stale(ticket)
        assert await home.coordination.take(ticket, new_session_id(), nonce) == Stale(ticket)

    @story
    async def test_only_the_newest_ticket_opens_an_agent(self, home: CoordinatedHome) -> None:
        first = await created(home)
        lock = await home.take(first)
        second = minted(await home.coordination.release(lock, "test"))
        assert second.fence > first.fence
        assert await home.coordination.take(first, lock.session, lock.nonce) == Stale(first)
        unknown = Ticket(AgentId("nobody"), 1, "q")
        assert await home.coordination.take(unknown, new_session_id(), new_nonce()) == Stale(unknown)
        await home.take(second)

    # --- release --------------------------------------------------------------------------------------------------
    @story
    async def test_a_released_agent_goes_on_elsewhere_from_its_last_checkpoint(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        await save(home, lock, 1)
        ticket = minted(await home.coordination.release(lock, "drain"))
        assert await status(home) is Status.READY
        assert await save(home, lock, 2) == Lost(A)
        assert (await home.take(ticket)).resume_from == CheckpointId(lock.fence, 1)

    @story
    async def test_a_release_sent_again_is_the_same_ticket_until_somebody_took_it(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        first = await home.coordination.release(lock, "drain")
        assert await home.coordination.release(lock, "drain") == first
        await home.take(minted(first))
        assert await home.coordination.release(lock, "drain") == Gone(A)

    @story
    async def test_attempts_count_takes_and_start_over_when_an_owner_has_written(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        for expected in (2, 3):
            lock = await home.take(minted(await home.coordination.release(lock, "died", blameless=False)))
            assert lock.attempts == expected
        lock = await home.take(minted(await home.coordination.release(lock, "drain", blameless=True)))
        assert lock.attempts == 3
        await save(home, lock, 1)
        lock = await home.take(minted(await home.coordination.release(lock, "died", blameless=False)))
        assert lock.attempts == 1

    @story
    async def test_a_release_with_a_delay_is_ready_when_it_is_due_and_not_before(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home))
        await save(home, lock, 1)
        answer = await home.coordination.release(lock, "no such program here", delay_s=0.5)
        assert isinstance(answer, Minted) and answer.due_ms is not None
        assert await status(home) is Status.WAITING
        assert list(await home.coordination.fire_due(limit=10)) == []
        assert await save(home, lock, 2) == Lost(A)
        home.pass_time(0.6)
        fired = await eventually(lambda: home.coordination.fire_due(limit=10), WAIT_S, "the delay to be over")
        assert [ticket.agent for ticket in fired] == [A]
        assert await status(home) is Status.READY
        assert list(await home.coordination.fire_due(limit=10)) == []
        session = new_session_id()
        (ticket,) = await home.coordination.read(session, ["q"], limit=10, wait_s=WAIT_S)
        again = await home.take(ticket, session)
        assert again.fence > lock.fence and again.resume_from == CheckpointId(lock.fence, 1)

    @story
    async def test_due_agents_are_fired_in_bounded_batches_each_once(self, home: CoordinatedHome) -> None:
        names = [AgentId(f"agent-{number}") for number in range(7)]
        for name in names:
            await home.coordination.release(await home.take(await created(home, name)), "later", delay_s=0.05)
        home.pass_time(0.1)
        fired: list[AgentId] = []

        async def all_fired() -> bool:
            batches = await asyncio.gather(*(home.coordination.fire_due(limit=3) for _ in range(2)))
            assert all(len(batch) <= 3 for batch in batches)
            fired.extend({ticket.agent for batch in batches for ticket in batch} - set(fired))
            return len(fired) == len(names)

        await eventually(all_fired, WAIT_S, "all delays to be over")
        assert sorted(fired) == names
        assert {await status(home, name) for name in names} == {Status.READY}

    # --- finish and stop ------------------------------------------------------------------------------------------
    @story
    async def test_a_finished_agent_keeps_its_start_and_its_final_header(self, home: CoordinatedHome) -> None:
        for number, end in enumerate(sorted(FINAL)):
            agent = AgentId(f"agent-{number}")
            lock = await home.take(await created(home, agent))
            await save(home, lock, 1)
            final = entry(lock, 2, b"", kind="completed", result={"answer": [42, "ü"]})
            await home.checkpoints.save(lock, final, oldest=NOTHING)
            for _ in range(2):  # the second time is an answer lost and asked for again
                assert await home.coordination.finish(lock, end, final) == Done()
            view = await home.coordination.describe(agent)
            assert view is not None
            assert (view.status, view.start, view.session) == (end, start_record(agent), None)
            assert (view.last, view.header) == (final.id, final.header)

    @story
    async def test_nothing_happens_to_a_finished_agent_any_more(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        lock = await home.take(ticket)
        final = entry(lock, 1, b"", kind="completed", result=1)
        await home.checkpoints.save(lock, final, oldest=NOTHING)
        await home.coordination.finish(lock, Status.COMPLETED, final)
        assert await save(home, lock, 2) == Lost(A)
        assert await home.coordination.take(ticket, lock.session, lock.nonce) == Stale(ticket)
        assert await home.coordination.release(lock, "late") == Gone(A)
        assert await home.coordination.stop(lock, Status.BLOCKED, "late") == Gone(A)
        assert await home.coordination.wake(A, lock.fence, lock.session) == Gone(A)
        assert await home.coordination.create(start_record(A)) == Created(None, fresh=False)
        assert await status(home) is Status.COMPLETED

    @story
    async def test_an_earlier_owner_ends_nothing(self, home: CoordinatedHome) -> None:
        old = await home.own(A)
        new = await home.own(A)
        final = entry(old, 1, b"", kind="completed", result=1)
        assert await home.coordination.finish(old, Status.COMPLETED, final) == Gone(A)
        assert await home.coordination.stop(old, Status.BLOCKED, "late") == Gone(A)
        assert await home.coordination.release(old, "late") == Gone(A)
        view = await home.coordination.describe(A)
        assert view is not None and (view.status, view.session) == (Status.RUNNING, new.session)

    @story
    async def test_a_stopped_agent_says_why_and_keeps_its_checkpoints(self, home: CoordinatedHome) -> None:
        for number, end in enumerate((Status.BLOCKED, Status.PAUSED, Status.QUARANTINED)):
            agent = AgentId(f"agent-{number}")
            ticket = await created(home, agent)
            lock = await home.take(ticket)
            await save(home, lock, 1)
            why = "the code of program:main changed: " + "long " * 100
            if end is Status.PAUSED:
                await home.coordination.order(agent, Order("p1", OrderKind.PAUSE, why))
            for _ in range(2):
                assert await home.coordination.stop(lock, end, why) == Done()
            view = await home.coordination.describe(agent)
            assert view is not None and (view.status, view.why, view.last) == (end, why, CheckpointId(lock.fence, 1))
            assert await home.checkpoints.load(agent) == entry(lock, 1)
            assert await save(home, lock, 2) == Lost(agent)
            assert await home.coordination.take(ticket, new_session_id(), new_nonce()) == Stale(ticket)
            assert await home.coordination.wake(agent, lock.fence, lock.session) == Gone(agent)
