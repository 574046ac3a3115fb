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
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Parked, Poke, Standing, Unread
from playbooks_providers.model import Gone, Lock, Minted, Status, Ticket
from playbooks_providers.redis.agents import Agents
from playbooks_providers.redis.client import BLOCK_S
from playbooks_providers.redis.scripts import script

_LONGEST_NAME = 40  # bytes of a sender that stand in a field's name as they are: names in the hash stay below 64 bytes
_POKES_LIVE_MS = 3_600_000  # for a session that is over, whose name alone would make the key again
_AT_ONCE = 1000
_CARRIED_BYTES = 1024  # of a letter that goes with its poke
_TRIM_AFTER = 100  # pokes that were read: what nobody needs any more should not wait for MAXLEN to go
_FOLDED_BYTES = 65_536  # of a stream: see park.lua


class Inboxes(Agents):
    async def standing(self, agent: AgentId) -> Standing | None:
        status, birth = await self._server.quick_command("HMGET", self._keys.agent(agent).meta, "status", "birth")
        return None if status is None else Standing(Status(status.decode()), int(birth))

    async def deliver(
        self, receiver: AgentId, letter: Letter, *, limit: int, birth: int | None = None
    ) -> Delivered | Full | Gap | Gone:
        keys = self._keys.agent(receiver)
        answer = await self._server.quick(
            script("deliver"),
            [keys.meta, keys.checkpoints, keys.state, keys.inbox],
            [
                "" if letter.once else _field(letter.sender),
                letter.birth,
                letter.number,
                "" if letter.pressing else limit,
                "" if birth is None else birth,
                letter.sender,
                letter.body,
                round(self._retention_s / 86_400),
            ],
        )
        kind = answer[0].decode()
        if kind == "gone":
            return Gone(receiver)
        if kind == "gap":
            return Gap(receiver, int(answer[1]))
        if kind == "full":
            return Full(receiver)
        await self._settle(receiver)  # its sender forgets it then
        _, fence, queue, session, timer, *place = answer
        await self._disarm(receiver, timer)
        return Delivered(
            fresh=kind == "fresh",
            ticket=Ticket(receiver, int(fence), queue.decode()) if fence else None,
            session=SessionId(session.decode()) if session else None,
            place=int(place[0]) if place else 0,
        )

    async def mail(self, agent: AgentId, after: int, *, limit: int) -> Sequence[Mail]:
        rows = await self._server.quick_command(
            "XRANGE", self._keys.agent(agent).inbox, f"{after + 1}-0", "+", "COUNT", limit
        )
        return [_mail(row) for row in rows]

    async def forget_mail(self, lock: Lock, through: int) -> None:
        keys = self._keys.agent(lock.agent)
        await self._server.quick(script("forget_mail"), [keys.meta, keys.inbox], [lock.fence, through])

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
        await self._settle(lock.agent)
        self._writer.disown(lock.agent, lock.fence)
        if kind == "gone":
            return Gone(lock.agent)
        _, fence, queue, wake = answer
        if wake:
            await self._arm([Minted(Ticket(lock.agent, int(fence), queue.decode()), int(wake))])
        return Parked()

    # --- pokes ------------------------------------------------------------------------------------------------------

    _now_s: Callable[[], float] = staticmethod(time.monotonic)

    async def poke(self, session: SessionId, poke: Poke) -> None:
        words: list[str | bytes | int] = [_POKES_LIVE_MS, "a", poke.agent]
        mail = poke.mail
        if mail is not None and len(mail.body) <= _CARRIED_BYTES:
            words += [
                "r",
                poke.birth,
                "p",
                mail.place,
                "s",
                mail.sender,
                "b",
                mail.birth,
                "n",
                mail.number,
                "d",
                mail.body,
            ]
        await self._server.quick(script("poke"), [self._keys.pokes(session)], words)

    async def pokes(self, session: SessionId, *, wait_s: float) -> Sequence[Poke]:
        key, seen, read = self._keys.pokes(session), self._pokes_seen, self._pokes_read
        deadline = self._now_s() + wait_s
        while True:
            left_s = min(deadline - self._now_s(), BLOCK_S)
            block: list[str | int] = ["BLOCK", max(1, round(left_s * 1000))] if left_s > 0 else []  # 0 means forever
            answer = await self._server.listen(
                "XREAD", "COUNT", _AT_ONCE, *block, "STREAMS", key, seen.get(session, "0")
            )
            rows = [row for _, rows in answer or [] for row in rows]
            if rows:
                seen[session] = rows[-1][0].decode()
                read[session] = read.get(session, 0) + len(rows)
                if read[session] >= _TRIM_AFTER:
                    read[session] = 0
                    await self._server.quick_command("XTRIM", key, "MINID", seen[session])
                return [_poke(_fields(words)) for _, words in rows]
            if self._now_s() >= deadline:
                return []


def _field(sender: str) -> str:
    name = sender.encode()
    return f"s:{sender}" if len(name) <= _LONGEST_NAME else f"s:#{hashlib.sha256(name).hexdigest()[:40]}"


def _fields(words: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(words[::2], words[1::2], strict=True))


def _poke(fields: dict[bytes, bytes]) -> Poke:
    agent = AgentId(fields[b"a"].decode())
    if b"p" not in fields:
        return Poke(agent)
    sender, birth, number = fields[b"s"].decode(), int(fields[b"b"]), int(fields[b"n"])
    return Poke(agent, int(fields[b"r"]), Mail(int(fields[b"p"]), sender, birth, number, fields[b"d"]))


def _mail(row: Any) -> Mail:
    id, words = row
    place, _, _ = id.partition(b"-")
    fields = _fields(words)
    return Mail(int(place), fields[b"s"].decode(), int(fields[b"b"]), int(fields[b"n"]), fields[b"d"])
