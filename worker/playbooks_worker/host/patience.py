"""Says a call again, with backoff, until the store answers. For calls that are idempotent, which the contracts promise.

Reads and transitions raise `Unreachable` at once (only `save` waits by itself); an agent must not fail for that. (Not with
a library for retries: stamina logs each attempt through hooks that it shares with the user's program.)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from playbooks_providers.errors import StorageFull, Unreachable

T = TypeVar("T")
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

_log = structlog.get_logger()


async def patiently(call: Callable[[], Awaitable[T]], doing: str, *, aloud: bool = False) -> T:
    """What *call* answers, however long the store is away. Ends early only when the task is cancelled.

    One line per outage; with *aloud* one per attempt, for what cannot begin without it.
    """
    failures = 0
    while True:
        try:
            answer = await call()
        except (Unreachable, StorageFull) as error:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
            if aloud or not failures:
                _log.warning("store unavailable, trying again", doing=doing, reason=str(error))
            failures += 1
            await asyncio.sleep(pause_s)
        else:
            if failures:
                _log.info("store available again", doing=doing, failures=failures)
            return answer
