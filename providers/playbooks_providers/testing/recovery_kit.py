"""The part of the coordination kit about death: waking orphans and giving a dead session's tickets to others."""

from __future__ import annotations

import asyncio
from collections import Counter

from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce, new_session_id
from playbooks_providers.model import Gone, Lost, Minted, SessionInfo, Stale, Status, Taken, Ticket
from playbooks_providers.testing.agents_kit import WAIT_S, created, minted, save, status
from playbooks_providers.testing.homes import CoordinatedHome, Kit, entry, story

A = AgentId("a1")
DEAD = SessionId("dead")


async def read_all(home: CoordinatedHome, session: SessionId, count: int) -> list[Ticket]:
    tickets: list[Ticket] = []
    while len(tickets) < count:
        more = await home.coordination.read(session, ["q"], limit=count, wait_s=WAIT_S)
        assert more, f"{len(tickets)} of {count} tickets came"
        tickets += more
    return tickets


class RecoveryKit(Kit[CoordinatedHome]):
    """Death, and what the living do about it."""

    # --- wake -----------------------------------------------------------------------------------------------------
    @story
    async def test_an_orphan_is_woken_by_the_session_that_held_it_and_no_other(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home), DEAD)
        await save(home, lock, 1)
        assert await home.coordination.wake(A, lock.fence, SessionId("another")) == Gone(A)
        assert await home.coordination.wake(A, lock.fence, None) == Gone(A)
        assert await home.coordination.wake(A, lock.fence - 1, DEAD) == Gone(A)
        ticket = minted(await home.coordination.wake(A, lock.fence, DEAD))
        assert ticket.fence > lock.fence and await status(home) is Status.READY
        assert await save(home, lock, 2) == Lost(A)
        assert (await home.take(ticket)).resume_from == CheckpointId(lock.fence, 1)

    @story
    async def test_whoever_wakes_a_ready_agent_gets_its_ticket(self, home: CoordinatedHome) -> None:
        """The one who woke it may have died before it enqueued the ticket."""
        first = await created(home)
        assert minted(await home.coordination.wake(A, first.fence, None)) == first
        lock = await home.take(first, DEAD)
        woken = await home.coordination.wake(A, lock.fence, DEAD)
        assert await home.coordination.wake(A, lock.fence, DEAD) == woken
        await home.take(minted(woken))
        assert await home.coordination.wake(A, lock.fence, DEAD) == Gone(A)

    @story
    async def test_a_ticket_that_a_session_read_and_did_not_open_opens_nothing_after_its_recovery(
        self, home: CoordinatedHome
    ) -> None:
        """The session was frozen, not dead: its take comes after its entry was acknowledged for it."""
        await home.coordination.enqueue(await created(home))
        (read,) = await read_all(home, DEAD, 1)
        await home.coordination.recover(DEAD)
        assert isinstance(await home.coordination.take(read, DEAD, new_nonce()), Stale)
        heir = new_session_id()
        (copy,) = await read_all(home, heir, 1)
        assert (await home.take(copy, heir)).attempts == 1

    @story
    async def test_nobody_wakes_an_agent_that_is_not_there(self, home: CoordinatedHome) -> None:
        assert await home.coordination.wake(A, 1, DEAD) == Gone(A)

    # --- recover --------------------------------------------------------------------------------------------------
    @story
    async def test_the_agents_of_a_dead_session_go_on_elsewhere(self, home: CoordinatedHome) -> None:
        names = [AgentId(f"agent-{number}") for number in range(5)]
        for name in names:
            await home.coordination.enqueue(await created(home, name))
        locks = {}
        for ticket in (await read_all(home, DEAD, 5))[:4]:  # the fifth was read, and its reader died before the take
            locks[ticket.agent] = await home.take(ticket, DEAD)
            await save(home, locks[ticket.agent], 1)
        again = await home.coordination.recover(DEAD)
        assert sorted(ticket.agent for ticket in again) == names
        assert list(await home.coordination.pending(DEAD, ["q"])) == []
        heir = new_session_id()
        for ticket in await read_all(home, heir, 5):
            taken = await home.take(ticket, heir)
            if taken.agent in locks:
                assert taken.resume_from == CheckpointId(locks[taken.agent].fence, 1)
                assert await save(home, locks[taken.agent], 2) == Lost(taken.agent)
        assert list(await home.coordination.recover(DEAD)) == []

    @story
    async def test_many_recoverers_at_once_lose_nothing_and_double_nothing(self, home: CoordinatedHome) -> None:
        names = [AgentId(f"agent-{number}") for number in range(20)]
        for name in names:
            await home.coordination.enqueue(await created(home, name))
        for ticket in await read_all(home, DEAD, 20):
            await home.take(ticket, DEAD)
        await asyncio.gather(*(home.coordination.recover(DEAD) for _ in range(5)))
        assert list(await home.coordination.pending(DEAD, ["q"])) == []
        heir, takes = new_session_id(), Counter[AgentId]()
        while copies := await home.coordination.read(heir, ["q"], limit=10, wait_s=0.2):
            for ticket in copies:
                if isinstance(await home.coordination.take(ticket, heir, new_nonce()), Taken):
                    takes[ticket.agent] += 1
                    continue
                await home.coordination.acknowledge(heir, ticket)
        assert takes == Counter(names)

    @story
    async def test_recovery_that_was_cut_short_is_finished_by_the_next(self, home: CoordinatedHome) -> None:
        await home.coordination.enqueue(await created(home))
        (ticket,) = await read_all(home, DEAD, 1)
        lock = await home.take(ticket, DEAD)
        await home.coordination.wake(A, lock.fence, DEAD)  # and then the recoverer died
        assert [again.agent for again in await home.coordination.recover(DEAD)] == [A]
        heir = new_session_id()
        (copy,) = await read_all(home, heir, 1)
        await home.take(copy, heir)

    @story
    async def test_an_agent_that_moved_on_is_not_recovered(self, home: CoordinatedHome) -> None:
        """Its old owner died between the transition and the acknowledgement."""
        for name in ("finished", "moved", "later"):
            await home.coordination.enqueue(await created(home, AgentId(name)))
        locks = {ticket.agent: await home.take(ticket, DEAD) for ticket in await read_all(home, DEAD, 3)}
        finished = locks[AgentId("finished")]
        await home.coordination.finish(finished, Status.COMPLETED, entry(finished, 1, b"", kind="completed"))
        released = await home.coordination.release(locks[AgentId("moved")], "drain")
        mover = await home.take(minted(released))
        await home.coordination.release(locks[AgentId("later")], "later", delay_s=3600)
        assert list(await home.coordination.recover(DEAD)) == []
        assert list(await home.coordination.pending(DEAD, ["q"])) == []
        assert await save(home, mover, 1) != Lost(mover.agent)
        assert await status(home, AgentId("finished")) is Status.COMPLETED
        assert await status(home, AgentId("later")) is Status.WAITING

    @story
    async def test_sessions_that_hold_tickets_and_do_not_exist_are_found(self, home: CoordinatedHome) -> None:
        alive = new_session_id()
        await home.coordination.register(SessionInfo(alive, "w", "h", 1, "b", 1))
        for name, session in ((A, DEAD), (AgentId("a2"), alive)):
            await home.coordination.enqueue(await created(home, name))
            await read_all(home, session, 1)
        assert list(await home.coordination.ownerless()) == [DEAD]
        await home.coordination.recover(DEAD)
        assert list(await home.coordination.ownerless()) == []
        await home.coordination.bury(alive, None)
        assert list(await home.coordination.ownerless()) == [alive]

    @story
    async def test_a_death_costs_an_attempt_and_a_hand_over_does_not(self, home: CoordinatedHome) -> None:
        lock = await home.take(await created(home), DEAD)
        for expected in (2, 3):
            woken = await home.coordination.wake(A, lock.fence, DEAD)
            assert isinstance(woken, Minted)
            lock = await home.take(woken.ticket, DEAD)
            assert lock.attempts == expected
