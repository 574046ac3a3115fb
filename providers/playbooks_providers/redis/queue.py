"""The ready queues in Redis: one stream and group per name, consumer = session (DESIGN 4.3).

The second part of `contracts.Coordination`. A ticket stays pending at the session that read it until it is acknowledged,
last of all; so the pending list of a session is the list of the agents that it holds, and recovery needs nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from itertools import groupby
from typing import Any

from playbooks_providers.errors import ProviderError
from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.lanes import in_turn, queue_of
from playbooks_providers.model import Ticket
from playbooks_providers.redis.agents import Agents
from playbooks_providers.redis.caps import Caps
from playbooks_providers.redis.client import BLOCK_S
from playbooks_providers.redis.keys import GROUP
from playbooks_providers.redis.scripts import script

_PAGE = 500  # tickets in one script call
_TURN_S = 0.2
"""How long who waits for several queues waits for those without a cap, before it looks at the others again."""


class _Reader:
    """What this process knows of one session's reads: the entries it handed out, and whether one may have been missed."""

    def __init__(self) -> None:
        self.handed: set[tuple[str, str]] = set()  # (queue, entry), until acknowledged
        self.asked: set[str] = set()  # every queue that was read from
        self.opened: set[str] = set()  # queues whose group is known to exist
        self.in_doubt = False  # a read ended without an answer: what it was given is pending, and nobody here has it
        self.turn = 0  # which of several queues comes first


class Queue(Agents, Caps):
    async def enqueue(self, ticket: Ticket) -> None:
        await self._enqueue_many([ticket])

    async def read(self, session: SessionId, queues: Sequence[str], *, limit: int, wait_s: float) -> Sequence[Ticket]:
        reader = self._reader(session)
        reader.asked.update(queues)
        deadline = self._monotonic() + wait_s
        if reader.in_doubt:
            held = await self._held(session, sorted(reader.asked))  # what was missed may be of a lane not asked for now
            reader.in_doubt = False
            missed = [ticket for ticket in held if (ticket.queue, ticket.entry) not in reader.handed]
            if missed:
                return self._hand(reader, missed[:limit], doubt=len(missed) > limit)
        for queue in queues:
            await self._open(reader, queue)
        reader.turn += 1
        order = in_turn(queues, reader.turn)
        while True:
            capped = await self._capped(order)
            at_once = len(order) > 1 or bool(capped)
            found = await self._read_at_once(reader, session, order, limit, capped) if at_once else []
            left_s = min(deadline - self._monotonic(), BLOCK_S)
            if not found and (left_s > 0 or not at_once):
                found = await self._wait_for_one(reader, session, order, limit, capped, left_s)
            if found or self._monotonic() >= deadline:
                return self._hand(reader, await self._return_surplus(session, found, limit))

    async def pending(self, session: SessionId, queues: Sequence[str]) -> Sequence[Ticket]:
        reader = self._reader(session)
        reader.in_doubt = False
        return self._hand(reader, await self._held(session, queues))

    async def acknowledge(self, session: SessionId, ticket: Ticket) -> None:
        if ticket.entry:
            await self._acknowledge_many(ticket.queue, [ticket.entry])
            self._reader(session).handed.discard((ticket.queue, ticket.entry))

    async def recover(self, session: SessionId) -> Sequence[Ticket]:
        renewed: list[Ticket] = []
        for queue in await self._queues():
            while True:
                entries, tickets = await self._page(session, queue, "-")
                if not entries:
                    break
                ready = await self._wake_many([(ticket.agent, ticket.fence) for ticket in tickets], session)
                await self._enqueue_many(ready)
                await self._acknowledge_many(queue, entries)  # last: whoever finds the entries again repeats the rest
                renewed += ready
            await self._server.run(script("drop_consumer"), [self._keys.queue(queue)], [GROUP, session])
        self._readers.pop(session, None)
        return renewed

    async def ownerless(self) -> Sequence[SessionId]:
        # the consumers first, then the sessions: one that registers in between is not seen among the consumers
        holders: dict[SessionId, bool] = {}
        where: list[tuple[str, SessionId]] = []
        for queue in await self._queues():
            for name, pending in await self._consumers(queue):
                holders[name] = holders.get(name, False) or pending > 0
                if pending == 0:
                    where.append((queue, name))
        alive = await self._alive()
        for queue, name in where:
            if name not in alive:  # holds nothing and is over: only its name is left
                await self._server.run(script("drop_consumer"), [self._keys.queue(queue)], [GROUP, name])
        return sorted(name for name, holds in holders.items() if holds and name not in alive)

    # --- shared with the timers ---------------------------------------------------------------------------------------

    async def _enqueue_many(self, tickets: Sequence[Ticket]) -> None:
        ordered = sorted(tickets, key=lambda ticket: ticket.queue)
        for queue, group in groupby(ordered, key=lambda ticket: ticket.queue):
            args: list[str | bytes | int] = []
            for ticket in group:
                args += [ticket.agent, ticket.fence]
            # the name first: a queue that is not known is not recovered
            await self._server.run(script("note_queues"), [self._keys.queues], [queue])
            for first in range(0, len(args), 2 * _PAGE):
                keys = [self._keys.queue(queue), *self._cap_and_bell(queue)]
                await self._server.run(script("enqueue"), keys, args[first : first + 2 * _PAGE])

    async def _queues(self) -> list[str]:
        names = await self._server.command("SMEMBERS", self._keys.queues)
        return sorted(name.decode() for name in names)

    async def _alive(self) -> set[SessionId]:
        names = await self._server.command("ZRANGE", self._keys.sessions, 0, -1)
        return {SessionId(name.decode()) for name in names}

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _readers(self) -> dict[SessionId, _Reader]:
        readers: dict[SessionId, _Reader] = self.__dict__.setdefault("_all_readers", {})
        return readers

    def _reader(self, session: SessionId) -> _Reader:
        return self._readers.setdefault(session, _Reader())

    async def _open(self, reader: _Reader, queue: str) -> None:
        if queue not in reader.opened:
            await self._server.run(script("note_queues"), [self._keys.queues], [queue])
            await self._server.run(script("open_queue"), [self._keys.queue(queue)], [GROUP])
            reader.opened.add(queue)

    async def _read_at_once(
        self, reader: _Reader, session: SessionId, order: Sequence[str], limit: int, capped: set[str]
    ) -> list[Ticket]:
        """One queue after the other: COUNT is per stream, and together they would give more than *limit*."""
        found: list[Ticket] = []
        for queue in order:
            left = limit - len(found)
            if left > 0 and queue_of(queue) in capped:
                rows = await self._answer(reader, [queue], self._read_capped(session, queue, left))
                found += [_ticket(queue, entry, fields[1], fields[3]) for entry, fields in rows or []]
            elif left > 0:
                found += await self._xreadgroup(reader, session, [queue], left, block_ms=0)
        return found

    async def _wait_for_one(
        self, reader: _Reader, session: SessionId, order: Sequence[str], limit: int, capped: set[str], wait_s: float
    ) -> list[Ticket]:
        """What comes first, of queues without a cap. One with a cap rings: it is looked at again."""
        free = [queue for queue in order if queue_of(queue) not in capped]
        if not free:
            await self._hear_bell(capped, wait_s)
            return []
        block_s = min(wait_s, _TURN_S) if capped else wait_s
        return await self._xreadgroup(reader, session, free, limit, block_ms=round(block_s * 1000))

    async def _xreadgroup(
        self, reader: _Reader, session: SessionId, queues: Sequence[str], limit: int, *, block_ms: int
    ) -> list[Ticket]:
        keys = [self._keys.queue(queue) for queue in queues]
        wait: list[str | int] = ["BLOCK", block_ms] if block_ms > 0 else []  # BLOCK 0 means forever
        each = limit if len(queues) == 1 else 1
        asked = self._server.command(
            "XREADGROUP", "GROUP", GROUP, session, "COUNT", each, *wait, "STREAMS", *keys, *[">"] * len(keys),
            pool="blocking",
        )  # fmt: skip
        answer = await self._answer(reader, queues, asked)
        names = dict(zip(keys, queues, strict=True))
        return [
            _ticket(names[key.decode()], row[0], row[1][b"agent"], row[1][b"fence"])
            for key, rows in answer or []
            for row in rows
        ]

    async def _answer(self, reader: _Reader, queues: Sequence[str], asked: Awaitable[Any]) -> Any:
        """To something that reads from *queues*; None when they had to be opened anew."""
        reader.in_doubt = True
        try:
            answer = await asked
        except ProviderError as error:
            if "NOGROUP" not in str(error):
                raise
            reader.opened.clear()  # the server has forgotten its data, or somebody removed the queue
            answer = None
            for queue in queues:
                await self._open(reader, queue)
        reader.in_doubt = False
        return answer

    async def _return_surplus(self, session: SessionId, found: list[Ticket], limit: int) -> list[Ticket]:
        """A blocking read of several queues may give one ticket of each: those above *limit* go back to their queue."""
        surplus = found[limit:]
        await self._enqueue_many(surplus)
        for ticket in surplus:
            await self._acknowledge_many(ticket.queue, [ticket.entry])
        return found[:limit]

    def _hand(self, reader: _Reader, tickets: Sequence[Ticket], *, doubt: bool = False) -> list[Ticket]:
        reader.handed.update((ticket.queue, ticket.entry) for ticket in tickets)
        reader.in_doubt = reader.in_doubt or doubt
        return list(tickets)

    async def _held(self, session: SessionId, queues: Iterable[str]) -> list[Ticket]:
        held: list[Ticket] = []
        for queue in queues:
            after = "-"
            while True:
                entries, tickets = await self._page(session, queue, after)
                held += tickets
                if len(entries) < _PAGE:
                    break
                after = "(" + entries[-1]
        return held

    async def _page(self, session: SessionId, queue: str, after: str) -> tuple[list[str], list[Ticket]]:
        """The next pending entries of *session*, and their tickets (an entry may be gone already)."""
        rows = await self._server.run(script("held"), [self._keys.queue(queue)], [GROUP, session, after, _PAGE])
        tickets = [_ticket(queue, *row) for row in rows if len(row) == 3]
        return [row[0].decode() for row in rows], tickets

    async def _acknowledge_many(self, queue: str, entries: Sequence[str]) -> None:
        keys = [self._keys.queue(queue), *self._cap_and_bell(queue)]
        await self._server.run(script("acknowledge"), keys, [GROUP, *entries])

    async def _consumers(self, queue: str) -> list[tuple[SessionId, int]]:
        try:
            rows: Any = await self._server.command("XINFO CONSUMERS", self._keys.queue(queue), GROUP)
        except ProviderError as error:
            if "NOGROUP" in str(error) or "no such key" in str(error):
                return []
            raise
        return [(SessionId(_text(row["name"])), int(row["pending"])) for row in rows]


def _ticket(queue: str, entry: bytes, agent: bytes, fence: bytes) -> Ticket:
    return Ticket(AgentId(agent.decode()), int(fence), queue, entry.decode())


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
