"""Lets an executor write and go on only while its session is known to be renewed. Pure: the clock comes in.

Why: a session that was not renewed in time may have been given up by the coordinator, and its agents taken by others.
The fence refuses what such a process would still write; the gate keeps it from starting effects as well (DESIGN 4.2: it
*freezes*). Renewals are dated from before their request was sent, on a clock that never jumps, so that this side's
deadline is always the earlier one. `life` asks before and after each write, the Redis writer before it sends; the
executor moves the deadline.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Gate:
    """Open until a deadline, which each renewal moves. `run`, which has no session, leaves it open for ever."""

    __slots__ = ("_deadline", "_moved", "_now")

    def __init__(self, now: Callable[[], float], deadline: float = math.inf) -> None:
        self._now = now
        self._deadline = deadline
        self._moved: asyncio.Event | None = None

    @property
    def deadline(self) -> float:
        """When it closes, on the clock it was given (seconds)."""
        return self._deadline

    @property
    def is_open(self) -> bool:
        """True while the session is known to be renewed. Asks the clock: a process that was stopped wakes up frozen."""
        return self._now() < self._deadline

    def renew(self, sent_at: float, timeout_s: float) -> None:
        """A heartbeat sent at *sent_at* was accepted: open for the session's timeout from then, which may have shrunk."""
        self._deadline = sent_at + timeout_s
        if self._moved is not None and self.is_open:
            self._moved.set()
            self._moved = None

    def close(self) -> None:
        """The session is over."""
        self._deadline = -math.inf

    async def wait_open(self) -> None:
        """Return at once while open; else when a renewal has opened it again."""
        while not self.is_open:
            if self._moved is None:
                self._moved = asyncio.Event()
            await self._moved.wait()
