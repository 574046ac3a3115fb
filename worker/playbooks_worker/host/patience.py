"""Says a call again, with backoff, until the store answers. For calls that are idempotent, which the contracts promise.

Reads and transitions raise `Unreachable` at once (only `save` waits by itself); an agent must not fail for that. One log
line per outage, not one per attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
import structlog

from playbooks_providers.errors import StorageFull, Unreachable

T = TypeVar("T")
_log = structlog.get_logger()


async def patiently(call: Callable[[], Awaitable[T]], doing: str) -> T:
    """What *call* answers, however long the store is away. Ends early only when the task is cancelled."""
    waiting = False
    async for attempt in stamina.retry_context(
        on=(Unreachable, StorageFull), attempts=None, timeout=None, wait_initial=0.05, wait_max=2.0, wait_jitter=0.2
    ):
        with attempt:
            try:
                answer = await call()
            except (Unreachable, StorageFull) as error:
                if not waiting:
                    _log.warning("store unavailable, trying again", doing=doing, reason=str(error))
                waiting = True
                raise
            if waiting:
                _log.info("store available again", doing=doing)
            return answer
    raise asyncio.CancelledError  # not reached: the context tries for ever
