"""What agents tell people, in Redis: one bounded stream each, whose ids are the fence and the owner's count (DESIGN 4.6).

A part of `contracts.Coordination`. As in the stream of checkpoints, the id itself keeps former owners and second copies out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playbooks_providers.events import Event, EventPlace
from playbooks_providers.ids import AgentId
from playbooks_providers.model import Done, Gone, Lock
from playbooks_providers.redis.agents import Room
from playbooks_providers.redis.client import BLOCK_S
from playbooks_providers.redis.scripts import script


class Events(Room):
    async def emit(self, lock: Lock, events: Sequence[Event], *, keep: int) -> Done | Gone:
        keys = self._keys.agent(lock.agent)
        args: list[str | bytes | int] = [lock.fence, lock.session, keep]
        for event in events:
            if event.place.fence != lock.fence:
                raise ValueError(f"event {event.place} under fence {lock.fence}")
            args += [event.place.number, event.body]
        answer = await self._server.run(script("emit"), [keys.meta, keys.events], args)
        return Done() if answer == b"done" else Gone(lock.agent)

    async def emitted(self, agent: AgentId, after: EventPlace, *, limit: int, wait_s: float = 0.0) -> Sequence[Event]:
        key, place = self._keys.agent(agent).events, f"{after.fence}-{after.number}"
        rows = await self._server.command("XRANGE", key, f"({place}", "+", "COUNT", limit)
        if not rows and wait_s > 0:
            block_ms = max(1, round(min(wait_s, BLOCK_S) * 1000))  # 0 means forever
            answer = await self._server.command(
                "XREAD", "COUNT", limit, "BLOCK", block_ms, "STREAMS", key, place, pool="blocking"
            )
            rows = [row for _, rows in answer or [] for row in rows]
        return [_event(row) for row in rows]


def _event(row: Any) -> Event:
    id, fields = row
    fence, _, number = id.partition(b"-")
    return Event(EventPlace(int(fence), int(number)), fields[b"e"])
