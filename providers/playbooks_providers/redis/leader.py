"""The leader's lease of the coordinators, in Redis.

The last part of `contracts.Coordination`. Two leaders at once are harmless (every step of theirs is compare-and-set), so a
plain key with a time to live is enough.
"""

from __future__ import annotations

from playbooks_providers.ids import Nonce
from playbooks_providers.redis.agents import Room
from playbooks_providers.redis.scripts import script


class Leader(Room):
    async def lead(self, nonce: Nonce, lease_s: float) -> bool:
        lease_ms = max(1, round(lease_s * 1000))
        return bool(await self._server.run(script("lead"), [self._keys.leader], [nonce, lease_ms]))

    async def resign(self, nonce: Nonce) -> None:
        await self._server.run(script("resign"), [self._keys.leader], [nonce])

    async def leader(self) -> Nonce | None:
        holder = await self._server.command("GET", self._keys.leader)
        return Nonce(holder.decode()) if holder else None
