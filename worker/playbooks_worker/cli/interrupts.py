"""Ctrl+C in `run`: an interrupted run ends hard, as a crash would, and says how to go on. Knows no agent and no store."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import NoReturn

from playbooks_worker.cli.output import Exit


class Interrupts:
    """Ctrl+C stops the run at once and without a checkpoint; again, it ends the process there and then."""

    def __init__(self, stops: Callable[[], bool], leave: Callable[[], NoReturn]) -> None:
        self._stops = stops
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._asked = False

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: object) -> None:
        if self._asked:  # user code holds the loop: what has been recorded is safe
            try:
                self._leave()
            finally:  # whatever was being printed when the signal came
                os._exit(Exit.INTERRUPTED)
        self._asked = True
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if not self._stops():
            self._leave()
