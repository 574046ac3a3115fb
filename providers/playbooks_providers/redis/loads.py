"""How much there is to do, in Redis: from the length of each queue and what is pending in it, and from what sessions offer.

A part of `contracts.Coordination`. A queue's entries are the tickets of ready agents and, pending, those of running ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from playbooks_providers.ids import SessionId
from playbooks_providers.lanes import SIGN
from playbooks_providers.loads import Offer, QueueLoad, SystemLoad, system_load
from playbooks_providers.redis.queue import Queue
from playbooks_providers.redis.scripts import script


class Loads(Queue):
    async def offer(self, session: SessionId, offer: Offer) -> None:
        told = json.dumps(asdict(offer), separators=(",", ":"))
        await self._server.run(script("put_hash"), [self._keys.offers], [0, session, told])

    async def offers(self) -> Mapping[SessionId, Offer]:
        offers = await self._offers()
        alive = await self._alive()
        return {session: offer for session, offer in offers.items() if session in alive}

    async def _offers(self) -> dict[SessionId, Offer]:
        """Of sessions that are over, too, until somebody has looked."""
        found = await self._server.command("HGETALL", self._keys.offers)
        return {SessionId(name.decode()): Offer(**json.loads(text)) for name, text in found.items()}

    async def ask_to_drain(self, sessions: Sequence[SessionId]) -> None:
        if sessions:
            await self._server.command("SADD", self._keys.draining, *sessions)

    async def draining(self) -> frozenset[SessionId]:
        names = await self._server.command("SMEMBERS", self._keys.draining, pool="beats")
        return frozenset(SessionId(name.decode()) for name in names)

    async def load(self) -> SystemLoad:
        queues = await self._queues()
        lengths = await self._server.commands([("XLEN", self._keys.queue(queue)) for queue in queues])
        holders = {queue: await self._consumers(queue) for queue in queues}
        offers = await self._offers()
        caps = await self._caps_of(queues)
        leaving = await self.draining()
        alive = await self._alive()  # last: one that registers in between is not taken for dead
        await self._forget(offers.keys() - alive, leaving - alive)
        lanes = [QueueLoad(queue, 0, 0, 0, 0, cap) for queue, cap in caps.items()]
        for queue, length in zip(queues, lengths, strict=True):
            running = sum(pending for _, pending in holders[queue])
            orphans = sum(pending for session, pending in holders[queue] if session not in alive)
            if length or running or SIGN not in queue:  # a lane that nobody waits in says nothing of its queue
                lanes.append(QueueLoad(queue, max(0, length - running), running, orphans, 0))
        return system_load(lanes, [offer for session, offer in offers.items() if session in alive - leaving])

    async def _forget(self, offered: set[SessionId], leaving: frozenset[SessionId]) -> None:
        """What is left of sessions whose burial was cut short."""
        if offered:
            await self._server.command("HDEL", self._keys.offers, *offered)
        if leaving:
            await self._server.command("SREM", self._keys.draining, *leaving)
