"""Is this daemon alive, and is it ready? Asked by the HTTP surface from a thread of its own.

*Alive* is a matter of the daemon's own loop and of nothing else: a Redis that is away is no reason to restart anybody. The
loop leaves a mark at each turn; whoever looks from outside sees when the marks end, whatever it is that holds the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from playbooks_providers import metrics

BEAT_S = 0.5
STALLED_AFTER_S = 10.0
"""A loop that has not turned for so long is stalled. Longer than any pause that a loaded machine is forgiven for."""


class Pulse:
    """The marks that a loop leaves. *process* names its kind for the metrics; *also* is done at each of them."""

    def __init__(self, process: str, also: Callable[[], None] = lambda: None) -> None:
        self._process = process
        self._also = also
        self._marked_s = time.monotonic()

    async def beat_forever(self) -> None:
        """A task of the loop that is watched."""
        while True:
            self._marked_s = asked_s = time.monotonic()
            self._also()
            await asyncio.sleep(BEAT_S)
            metrics.EVENT_LOOP_LAG.observe(max(0.0, time.monotonic() - asked_s - BEAT_S), self._process)

    @property
    def stalled_s(self) -> float:
        """How long the loop has not turned, as seen from any thread."""
        return time.monotonic() - self._marked_s


@dataclass(frozen=True, slots=True)
class Probes:
    """``unready`` says why the daemon is not ready, empty when it is; it is called from another thread, and only looks."""

    pulse: Pulse
    unready: Callable[[], str]

    def not_alive(self) -> str:
        stalled_s = self.pulse.stalled_s
        return f"the event loop has not turned for {stalled_s:.1f} s" if stalled_s > STALLED_AFTER_S else ""

    def not_ready(self) -> str:
        return self.not_alive() or self.unready()
