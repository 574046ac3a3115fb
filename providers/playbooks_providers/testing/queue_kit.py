"""The part of the coordination kit about the ready queue: read once, pending until acknowledged."""

from __future__ import annotations

import asyncio

from playbooks_providers.ids import AgentId, SessionId, new_nonce, new_session_id
from playbooks_providers.model import Created, Stale, Taken, Ticket
from playbooks_providers.testing.agents_kit import WAIT_S, created
from playbooks_providers.testing.homes import CoordinatedHome, Kit, start_record, story

A = AgentId("a1")


class QueueKit(Kit[CoordinatedHome]):
    """Tickets on their way from a mint to a reader."""

    @story
    async def test_an_enqueued_ticket_is_read_once_and_pending_until_acknowledged(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        one, other = SessionId("one"), SessionId("other")
        await home.coordination.enqueue(ticket)
        (read,) = await home.coordination.read(one, ["q"], limit=10, wait_s=WAIT_S)
        assert (read.agent, read.fence, read.queue) == (A, ticket.fence, "q") and read.entry
        assert list(await home.coordination.read(other, ["q"], limit=10, wait_s=0.05)) == []
        assert await home.coordination.pending(one, ["q"]) == [read]
        assert list(await home.coordination.pending(other, ["q"])) == []
        for _ in range(2):
            await home.coordination.acknowledge(one, read)
        assert list(await home.coordination.pending(one, ["q"])) == []
        assert list(await home.coordination.read(one, ["q"], limit=10, wait_s=0.05)) == []

    @story
    async def test_a_reader_gets_at_most_what_it_asked_for_and_from_its_queues_only(
        self, home: CoordinatedHome
    ) -> None:
        session = new_session_id()
        for number in range(5):
            answer = await home.coordination.create(start_record(f"agent-{number}", queue=f"q{number % 2}"))
            assert isinstance(answer, Created) and answer.ticket is not None
            await home.coordination.enqueue(answer.ticket)
        assert list(await home.coordination.read(session, ["q9"], limit=10, wait_s=0.05)) == []
        even: list[Ticket] = []
        while len(even) < 3:
            more = await home.coordination.read(session, ["q0"], limit=2, wait_s=WAIT_S)
            assert 1 <= len(more) <= 2
            even += more
        assert sorted(ticket.agent for ticket in even) == ["agent-0", "agent-2", "agent-4"]
        odd: list[Ticket] = []
        while len(odd) < 2:
            odd += await home.coordination.read(session, ["q0", "q1"], limit=10, wait_s=WAIT_S)
        assert sorted(ticket.agent for ticket in odd) == ["agent-1", "agent-3"]
        assert len(await home.coordination.pending(session, ["q0", "q1"])) == 5

    @story
    async def test_a_reader_that_waits_gets_what_comes(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        reading = asyncio.create_task(home.coordination.read(new_session_id(), ["q"], limit=1, wait_s=WAIT_S))
        await asyncio.wait([reading], timeout=0.1)
        assert not reading.done()
        await home.coordination.enqueue(ticket)
        assert [read.agent for read in await reading] == [A]

    @story
    async def test_a_ticket_enqueued_twice_opens_its_agent_once(self, home: CoordinatedHome) -> None:
        ticket = await created(home)
        session = new_session_id()
        await home.coordination.enqueue(ticket)
        await home.coordination.enqueue(ticket)
        read: list[Ticket] = []
        while len(read) < 2:
            read += await home.coordination.read(session, ["q"], limit=2, wait_s=WAIT_S)
        answers = [await home.coordination.take(copy, session, new_nonce()) for copy in read]
        assert [type(answer) for answer in answers] == [Taken, Stale]
