"""The child processes of `playbooksctl dev`: each started in a session of its own, logged, and started again if it dies.

A child that refuses to start (it exits with 2, the code for bad usage) would do so for ever: that ends `dev`. Whatever a
worker's own supervisor restarts is none of this module's business. Called by `dev`; it knows no Redis.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playbooks_worker.cli.dev_logs import Logs
from playbooks_worker.cli.output import CommandError, Exit

_LAUNCHER = str(Path(__file__).with_name("dev_child.py"))
_AGAIN_AFTER_S = 1.0
_LAST_WORDS_S = 0.5


@dataclass
class Child:
    """One process that should run as long as `dev` does. ``stop_within_s``: then it is killed.

    ``keeps_open`` are descriptors that it inherits; ``died`` is set when it ended for the first time.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_within_s: float
    keeps_open: tuple[int, ...] = ()
    process: asyncio.subprocess.Process | None = None
    stopping: bool = False
    died: asyncio.Event = field(default_factory=asyncio.Event)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    async def _start(self) -> asyncio.subprocess.Process | None:
        async with self._changing:
            if self.stopping:
                return None
            # A session of its own: Ctrl+C in the terminal reaches `dev` alone, which stops the children in order.
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-S",
                _LAUNCHER,
                str(os.getpid()),
                *self.command,
                env=dict(self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.keeps_open,
            )
            return self.process

    async def keep_running(self, logs: Logs, changed: Callable[[], None]) -> None:
        """Run it until `stop`; *changed* is called when its pid is another. Raises `CommandError` when it refuses."""
        while (process := await self._start()) is not None:
            changed()
            assert process.stdout is not None
            lines = asyncio.create_task(logs.follow(self.name, process.stdout))
            code = await process.wait()
            # Its own children may hold the pipe a little longer (or, stopped, for ever).
            await asyncio.wait([lines], timeout=_LAST_WORDS_S)
            lines.cancel()
            self.died.set()
            if self.stopping:
                return
            if code == Exit.USAGE:
                raise CommandError(f"{self.name} refused to start (its last lines above say why)")
            logs.line(self.name, f"{'died' if code else 'ended'} ({_cause(code)}); starting it again")
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after ``stop_within_s``. Answers when it is gone."""
        async with self._changing:
            self.stopping = True
        if self.process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.stop_within_s):
                await self.process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
