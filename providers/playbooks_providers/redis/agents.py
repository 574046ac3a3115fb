"""The transitions of agents in Redis: one script each, atomic on one agent's keys (DESIGN 4.6).

The first part of `contracts.Coordination`. The rules are in the scripts' headers; here their answers become types. What
follows a transition on another key (enqueue a ticket, arm a timer) is a step of its own, which whoever recovers repeats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId
from playbooks_providers.letters import Standing, Unread
from playbooks_providers.model import (
    AgentView,
    Choice,
    Created,
    Done,
    Entry,
    Exists,
    Gone,
    Lock,
    Minted,
    Order,
    Stale,
    StartRecord,
    Status,
    Taken,
    Ticket,
    Unwanted,
)
from playbooks_providers.redis.client import Call, Server
from playbooks_providers.redis.keys import GROUP, Keys
from playbooks_providers.redis.scripts import script
from playbooks_providers.redis.writer import Writer

# A ticket is enqueued right after its fence is minted, and both carry the server's time: it is looked for here.
TICKET_BEFORE_MS, TICKET_AFTER_MS = 1_000, 3_000
_LOOK_AT = 200  # tickets that were enqueued about then


class Room:
    """What every part of the coordination shares."""

    def __init__(self, server: Server, keys: Keys, writer: Writer, *, retention_s: float) -> None:
        self._server = server
        self._keys = keys
        self._writer = writer
        self._retention_s = retention_s
        self._pokes_seen: dict[SessionId, str] = {}  # the last one that each session of this process was told of
        self._pokes_read: dict[SessionId, int] = {}  # since they were trimmed
        self._caps_known: dict[str, tuple[float, bool]] = {}  # by queue: when it was looked for, whether there is one

    async def _settle(self, agent: AgentId) -> None:
        """What *agent*'s keys were told is as durable as asked for. Raises `Unreachable`: say it again, as with any call."""
        await self._writer.settle(self._keys.agent(agent).meta)


class Agents(Room):
    async def create(self, start: StartRecord) -> Created | Exists:
        return await self._begin("create", start, [])

    async def fork(self, start: StartRecord, entry: Entry) -> Created | Exists:
        return await self._begin("fork", start, [str(entry.id), entry.header, entry.payload])

    async def _begin(self, name: str, start: StartRecord, checkpoint: Sequence[str | bytes]) -> Created | Exists:
        keys = self._keys.agent(start.agent)
        origin = hashlib.sha256(start.origin.encode()).hexdigest()[:32]  # 128 bits: of one id, two origins are compared
        answer = await self._server.run(
            script(name),
            [keys.meta, keys.checkpoints, keys.state],
            [origin, start.to_json(), start.queue, *checkpoint],
        )
        if answer[0] == b"exists":
            return Exists(start.agent, Status(answer[1].decode()), StartRecord.from_json(answer[2]))
        await self._settle(start.agent)
        ticket = Ticket(start.agent, int(answer[1]), start.queue) if answer[1] else None
        return Created(ticket, fresh=answer[0] == b"fresh")

    async def take(self, ticket: Ticket, session: SessionId, nonce: Nonce) -> Taken | Stale:
        keys = self._keys.agent(ticket.agent)
        answer = await self._server.run(
            script("take"), [keys.meta, keys.checkpoints, keys.state], [ticket.fence, session, nonce]
        )
        if answer[0] == b"stale":
            return Stale(ticket)
        await self._settle(ticket.agent)  # what it resumes from, too, which its former owner may not have waited for
        _, resume_from, attempts, queue, start, choice, birth, order, why = answer
        return Taken(
            Lock(
                agent=ticket.agent,
                fence=ticket.fence,
                session=session,
                nonce=nonce,
                queue=queue.decode(),
                resume_from=_checkpoint(resume_from),
                attempts=int(attempts),
                start=StartRecord.from_json(start),
                choice=Choice(choice.decode() or Choice.RESUME),
                birth=int(birth),
                order=Order.from_json(order) if order else None,
            ),
            by_letter=why == b"it has mail",  # as deliver.lua says it
        )

    async def release(self, lock: Lock, why: str, *, delay_s: float = 0.0, blameless: bool = True) -> Minted | Gone:
        keys = self._keys.agent(lock.agent)
        answer = await self._server.run(
            script("release"),
            [keys.meta, keys.checkpoints],
            [lock.fence, lock.session, why, round(delay_s * 1000), int(blameless)],
        )
        await self._settle(lock.agent)
        self._writer.disown(lock.agent, lock.fence)
        minted = _minted(lock.agent, answer)
        if isinstance(minted, Minted) and minted.due_ms is not None:
            await self._arm([minted])
        return minted

    async def finish(
        self, lock: Lock, status: Status, final: Entry, *, read: int | None = None
    ) -> Done | Unread | Gone:
        keys = self._keys.agent(lock.agent)
        await self._asks_nobody(lock.agent)
        answer = await self._server.run(
            script("finish"),
            [keys.meta, keys.checkpoints, keys.state, keys.inbox, keys.events],
            [
                lock.fence,
                lock.session,
                status.value,
                str(final.id),
                final.header,
                round(self._retention_s * 1000),
                "" if read is None else read,
            ],
        )
        if answer == b"unread":
            return Unread(lock.agent)
        await self._settle(lock.agent)
        self._writer.disown(lock.agent, lock.fence)
        return Done() if answer == b"done" else Gone(lock.agent)

    async def stop(self, lock: Lock, status: Status, why: str) -> Done | Unwanted | Gone:
        keys = self._keys.agent(lock.agent)
        answer = await self._server.run(
            script("stop"), [keys.meta, keys.checkpoints, keys.state], [lock.fence, lock.session, status.value, why]
        )
        if answer == b"unwanted":
            return Unwanted(lock.agent)
        await self._settle(lock.agent)
        self._writer.disown(lock.agent, lock.fence)
        return Done() if answer == b"done" else Gone(lock.agent)

    async def retry(
        self, agent: AgentId, fence: int, choice: Choice, *, read: int | None = None
    ) -> Minted | Unread | Gone:
        keys = self._keys.agent(agent)
        answer = await self._server.run(
            script("retry"),
            [keys.meta, keys.checkpoints, keys.state, keys.inbox, keys.events],
            [fence, choice.value, "" if read is None else read],
        )
        if answer[0] == b"unread":
            return Unread(agent)
        await self._settle(agent)
        minted = _minted(agent, answer)
        if isinstance(minted, Minted) and minted.due_ms is not None:
            await self._arm([minted])
        return minted

    async def wake(self, agent: AgentId, fence: int, by: SessionId | None) -> Minted | Gone:
        minted = _minted(agent, await self._server.run(*self._wake_call(agent, fence, by)))
        if isinstance(minted, Minted) and minted.due_ms is not None:
            await self._arm([minted])
        return minted

    async def describe(self, agent: AgentId) -> AgentView | None:
        keys = self._keys.agent(agent)
        answer = await self._server.run(script("describe"), [keys.meta, keys.checkpoints, keys.state, keys.inbox], [])
        if not answer:
            return None
        status, fence, session, attempts, start, why, last, header, birth, mail, wake, order = answer
        return AgentView(
            agent=agent,
            status=Status(status.decode()),
            fence=int(fence),
            start=StartRecord.from_json(start),
            session=SessionId(session.decode()) if session else None,
            attempts=int(attempts),
            why=why.decode(),
            last=_checkpoint(last),
            header=header,
            birth=int(birth),
            mail=int(mail),
            wake_ms=int(wake) if wake else None,
            order=Order.from_json(order) if order else None,
        )

    async def agents(self) -> Sequence[AgentId]:
        return list(await self.standings())

    async def standings(self) -> Mapping[AgentId, Standing]:
        found: set[AgentId] = set()  # SCAN may say a key twice
        cursor = 0
        while True:
            cursor, keys = await self._scan(cursor, 1000)
            found.update(map(self._keys.agent_of, keys))
            if cursor == 0:
                break
        there: dict[AgentId, Standing] = {}
        ordered = sorted(found)
        for first in range(0, len(ordered), 1000):
            agents = ordered[first : first + 1000]
            asked = [("HMGET", self._keys.agent(one).meta, "status", "birth") for one in agents]
            for one, (status, birth) in zip(agents, await self._server.commands(asked), strict=True):
                if status is not None:  # the others were deleted
                    there[one] = Standing(Status(status.decode()), int(birth))
        return there

    async def _asks_nobody(self, agent: AgentId) -> None:
        """It is about to end, before which nobody dies without its being tried again: the index of those that ask people
        need not name it."""
        await self._server.command("HDEL", self._keys.asking, agent)

    # --- shared with the queue and the timers -----------------------------------------------------------------------

    async def _scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """One step over the agents' meta keys; the round is over when the cursor is 0 again."""
        after, keys = await self._server.command("SCAN", cursor, "MATCH", self._keys.any_meta, "COUNT", count)
        return int(after), keys

    def _wake_call(self, agent: AgentId, fence: int, by: SessionId | None) -> Call:
        keys = self._keys.agent(agent)
        why = "its time has come" if by is None else f"session {by} is over"
        return script("wake"), [keys.meta, keys.checkpoints, keys.state], [fence, by or "", why]

    async def _wake_many(self, woken: Sequence[tuple[AgentId, int]], by: SessionId | None) -> list[Ticket]:
        """Wake each, arm the timers of those that wait, answer the tickets of those that are ready."""
        answers = await self._server.run_many(self._wake_call(agent, fence, by) for agent, fence in woken)
        all_minted = [_minted(agent, answer) for (agent, _), answer in zip(woken, answers, strict=True)]
        minted = [one for one in all_minted if isinstance(one, Minted)]
        await self._arm([one for one in minted if one.due_ms is not None])
        return [one.ticket for one in minted if one.due_ms is None]

    async def _disarm(self, agent: AgentId, fence: bytes) -> None:
        """A timer under a fence that is over would wake nobody; a day's worth of them should not lie about."""
        if fence:
            await self._server.command("ZREM", self._keys.due, f"{agent}:{fence.decode()}")

    async def _retract(self, agent: AgentId, fence: bytes, queue: bytes) -> None:
        """A ticket under a fence that is over opens nothing, and would count as an agent that waits. Where nobody reads the
        queue nobody would drop it."""
        if fence:
            where: list[str | bytes | int] = [GROUP, agent, int(fence), TICKET_BEFORE_MS, TICKET_AFTER_MS, _LOOK_AT]
            await self._server.run(script("retract"), [self._keys.queue(queue.decode())], where)

    async def _arm(self, waiting: Sequence[Minted]) -> None:
        for first in range(0, len(waiting), 500):
            args: list[str | bytes | int] = []
            for minted in waiting[first : first + 500]:
                args += [f"{minted.ticket.agent}:{minted.ticket.fence}", minted.due_ms or 0]
            await self._server.run(script("arm"), [self._keys.due], args)


def _minted(agent: AgentId, answer: Any) -> Minted | Gone:
    if answer[0] == b"gone":
        return Gone(agent)
    ticket = Ticket(agent, int(answer[1]), answer[2].decode())
    return Minted(ticket, due_ms=int(answer[3]) if answer[0] == b"waiting" else None)


def _checkpoint(text: bytes) -> CheckpointId | None:
    return CheckpointId.parse(text.decode()) if text else None
