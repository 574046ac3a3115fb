"""Says in the log when an agent's checkpoints are slow or big: once, and again when it is twice as much.

Called by `life` for each checkpoint; below its thresholds it costs two comparisons. Big ones are told as a share of the
limit at which the agent fails, while there is still time to do something.
"""

from __future__ import annotations

import structlog

from playbooks_providers.ids import CheckpointId
from playbooks_providers.model import Lock

SLOW_SNAPSHOT_S = 0.05
"""All other agents of the process stand still for so long."""

SLOW_WRITE_S = 1.0
"""The agent itself stands still for so long; an outage is told by the store's own words, too."""

BIG_SHARE = 0.25

_MB = 1_000_000
_log = structlog.get_logger()


class Watch:
    """One agent's, in one process. Beyond ``big_from`` bytes, ``slow_from_s``, ``late_from_s`` seconds: tell it."""

    __slots__ = ("_limit", "_lock", "big_from", "late_from_s", "slow_from_s")

    def __init__(self, lock: Lock, limit: int) -> None:
        self._lock = lock
        self._limit = limit
        self.big_from = limit * BIG_SHARE
        self.slow_from_s = SLOW_SNAPSHOT_S
        self.late_from_s = SLOW_WRITE_S

    def taken(self, id: CheckpointId, size: int, took_s: float) -> None:
        """A snapshot of *size* bytes that took *took_s* seconds."""
        if size > self.big_from:
            self.big_from = 2 * size
            share = f"{size / self._limit:.0%} of durability.max_checkpoint_size_mb"
            self._warn("checkpoint is big", id, size_mb=round(size / _MB, 2), share=share)
        if took_s > self.slow_from_s:
            self.slow_from_s = 2 * took_s
            self._slow(id, "snapshot", took_s)

    def written(self, id: CheckpointId, took_s: float) -> None:
        """A checkpoint that was durable *took_s* seconds after its snapshot was there: packed, signed and stored."""
        if took_s > self.late_from_s:
            self.late_from_s = 2 * took_s
            self._slow(id, "write", took_s)

    def _slow(self, id: CheckpointId, what: str, took_s: float) -> None:
        self._warn("checkpoint is slow", id, what=what, took_ms=round(took_s * 1000))

    def _warn(self, event: str, id: CheckpointId, **told: object) -> None:
        lock = self._lock
        _log.warning(event, agent=lock.agent, session=lock.session, fence=lock.fence, checkpoint=str(id), **told)
