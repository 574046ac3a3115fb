"""Follows one agent on Redis for the demo: every checkpoint as it is written, and who owns the agent now.

The stream `playbooks:{ID}:checkpoints` is the agent's history. It is read as it grows, since only the newest checkpoints
are kept and the stream of a finished agent is folded away.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from redis.asyncio import Redis

from playbooks_providers.envelope import Header, read_header
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import AgentView, SessionInfo
from playbooks_providers.redis import RedisHome

_READ_MS = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint, and when it was seen here (monotonic seconds)."""

    id: CheckpointId
    header: Header
    at: float


@dataclass
class Follower:
    home: RedisHome
    agent: AgentId
    url: str
    seen: list[Seen] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self) -> None:
        """Collect checkpoints until cancelled. (Entries numbered 0 only say that the agent became ready.)"""
        key, last = f"playbooks:{{{self.agent}}}:checkpoints", b"0-0"
        client: Redis = Redis.from_url(self.url, protocol=2)
        async with client:
            while True:
                for _, entries in await client.xread({key: last}, block=_READ_MS, count=100) or []:
                    now = time.monotonic()
                    for last, fields in entries:
                        id = CheckpointId.parse(last.decode())
                        if id.seq > 0:
                            self.seen.append(Seen(id, read_header(fields[b"h"]), now))
                async with self.changed:
                    self.changed.notify_all()

    @property
    def newest(self) -> Seen | None:
        return self.seen[-1] if self.seen else None

    async def view(self) -> AgentView:
        view = await self.home.coordination.describe(self.agent)
        assert view is not None, f"agent {self.agent} is gone"
        return view

    async def owner(self) -> SessionInfo | None:
        """The session that runs the agent now; None between two owners."""
        view = await self.view()
        return await self.home.coordination.session(view.session) if view.session is not None else None

    async def first_after(self, fence: int) -> Seen:
        """The first checkpoint of a later owner than *fence*."""
        async with self.changed:
            await self.changed.wait_for(lambda: self._after(fence) is not None)
        found = self._after(fence)
        assert found is not None
        return found

    async def reaches(self, number: int) -> None:
        """Until the agent has written checkpoint *number*, or its last one."""
        async with self.changed:
            await self.changed.wait_for(lambda: self._has_reached(number))

    def _has_reached(self, number: int) -> bool:
        return self.newest is not None and (self.newest.id.seq >= number or self.newest.header.kind != "step")

    def _after(self, fence: int) -> Seen | None:
        return next((seen for seen in self.seen if seen.id.fence > fence), None)


def place(header: Header) -> str:
    """The innermost statement in hand: ``audit:audit_module line 58: shape = await parse(module, log)``."""
    if not header.stack:
        return "the end"
    playbook, line, statement, _ = header.stack[-1]
    return f"{playbook} line {line}: {statement}"
