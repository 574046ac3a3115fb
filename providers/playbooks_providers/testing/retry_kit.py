"""The part of the coordination kit about a person's word: agents that were set aside or have failed go on, as chosen."""

from __future__ import annotations

import asyncio

from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.letters import Unread
from playbooks_providers.model import Choice, Gone, Lost, Order, OrderKind, Saved, Status
from playbooks_providers.testing.agents_kit import NOTHING, A, created, minted, save, status
from playbooks_providers.testing.homes import AgentsHome, Kit, entry, start_record, story
from playbooks_providers.testing.letters_kit import ROOMY, delivered, letter


class RetryKit(Kit[AgentsHome]):
    """`Coordination.retry`."""

    @story
    async def test_a_stopped_agent_goes_on_from_its_checkpoint_when_a_person_says_so(self, home: AgentsHome) -> None:
        for number, end in enumerate({Status.BLOCKED, Status.PAUSED, Status.QUARANTINED} & set(home.statuses)):
            agent = AgentId(f"agent-{number}")
            lock = await home.take(await created(home, agent))
            await save(home, lock, 1)
            if end is Status.PAUSED:
                await home.coordination.order(agent, Order("p1", OrderKind.PAUSE))
            await home.coordination.stop(lock, end, "the code changed")
            view = await home.coordination.describe(agent)
            assert view is not None
            first = await home.coordination.retry(agent, view.fence, Choice.RESUME)
            assert await home.coordination.retry(agent, view.fence, Choice.RESUME) == first  # an answer lost
            ticket = minted(first)
            assert ticket.fence > view.fence and ticket.queue == "q"
            after = await home.coordination.describe(agent)
            assert after is not None
            assert (after.status, after.why, after.last) == (Status.READY, "", CheckpointId(lock.fence, 1))
            again = await home.take(ticket)
            assert (again.resume_from, again.choice) == (CheckpointId(lock.fence, 1), Choice.RESUME)
            assert (again.attempts, again.start) == (1, start_record(agent))
            assert await save(home, lock, 2) == Lost(agent)
            assert await save(home, again, 2) == Saved(CheckpointId(again.fence, 2))

    @story
    async def test_what_a_person_chose_is_told_to_every_owner_until_one_has_written(self, home: AgentsHome) -> None:
        for choice, goes_on in ((Choice.ACCEPT_CHANGED, True), (Choice.RESTART, False)):
            agent = AgentId(choice.value)
            lock = await home.take(await created(home, agent))
            await save(home, lock, 1)
            await home.coordination.stop(lock, Status.BLOCKED, "the code changed")
            view = await home.coordination.describe(agent)
            assert view is not None
            saved = CheckpointId(lock.fence, 1) if goes_on else None
            lock = await home.take(minted(await home.coordination.retry(agent, view.fence, choice)))
            assert (lock.choice, lock.resume_from) == (choice, saved)
            lock = await home.own(agent)
            assert (lock.choice, lock.resume_from) == (choice, saved)  # its owner died before it had written
            lock = await home.take(minted(await home.coordination.release(lock, "drain")))
            assert (lock.choice, lock.resume_from) == (choice, saved)
            await save(home, lock, 2)
            saved = CheckpointId(lock.fence, 2)
            lock = await home.take(minted(await home.coordination.release(lock, "drain")))
            assert (lock.choice, lock.resume_from) == (Choice.RESUME, saved)

    @story
    async def test_a_person_may_choose_anew(self, home: AgentsHome) -> None:
        lock = await home.take(await created(home))
        first = lock.fence
        await save(home, lock, 1)
        for choice in (Choice.RESTART, Choice.ACCEPT_CHANGED, Choice.RESUME):
            await home.coordination.stop(lock, Status.BLOCKED, "not yet")
            view = await home.coordination.describe(A)
            assert view is not None
            lock = await home.take(minted(await home.coordination.retry(A, view.fence, choice)))
            assert lock.choice is choice
            assert lock.resume_from == (None if choice is Choice.RESTART else CheckpointId(first, 1))

    @story
    async def test_a_failed_agent_is_retried_from_its_last_checkpoint_that_holds_state(self, home: AgentsHome) -> None:
        for steps in (0, 3):
            agent = AgentId(f"agent-{steps}")
            lock = await home.take(await created(home, agent))
            for seq in range(1, steps + 1):
                await save(home, lock, seq)
            final = entry(lock, steps + 1, b"", kind="failed")
            await home.checkpoints.save(lock, final, oldest=NOTHING)
            await home.coordination.finish(lock, Status.FAILED, final)
            before = await home.coordination.describe(agent)
            assert before is not None and before.last == final.id
            again = await home.take(minted(await home.coordination.retry(agent, before.fence, Choice.RESUME)))
            assert again.resume_from == (CheckpointId(lock.fence, steps) if steps else None)
            if again.resume_from is not None:
                assert await home.checkpoints.load(agent, again.resume_from) == entry(lock, steps)
            assert await save(home, lock, 9) == Lost(agent)
            assert await save(home, again, 9) == Saved(CheckpointId(again.fence, 9))
            view = await home.coordination.describe(agent)
            assert view is not None
            assert (view.status, view.last) == (Status.RUNNING, CheckpointId(again.fence, 9))

    @story
    async def test_nobody_retries_an_agent_that_runs_or_has_ended_well(self, home: AgentsHome) -> None:
        ticket = await created(home)
        assert await home.coordination.retry(A, ticket.fence, Choice.RESTART) == Gone(A)
        lock = await home.take(ticket)
        assert await home.coordination.retry(A, lock.fence, Choice.RESTART) == Gone(A)
        final = entry(lock, 1, b"", kind="completed", result=1)
        await home.checkpoints.save(lock, final, oldest=NOTHING)
        await home.coordination.finish(lock, Status.COMPLETED, final)
        assert await home.coordination.retry(A, lock.fence, Choice.RESUME) == Gone(A)
        assert await home.coordination.retry(AgentId("nobody"), 1, Choice.RESUME) == Gone(AgentId("nobody"))
        assert await status(home) is Status.COMPLETED

    @story
    async def test_one_is_not_begun_again_before_its_mail_was_looked_through(self, home: AgentsHome) -> None:
        lock = await home.take(await created(home))
        await save(home, lock, 1)
        await home.coordination.stop(lock, Status.BLOCKED, "why")
        await delivered(home, letter(1), letter(2))
        before = await home.coordination.describe(A)
        assert before is not None
        for _ in range(2):
            assert await home.coordination.retry(A, before.fence, Choice.RESTART, read=1) == Unread(A)
            assert await home.coordination.describe(A) == before
        ticket = minted(await home.coordination.retry(A, before.fence, Choice.RESTART, read=2))
        assert (
            minted(await home.coordination.retry(A, before.fence, Choice.RESTART, read=0)) == ticket
        )  # an answer lost
        again = await home.take(ticket)
        assert again.birth > before.birth and list(await home.coordination.mail(A, 0, limit=9)) == []
        assert await home.coordination.deliver(A, letter(3), limit=ROOMY, birth=before.birth) == Gone(A)

    @story
    async def test_many_retries_at_once_are_one(self, home: AgentsHome) -> None:
        lock = await home.take(await created(home))
        await home.coordination.stop(lock, Status.BLOCKED, "why")
        view = await home.coordination.describe(A)
        assert view is not None
        answers = await asyncio.gather(*(home.coordination.retry(A, view.fence, Choice.RESTART) for _ in range(10)))
        assert len(set(answers)) == 1
        ticket = minted(answers[0])
        for _ in range(2):
            await home.coordination.enqueue(ticket)
        await home.take(ticket)
        assert await home.coordination.retry(A, view.fence, Choice.RESTART) == Gone(A)
