"""The whole of `contracts.Coordination` over Redis, put together from its parts; and the end of its connections."""

from __future__ import annotations

from playbooks_providers.redis.due import Due
from playbooks_providers.redis.events import Events
from playbooks_providers.redis.inboxes import Inboxes
from playbooks_providers.redis.leader import Leader
from playbooks_providers.redis.loads import Loads
from playbooks_providers.redis.orders import Orders
from playbooks_providers.redis.people import People
from playbooks_providers.redis.sessions import Sessions


class RedisCoordination(Due, Inboxes, Orders, People, Events, Loads, Sessions, Leader):
    async def ping(self) -> None:
        await self._server.command("PING")

    async def close(self) -> None:
        await self._writer.close()
        await self._server.close()
