"""Time comes in as a parameter: who needs it takes a `Clock`. Tests hand in a `ManualClock` and turn it themselves."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Unix time in milliseconds. It may jump: for stamps that people and other machines read, never for waiting."""

    def monotonic(self) -> float:
        """Seconds since some moment. Never goes back: for deadlines and leases within this process."""


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """Stands still until `advance` is called."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._started_ms = now_ms
        self._passed_s = 0.0

    def now_ms(self) -> int:
        return self._started_ms + round(self._passed_s * 1000)

    def monotonic(self) -> float:
        return self._passed_s

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("time does not go back")
        self._passed_s += seconds
