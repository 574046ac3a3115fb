"""Delays and the slow sweep in Redis: what the leading coordinator looks after besides dead sessions.

The third part of `contracts.Coordination`. A timer is a member of one sorted set, `<agent>:<fence>`; it goes when its
agent's ticket has been enqueued, last of all, and one whose fence is over fires into nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from playbooks_providers.ids import AgentId
from playbooks_providers.lanes import queue_of
from playbooks_providers.loads import Swept
from playbooks_providers.model import Minted, Status, Ticket
from playbooks_providers.redis.agents import TICKET_AFTER_MS, TICKET_BEFORE_MS, _minted
from playbooks_providers.redis.queue import Queue
from playbooks_providers.redis.scripts import script

# An agent that is ready, or overdue, for longer than this without a ticket or a timer was left half done.
_SETTLED_MS = 5_000
# Tickets read to look for one: in a backlog of 100,000 made at once a step that read them all took 44 ms of the server.
_LOOK_AT = 50


class Due(Queue):
    async def fire_due(self, *, limit: int) -> Sequence[Ticket]:
        members = await self._server.run(script("due"), [self._keys.due], [min(limit, 1000)])
        if not members:
            return []
        woken = [_member(member.decode()) for member in members]
        ready = await self._wake_many(woken, None)
        await self._enqueue_many(ready)
        await self._server.command("ZREM", self._keys.due, *members)  # last: a second firing finds the ticket again
        return ready

    async def sweep(self, cursor: str, *, limit: int) -> Swept:
        after, metas = await self._scan(int(cursor or 0), limit)
        asked = [("HMGET", meta, "status", "fence", "queue", "wake") for meta in metas]
        (now_s, _), *found = await self._server.commands([("TIME",), *asked])
        long_ago = int(now_s) * 1000 - _SETTLED_MS
        seen: Counter[tuple[Status, str]] = Counter()
        overdue: list[Minted] = []
        settled: list[Ticket] = []
        for meta, (status, fence, queue, wake) in zip(metas, found, strict=True):
            if not status or not queue:
                continue  # it was deleted
            seen[Status(status.decode()), queue_of(queue.decode())] += 1
            ticket = Ticket(self._keys.agent_of(meta), int(fence), queue.decode())
            if status == b"waiting" and wake and int(wake) < long_ago:
                overdue.append(Minted(ticket, int(wake)))
            elif status == b"ready" and int(fence) < long_ago:
                settled.append(ticket)
        await self._arm(overdue)
        renewed = [again for ticket in await self._lost(settled) for again in await self._reticket(ticket)]
        return Swept(str(after or ""), renewed, seen)

    async def _lost(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Those that are surely not in their queues. Among too many others to tell one is not; a later round, of a shorter
        queue, will."""
        asked = []
        for ticket in tickets:
            start, end = str(ticket.fence - TICKET_BEFORE_MS), str(ticket.fence + TICKET_AFTER_MS)
            asked.append(("XRANGE", self._keys.queue(ticket.queue), start, end, "COUNT", _LOOK_AT))
        lost = []
        for ticket, rows in zip(tickets, await self._server.commands(asked), strict=True):
            there = {(fields[b"agent"], fields[b"fence"]) for _, fields in rows}
            if len(rows) < _LOOK_AT and (ticket.agent.encode(), str(ticket.fence).encode()) not in there:
                lost.append(ticket)
        return lost

    async def _reticket(self, lost: Ticket) -> list[Ticket]:
        keys = self._keys.agent(lost.agent)
        answer = await self._server.run(script("reticket"), [keys.meta, keys.checkpoints], [lost.fence])
        minted = _minted(lost.agent, answer)
        if not isinstance(minted, Minted):
            return []
        await self._enqueue_many([minted.ticket])
        return [minted.ticket]


def _member(text: str) -> tuple[AgentId, int]:
    agent, _, fence = text.rpartition(":")
    return AgentId(agent), int(fence)
