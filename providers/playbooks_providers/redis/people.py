"""Which agents ask people something, in Redis: one hash of agent and fence. A part of `contracts.Coordination`."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks_providers.ids import AgentId
from playbooks_providers.model import Lock
from playbooks_providers.redis.agents import Room
from playbooks_providers.redis.scripts import script

_AT_ONCE = 1000


class People(Room):
    async def asks(self, lock: Lock, asking: bool) -> None:
        await self._server.quick(script("asks"), [self._keys.asking], [lock.agent, lock.fence, int(asking)])

    async def asking(self) -> Sequence[AgentId]:
        found: dict[AgentId, None] = {}
        cursor = 0
        while True:
            after, rows = await self._server.command("HSCAN", self._keys.asking, cursor, "COUNT", _AT_ONCE)
            cursor = int(after)
            found.update(dict.fromkeys(AgentId(name.decode()) for name in rows))
            if cursor == 0:
                return list(found)
