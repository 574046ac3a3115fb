"""kill -9 of real processes: how long until the agent's next step runs in another one.

From the instant before the signal to the instant at which the next effect begins elsewhere, both by the clock that all
processes of a host share.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import relay
from benchmarks.figures import Figure
from playbooks_providers.ids import new_agent_id
from playbooks_providers.model import FINAL, Created, SessionInfo, StartRecord
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.testing import eventually, redis_server

PROGRAM = relay.__file__
NAME = "relay"
STEPS_BEFORE = 20  # that the agent has made where it is, before it is killed there
_PATIENCE_S = 60.0


class Worker:
    """A `playbooks-worker` process and its executors."""

    def __init__(self, url: str, folder: Path, *options: str, **settings: str) -> None:
        self._command = [sys.executable, "-m", "playbooks_worker.daemon", *options, PROGRAM]
        self._environment = os.environ | settings | {"PLAYBOOKS_REDIS__URL": url}
        self._folder = folder
        self.start()

    def start(self) -> None:
        self.process = _spawn(self._command, self._folder, self._environment)

    def kill(self, executors: list[int]) -> None:
        """The supervisor and its executors at the same instant, as when a host is gone."""
        for pid in (self.process.pid, *executors):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Scene:
    """A server with one agent that runs for as long as it is looked at."""

    def __init__(self, url: str, home: RedisHome, folder: Path) -> None:
        self.url = url
        self.home = home
        self.folder = folder
        self.log = folder / "steps"

    async def begin(self) -> None:
        start = StartRecord(new_agent_id("bench"), NAME, "main", [str(self.log)], {}, NAME, 0)
        self.agent = start.agent
        created = await self.home.coordination.create(start)
        assert isinstance(created, Created) and created.ticket is not None
        await self.home.coordination.enqueue(created.ticket)

    async def end(self) -> None:
        Path(f"{self.log}.stop").touch()
        await eventually(self._ended, _PATIENCE_S, "the agent to end")

    async def _ended(self) -> bool:
        view = await self.home.coordination.describe(self.agent)
        return view is not None and view.status in FINAL

    async def executors(self, number: int) -> list[SessionInfo]:
        """Once exactly so many serve, each waiting at the queue for its next ticket, and for pokes."""

        async def waiting() -> bool:
            sessions = await self.home.coordination.sessions()
            told = await self.home.server.command("INFO", "clients")
            blocked = told["blocked_clients"] if isinstance(told, dict) else _field(told, b"blocked_clients")
            return len(sessions) == number and blocked == 2 * number

        await eventually(waiting, _PATIENCE_S, f"{number} executors to serve")
        found = [await self.home.coordination.session(one) for one in await self.home.coordination.sessions()]
        return [info for info in found if info is not None]

    def steps(self) -> list[tuple[int, int, int]]:
        """(when, process, number) of each."""
        if not self.log.exists():
            return []
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(int(when), int(process), int(number)) for when, process, number in lines]

    async def at_work(self) -> int:
        """The process that the agent has made its last steps in."""

        async def settled() -> int | None:
            last = [process for _, process, _ in self.steps()[-STEPS_BEFORE:]]
            return last[0] if len(last) == STEPS_BEFORE and len(set(last)) == 1 else None

        return await eventually(settled, _PATIENCE_S, "the agent to be at work") or 0

    async def gone_on(self, since_ns: int, killed: int) -> float:
        """Milliseconds from *since_ns* to the first step in another process; checks that no step was lost."""

        async def first() -> int | None:
            return next((when for when, process, _ in self.steps() if when > since_ns and process != killed), None)

        when = await eventually(first, _PATIENCE_S, "the next step elsewhere") or 0
        numbers = [number for _, _, number in self.steps()]
        assert all(later - earlier in (0, 1) for earlier, later in pairwise(numbers)), numbers
        return (when - since_ns) / 1e6


@asynccontextmanager
async def _scene(folder: Path) -> AsyncIterator[Scene]:
    with redis_server() as server:
        home = connect(server.url)
        try:
            yield Scene(server.url, home, folder)
        finally:
            await home.close()


async def kill_executors(folder: Path, times: int) -> list[Figure]:
    """A worker with two executors; the one that holds the agent dies, again and again."""
    took: list[float] = []
    async with _scene(folder) as scene:
        worker = Worker(scene.url, folder, "--processes", "2", **_SECRET)
        try:
            await scene.executors(2)
            await scene.begin()
            for _ in range(times):
                await scene.executors(2)
                victim = await scene.at_work()
                since_ns = time.monotonic_ns()
                os.kill(victim, signal.SIGKILL)
                took.append(await scene.gone_on(since_ns, victim))
            await scene.end()
        finally:
            worker.process.terminate()
            worker.process.wait()
    what = f"kill -9 of an executor → next step elsewhere, {times} times"
    return [
        Figure(f"{what}, p50", "ms", 30, took),
        Figure(f"{what}, p95", "ms", 60, took, share=0.95),
    ]


async def kill_workers(folder: Path, times: int) -> list[Figure]:
    """Two workers and a coordinator with the timings of `playbooksctl dev`; the whole worker that holds the agent dies."""
    took: list[float] = []
    async with _scene(folder) as scene:
        workers = [Worker(scene.url, folder, **_SECRET, **_DEV) for _ in range(2)]
        coordinator = _spawn(
            [sys.executable, "-m", "playbooks_coordinator.daemon"],
            folder,
            os.environ | _SECRET | _DEV | {"PLAYBOOKS_REDIS__URL": scene.url},
        )
        try:
            await scene.executors(2)
            await scene.begin()
            for _ in range(times):
                infos = await scene.executors(2)
                victim = await scene.at_work()
                host = next(info.worker for info in infos if info.pid == victim)
                worker = next(one for one in workers if host.endswith(f"-{one.process.pid}"))
                since_ns = time.monotonic_ns()
                worker.kill([victim])
                took.append(await scene.gone_on(since_ns, victim))
                worker.start()
            await scene.end()
        finally:
            for process in (coordinator, *(worker.process for worker in workers)):
                process.terminate()
                process.wait()
    return [
        Figure(f"kill -9 of a whole worker → next step elsewhere, {times} times, p95", "ms", 1300, took, share=0.95)
    ]


def _spawn(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _field(info: Any, name: bytes) -> int:
    text = info if isinstance(info, bytes) else str(info).encode()
    return int(text.partition(name + b":")[2].split(maxsplit=1)[0])


_SECRET = {"PLAYBOOKS_DURABILITY__SIGNING_KEY": "the signing key of a benchmark, of no secrecy"}
_DEV = {
    "PLAYBOOKS_WORKER__HEARTBEAT_S": "0.2",
    "PLAYBOOKS_WORKER__HTTP": "off",
    "PLAYBOOKS_COORDINATOR__HTTP": "off",
    "PLAYBOOKS_COORDINATOR__SESSION_TIMEOUT_S": "1",
}
