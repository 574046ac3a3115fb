"""How long the writer pauses before it tries again, and what a person hears: once that it began, once that it ended.

Called by writer.py, which tells it of each failure and of the first success after that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from playbooks_providers import metrics
from playbooks_providers.redis.client import Trouble

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0

_log = structlog.get_logger(__name__)


class Outage:
    """``failures`` counts since the last success; 0 while all is well."""

    def __init__(self, where: str, jitter: Callable[[], float], now: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        self._where = where
        self._jitter = jitter
        self._now = now
        self._since: dict[Trouble, float] = {}

    def trouble(self, kind: Trouble, reason: str) -> None:
        """Something failed. Said in the log when it is the first of its kind in this outage."""
        self.failures += 1
        metrics.REDIS_ERRORS.add(kind)
        if kind not in self._since:
            self._since[kind] = self._now()
            _log.warning("checkpoints wait for Redis", trouble=kind, redis=self._where, reason=reason)

    def over(self) -> None:
        """A checkpoint went through."""
        for kind, since in self._since.items():
            _log.info("checkpoints go on", trouble=kind, redis=self._where, waited_s=round(self._now() - since, 3))
        self._since.clear()
        self.failures = 0

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row: doubling, bounded, and not the same for everybody."""
        if failures <= 0:
            return 0.0
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures, 10))
        return longest * (0.5 + self._jitter() / 2)
