"""How many agents of a queue may be held at once by all sessions together, and how who waits for room learns of it.

A part of `contracts.Coordination`, below `queue`. What is held is what is pending, so a cap is kept by a script that looks
and reads in one step: exact, and nothing to mend after a crash (docs/decisions/0041). A script cannot wait; whoever found
no room waits for the queue's bell, which wakes one reader at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from playbooks_providers.ids import SessionId
from playbooks_providers.lanes import lanes_of, queue_of
from playbooks_providers.redis.agents import Room
from playbooks_providers.redis.keys import GROUP
from playbooks_providers.redis.scripts import script

KNOWN_FOR_S = 1.0
"""How long a reader believes that a queue has a cap, or none. How high it is, the script looks up itself."""


class Caps(Room):
    _monotonic: Callable[[], float] = staticmethod(time.monotonic)

    async def set_cap(self, queue: str, most: int | None) -> None:
        await self._server.run(script("note_queues"), [self._keys.queues], [queue])
        await self._server.run(script("set_cap"), self._cap_and_bell(queue), ["" if most is None else most])
        self._caps_known.pop(queue, None)

    async def caps(self) -> Mapping[str, int]:
        names = await self._server.command("SMEMBERS", self._keys.queues)
        return await self._caps_of(name.decode() for name in names)

    async def _caps_of(self, lanes: Iterable[str]) -> Mapping[str, int]:
        queues = sorted({queue_of(lane) for lane in lanes})
        found = await self._server.commands([("GET", self._keys.cap(queue)) for queue in queues])
        return {queue: int(cap) for queue, cap in zip(queues, found, strict=True) if cap is not None}

    # --- for who reads --------------------------------------------------------------------------------------------------
    async def _capped(self, lanes: Iterable[str]) -> set[str]:
        """Those of the queues of *lanes* that have a cap, or had one a moment ago."""
        now, queues = self._monotonic(), {queue_of(lane) for lane in lanes}
        known = self._caps_known
        unsure = sorted(queue for queue in queues if queue not in known or now - known[queue][0] > KNOWN_FOR_S)
        if unsure:
            there = await self._server.commands([("EXISTS", self._keys.cap(queue)) for queue in unsure])
            known.update((queue, (now, bool(one))) for queue, one in zip(unsure, there, strict=True))
        return {queue for queue in queues if known[queue][1]}

    async def _read_capped(self, session: SessionId, lane: str, limit: int) -> Sequence[Any]:
        """The rows that one lane of a queue gives now."""
        queue = queue_of(lane)
        every = [self._keys.queue(one) for one in lanes_of([queue])]
        keys = [self._keys.queue(lane), *self._cap_and_bell(queue), *every]
        rows: Sequence[Any] = await self._server.run(script("read_capped"), keys, [GROUP, session, limit])
        return rows

    async def _hear_bell(self, queues: Iterable[str], wait_s: float) -> None:
        bells = [self._keys.bell(queue) for queue in sorted(queues)]
        await self._server.command("BLPOP", *bells, f"{wait_s:.3f}", pool="blocking")

    def _cap_and_bell(self, lane: str) -> list[str]:
        queue = queue_of(lane)
        return [self._keys.cap(queue), self._keys.bell(queue)]
