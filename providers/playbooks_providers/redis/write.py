"""What the writer has under way: an append with the answer that somebody waits for, or a touch for who wrote elsewhere.

Only writer.py uses it. These know what to say on a connection, and hand every answer to their writer, who judges.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from playbooks_providers.answer import Answer
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Lost, Saved
from playbooks_providers.redis.append import head
from playbooks_providers.redis.link import Link, ReplyError, pack
from playbooks_providers.redis.scripts import script


class Judge(Protocol):
    """The writer, as what it has sent sees it."""

    loop: asyncio.AbstractEventLoop

    def accepted(self, one: Write | Touch, /) -> None:
        """The server has done it."""

    def answered(self, write: Write, reply: Any) -> None:
        """Any other answer to an append."""

    def failed(self, touch: Touch, text: str) -> None:
        """The server refuses a touch."""


class Owned:
    """What this process knows about an agent that it owns: its keys, and how far it has written under *fence*."""

    __slots__ = ("agent", "fence", "head", "key", "link", "meta", "seq")

    def __init__(self, agent: AgentId, fence: int, key: str, meta: str) -> None:
        self.agent = agent
        self.fence = fence
        self.key = key
        self.meta = meta
        self.head = head(key)
        self.seq = 0  # the last one that counts; 0: the mint's
        self.link: Link | None = None  # the connection on which the end of its history was seen to be its own


class Write(Answer[Saved | Lost]):
    """One XADD under way: the bytes, and the answer that somebody waits for."""

    __slots__ = ("_judge", "asking", "id", "nonce", "owned", "packed", "refused", "tries")

    def __init__(self, judge: Judge, owned: Owned, id: CheckpointId, nonce: bytes, packed: bytes) -> None:
        super().__init__(judge.loop)
        self._judge = judge
        self.owned = owned
        self.id = id
        self.nonce = nonce
        self.packed = packed
        self.asking = False  # what is on the wire is the question, not the write
        self.refused = False
        self.tries = 0

    def said_on(self, link: Link, *, waits: bool) -> bytes:
        """The append; the question whose history it is, on a connection where that is not known, or after a refusal.
        *waits*: a WAIT follows, now or after the answer."""
        self.asking = self.owned.link is not link or self.refused
        if not self.asking:
            return self.packed
        keys = [self.owned.key, self.owned.meta] if waits else [self.owned.key]
        return pack("EVAL", script("owner").text, len(keys), *keys, str(self.id))

    def answered(self, reply: Any) -> None:
        if not self.asking and type(reply) is bytes:
            self._judge.accepted(self)
        else:
            self._judge.answered(self, reply)

    def counts(self) -> None:
        """It is as durable as asked for."""
        self.owned.seq = self.id.seq
        if not self.done():
            self.set_result(Saved(self.id))


class Touch(Answer[None]):
    """Decided when all that the node was told before is as durable as asked for; an error says that it is unknown."""

    __slots__ = ("_judge", "_meta")

    asking = False

    def __init__(self, judge: Judge, meta: str) -> None:
        super().__init__(judge.loop)
        self._judge = judge
        self._meta = meta

    def said_on(self, link: Link, *, waits: bool) -> bytes:
        return pack("EVAL", script("touch").text, 1, self._meta)

    def answered(self, reply: Any) -> None:
        if isinstance(reply, ReplyError):
            self._judge.failed(self, str(reply))
        else:
            self._judge.accepted(self)

    def counts(self) -> None:
        if not self.done():
            self.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done():
            self.set_exception(error)
