"""The Redis home of state: both contracts over one server. Wiring modules call `connect`; nobody else names this package.

    home = connect("redis://127.0.0.1:6379/0", prefix="playbooks", gate=gate)
    home.checkpoints      # contracts.Checkpoints
    home.coordination     # contracts.Coordination
    await home.close()

Nothing is sent before the first call. A home belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from playbooks_providers.errors import ConfigError, Unreachable
from playbooks_providers.redis.address import Address
from playbooks_providers.redis.advice import advice, unable
from playbooks_providers.redis.checkpoints import RedisCheckpoints
from playbooks_providers.redis.client import Server
from playbooks_providers.redis.coordination import RedisCoordination
from playbooks_providers.redis.gate import Gate, OpenGate
from playbooks_providers.redis.keys import Keys
from playbooks_providers.redis.wait import Wait, wait_for
from playbooks_providers.redis.writer import Writer

__all__ = ["Gate", "OpenGate", "RedisCheckpoints", "RedisCoordination", "RedisHome", "Wait", "connect", "wait_for"]

ADVICE_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class RedisHome:
    checkpoints: RedisCheckpoints
    coordination: RedisCoordination
    server: Server
    keys: Keys
    wait: Wait | None = None

    async def advice(self) -> list[str]:
        """What to tell a person about this server at start-up, one line each. Raises `Unreachable`."""
        return await advice(self.server, self.wait)

    async def check(self) -> None:
        """Raises `ConfigError` when this server can never do what `durability.wait` asks for, and `Unreachable`."""
        if self.wait is not None and (why := await unable(self.server, self.wait)):
            raise ConfigError(why)

    async def advise(self, say: Callable[[str], object]) -> None:
        """Say each finding once, as soon as the server answers. For daemons, beside what they do."""
        while True:
            try:
                findings = await self.advice()
            except Unreachable:
                await asyncio.sleep(ADVICE_RETRY_S)
                continue
            for finding in findings:
                say(finding)
            return

    async def close(self) -> None:
        """Saves that still wait are cancelled; their outcome is unknown."""
        await self.coordination.close()


def connect(
    url: str,
    *,
    prefix: str = "playbooks",
    gate: Gate | None = None,
    retention_s: float = 7 * 24 * 3600,
    timeout_s: float = 5.0,
    max_connections: int = 32,
    wait: Wait | None = None,
) -> RedisHome:
    """The two contracts over the Redis at *url*. Raises `ConfigError` for a URL or prefix that cannot be used.

    *gate* is asked before every checkpoint is sent (a frozen executor writes nothing). *retention_s*: how long finished
    agents are kept. *timeout_s*: how long any one answer is waited for before it counts as unknown. *wait*: what a
    checkpoint and each transition of an agent have to reach before they are answered (durability.wait).
    """
    keys = Keys(prefix)
    address = Address.parse(url)
    server = Server(address, timeout_s=timeout_s, max_connections=max_connections)
    writer = Writer(address, gate or OpenGate(), wait=wait, connect_timeout_s=timeout_s, silence_s=2 * timeout_s)
    return RedisHome(
        checkpoints=RedisCheckpoints(server, keys, writer),
        coordination=RedisCoordination(server, keys, writer, retention_s=retention_s),
        server=server,
        keys=keys,
        wait=wait,
    )
