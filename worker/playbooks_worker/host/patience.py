"""Says a call again, with backoff, until the store answers. For calls that are idempotent, which the contracts promise.

Reads and transitions raise `Unreachable` at once (only `save` waits by itself); an agent must not fail for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
import tenacity

from playbooks_providers.errors import StorageFull, Unreachable

T = TypeVar("T")
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

_log = structlog.get_logger()


async def patiently(call: Callable[[], Awaitable[T]], doing: str, *, aloud: bool = False) -> T:
    """What *call* answers, however long the store is away. Ends early only when the task is cancelled.

    One line per outage; with *aloud* one per attempt, for what cannot begin without it.
    """
    try:
        return await call()  # the library that waits costs as much as the call itself
    except (Unreachable, StorageFull) as error:
        first: list[Exception] = [error]
    failures = 0

    def failed(state: tenacity.RetryCallState) -> None:
        nonlocal failures
        failures = state.attempt_number
        if aloud or failures == 1:
            assert state.outcome is not None
            _log.warning("store unavailable, trying again", doing=doing, reason=str(state.outcome.exception()))

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type((Unreachable, StorageFull)),
        wait=tenacity.wait_exponential(FIRST_PAUSE_S, LONGEST_PAUSE_S) + tenacity.wait_random(0, FIRST_PAUSE_S),
        before_sleep=failed,
    )

    async def once() -> T:  # the library looks whether what it calls is a coroutine function
        if first:
            raise first.pop()
        return await call()

    answer: T = await retrying(once)
    if failures:
        _log.info("store available again", doing=doing, failures=failures)
    return answer
