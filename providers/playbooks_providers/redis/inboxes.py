"""Letters, parking and pokes in Redis (DESIGN 4.6, 5). The rules are in the scripts' headers.

A part of `contracts.Coordination`. A letter is accepted by one script on its receiver's keys alone; what must follow (its
ticket enqueued, its session poked) is told to whoever delivers, who keeps the letter until that is done.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from playbooks_providers.ids import AgentId, CheckpointId, SessionId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Parked, Unread
from playbooks_providers.model import Gone, Lock, Minted, Ticket
from playbooks_providers.redis.agents import Agents
from playbooks_providers.redis.client import BLOCK_S
from playbooks_providers.redis.scripts import script

_LONGEST_NAME = 40  # bytes of a sender that stand in a field's name as they are: names in the hash stay below 64 bytes
_POKES_LIVE_MS = 3_600_000  # for a session that is over, whose name alone would make the key again
_AT_ONCE = 1000
_FOLDED_BYTES = 65_536  # of a stream: see park.lua


class Inboxes(Agents):
    async def deliver(
        self, receiver: AgentId, letter: Letter, *, limit: int, birth: int | None = None
    ) -> Delivered | Full | Gap | Gone:
        keys = self._keys.agent(receiver)
        answer = await self._server.run(
            script("deliver"),
            [keys.meta, keys.checkpoints, keys.state, keys.inbox],
            [
                _field(letter.sender),
                letter.birth,
                letter.number,
                "" if letter.pressing else limit,
                "" if birth is None else birth,
                letter.sender,
                letter.body,
            ],
        )
        kind = answer[0].decode()
        if kind == "gone":
            return Gone(receiver)
        if kind == "gap":
            return Gap(receiver, int(answer[1]))
        if kind == "full":
            return Full(receiver)
        _, fence, queue, session, timer = answer
        await self._disarm(receiver, timer)
        return Delivered(
            fresh=kind == "fresh",
            ticket=Ticket(receiver, int(fence), queue.decode()) if fence else None,
            session=SessionId(session.decode()) if session else None,
        )

    async def mail(self, agent: AgentId, after: int, *, limit: int) -> Sequence[Mail]:
        rows = await self._server.command(
            "XRANGE", self._keys.agent(agent).inbox, f"{after + 1}-0", "+", "COUNT", limit
        )
        return [_mail(row) for row in rows]

    async def forget_mail(self, lock: Lock, through: int) -> None:
        keys = self._keys.agent(lock.agent)
        await self._server.run(script("forget_mail"), [keys.meta, keys.inbox], [lock.fence, through])

    async def park(
        self, lock: Lock, at: CheckpointId, cursor: int, wake_ms: int | None, *, keep: bool = False
    ) -> Parked | Unread | Gone:
        keys = self._keys.agent(lock.agent)
        answer = await self._server.run(
            script("park"),
            [keys.meta, keys.checkpoints, keys.state, keys.inbox],
            [
                lock.fence,
                lock.session,
                str(at),
                cursor,
                "" if wake_ms is None else wake_ms,
                0 if keep else _FOLDED_BYTES,
            ],
        )
        kind = answer[0].decode()
        if kind == "unread":
            return Unread(lock.agent)
        if kind == "not":
            raise ValueError(f"{lock.agent} cannot wait at {at}: its newest checkpoint is {answer[1].decode() or None}")
        self._writer.disown(lock.agent, lock.fence)
        if kind == "gone":
            return Gone(lock.agent)
        _, fence, queue, wake = answer
        if wake:
            await self._arm([Minted(Ticket(lock.agent, int(fence), queue.decode()), int(wake))])
        return Parked()

    # --- pokes ------------------------------------------------------------------------------------------------------

    _now_s: Callable[[], float] = staticmethod(time.monotonic)

    async def poke(self, session: SessionId, agent: AgentId) -> None:
        await self._server.run(script("poke"), [self._keys.pokes(session)], [agent, _POKES_LIVE_MS])

    async def pokes(self, session: SessionId, *, wait_s: float) -> Sequence[AgentId]:
        key, seen = self._keys.pokes(session), self._seen
        deadline = self._now_s() + wait_s
        while True:
            left_s = min(deadline - self._now_s(), BLOCK_S)
            block: list[str | int] = ["BLOCK", max(1, round(left_s * 1000))] if left_s > 0 else []  # 0 means forever
            answer = await self._server.command(
                "XREAD", "COUNT", _AT_ONCE, *block, "STREAMS", key, seen.get(session, "0"), pool="blocking"
            )
            rows = [row for _, rows in answer or [] for row in rows]
            if rows:
                seen[session] = rows[-1][0].decode()
                return list(dict.fromkeys(AgentId(fields[b"a"].decode()) for _, fields in rows))
            if self._now_s() >= deadline:
                return []

    @property
    def _seen(self) -> dict[SessionId, str]:
        """The last poke that each session of this process was told of."""
        seen: dict[SessionId, str] = self.__dict__.setdefault("_pokes_seen", {})
        return seen


def _field(sender: str) -> str:
    name = sender.encode()
    return f"s:{sender}" if len(name) <= _LONGEST_NAME else f"s:#{hashlib.sha256(name).hexdigest()[:40]}"


def _mail(row: Any) -> Mail:
    id, fields = row
    place, _, _ = id.partition(b"-")
    return Mail(int(place), fields[b"s"].decode(), int(fields[b"b"]), int(fields[b"n"]), fields[b"d"])
