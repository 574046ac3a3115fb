"""The worlds of perishing.py on a real server, each under a prefix of its own: the same agents, the same deaths.

Each worker has connections of its own, as a process has. The coordinator's part is that of `World`, and timers: time is the
server's here, and passes by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from perishing import World

from playbooks_providers.clock import SystemClock
from playbooks_providers.contracts import Checkpoints, Coordination
from playbooks_providers.redis import RedisHome, connect

_NUMBERS = itertools.count()


class RedisWorld(World):
    def __init__(self, park_after_s: float | None, url: str) -> None:
        super().__init__(park_after_s)
        self._url, self._prefix = url, f"world-{next(_NUMBERS)}"
        self._homes: list[RedisHome] = []
        _, self.coordination = self.home()
        self.now_ms = SystemClock().now_ms

    def home(self) -> tuple[Checkpoints, Coordination]:
        self._homes.append(connect(self._url, prefix=self._prefix))
        return self._homes[-1].checkpoints, self._homes[-1].coordination

    async def coordinate(self) -> None:
        await super().coordinate()
        await self.coordination.fire_due(limit=10)

    async def close(self) -> None:
        await super().close()
        for home in self._homes:
            await home.close()


def on_redis(url: str) -> Callable[[float | None], World]:
    return lambda park_after_s: RedisWorld(park_after_s, url)
