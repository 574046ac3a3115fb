"""Workers and coordinators as processes on a real Redis, and what they say: for tests that kill, stop and drain them."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from playbooks_providers.ids import AgentId
from playbooks_providers.model import AgentView, Created, StartRecord, Status
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.testing import eventually
from playbooks_worker.cli.main import app

SOON_S = 30.0  # generous: the machine may be busy
PROGRAM = """
import asyncio, os
from playbooks_worker import playbook

async def step(number, log, pause):
    with open(log, "a") as file:
        file.write(f"{number} {os.getpid()}\\n")
    if pause < 0:
        os._exit(9)
    await asyncio.sleep(abs(pause))
    return number

@playbook
async def main(n, log, pause=0.02):
    total = 0
    for number in range(n):
        total += await step(number, log, pause)
    return total
"""
TIMINGS = {
    "PLAYBOOKS_WORKER__HEARTBEAT_S": "0.2",
    "PLAYBOOKS_COORDINATOR__SESSION_TIMEOUT_S": "1",
    "PLAYBOOKS_COORDINATOR__TICK_S": "0.05",
    "PLAYBOOKS_DURABILITY__SIGNING_KEY": "a key for the tests of worker processes",
    "PLAYBOOKS_WORKER__HTTP": "off",
    "PLAYBOOKS_COORDINATOR__HTTP": "off",
}


class Daemon:
    """A process of ours and what it has logged."""

    def __init__(self, folder: Path, name: str, module: str, *args: str, env: dict[str, str]) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *args],
                cwd=folder,
                env=os.environ | TIMINGS | env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        said = []
        for line in self.log.read_text().splitlines():
            if line.startswith("{"):
                told = json.loads(line)
                if told["event"] == event and fields.items() <= told.items():
                    said.append(told)
        return said

    def executors(self) -> list[int]:
        """Process ids that serve, in order of their sessions; the last one is the newest."""
        return [told["executor"] for told in self.events("session registered")]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    async def get(self, path: str) -> tuple[int, str]:
        """What the daemon answers over HTTP: status and text. It was started with ``--http 127.0.0.1:0``."""
        await eventually(lambda: self.events("http serving"), SOON_S, f"{self.log.stem} to serve HTTP")
        url = f"http://{self.events('http serving')[0]['address']}{path}"

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as refused:
                return refused.code, refused.read().decode()

        return await asyncio.to_thread(ask)


class Cluster:
    """One Redis, daemons on it, and what an agent left behind."""

    def __init__(self, folder: Path, url: str, home: RedisHome) -> None:
        self.folder = folder
        self.url = url
        self.home = home
        self.daemons: list[Daemon] = []
        (folder / "count.py").write_text(PROGRAM)

    def worker(self, name: str, *args: str, program: str = "count.py", **env: str) -> Daemon:
        flags = (program, "--name", name, "--log-format", "json", "--redis-url", self.url, *args)
        return self._start(name, "playbooks_worker.daemon", flags, env)

    def coordinator(self, name: str = "coordinator", *args: str, **env: str) -> Daemon:
        flags = ("--log-format", "json", "--redis-url", self.url, *args)
        return self._start(name, "playbooks_coordinator.daemon", flags, env)

    def _start(self, name: str, module: str, flags: tuple[str, ...], env: dict[str, str]) -> Daemon:
        daemon = Daemon(self.folder, name, module, *flags, env=env)
        self.daemons.append(daemon)
        return daemon

    def close(self) -> None:
        for daemon in self.daemons:
            for pid in {daemon.pid, *daemon.executors()}:
                if is_alive(pid) and (pid == daemon.pid or parent_of(pid) == daemon.pid):
                    os.kill(pid, signal.SIGKILL)
            daemon.process.wait()

    async def two_workers(self, *args: str) -> None:
        for name in ("one", "two"):
            self.worker(name, "--processes", "2", *args)
        for daemon in self.daemons[-2:]:
            await serving(daemon, 2)

    async def only_sessions(self, count: int) -> None:
        async def left() -> bool:
            return len(await self.home.coordination.sessions()) == count

        await eventually(left, SOON_S, f"{count} sessions to be left")

    def first_and_second(self, pid: int) -> tuple[Daemon, Daemon]:
        """The worker that *pid* is an executor of, and the other one."""
        first, second = sorted(self.daemons[-2:], key=lambda daemon: pid not in daemon.executors())
        assert pid in first.executors()
        return first, second

    async def ctl(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command of `playbooksctl`."""
        run = functools.partial(CliRunner().invoke, app, [*words, "--redis-url", self.url], env=TIMINGS)
        done = await asyncio.to_thread(run)
        return done.exit_code, done.stdout, done.stderr

    # --- agents ---------------------------------------------------------------------------------------------------
    async def submit(
        self, name: str, n: int, pause: float = 0.02, program: str = "count", queue: str = "", entry: str = "main"
    ) -> AgentId:
        agent = AgentId(name)
        start = StartRecord(agent, program, entry, [n, str(self.log_of(name)), pause], {}, queue or program, 0)
        made = await self.home.coordination.create(start)
        assert isinstance(made, Created) and made.ticket is not None
        await self.home.coordination.enqueue(made.ticket)
        return agent

    def log_of(self, agent: str) -> Path:
        return self.folder / f"{agent}.effects"

    def effects(self, agent: str) -> list[tuple[int, int]]:
        """(number, process id) of each effect that has begun."""
        path = self.log_of(agent)
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(number), int(pid)) for number, pid in map(str.split, lines)]

    async def begun(self, agent: str, count: int) -> int:
        """Wait until so many effects have begun; the process id of the newest."""
        await eventually(lambda: len(self.effects(agent)) >= count, SOON_S, f"{count} effects of {agent}")
        return self.effects(agent)[-1][1]

    async def view(self, agent: str) -> AgentView:
        view = await self.home.coordination.describe(AgentId(agent))
        assert view is not None
        return view

    async def ended(self, agent: str, status: Status = Status.COMPLETED) -> AgentView:
        async def is_so() -> AgentView | None:
            view = await self.view(agent)
            return view if view.status is status else None

        return await eventually(is_so, SOON_S, f"{agent} to be {status}")

    def repeated(self, agent: str, n: int) -> list[int]:
        """Check that all effects ran, in order, and say which ran more than once."""
        numbers = [number for number, _ in self.effects(agent)]
        assert sorted(set(numbers)) == list(range(n))
        assert numbers == sorted(numbers), "an effect ran after a later one"
        return [number for number, times in Counter(numbers).items() if times > 1]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def on_redis(test: Callable[[Cluster], Awaitable[None]], folder: Path, url: str) -> None:
    async def main() -> None:
        home = connect(url)
        cluster = Cluster(folder, url, home)
        try:
            await test(cluster)
        except BaseException:
            for daemon in cluster.daemons:
                print(f"--- {daemon.log.name}\n{daemon.log.read_text()}")
            raise
        finally:
            cluster.close()
            await home.close()

    asyncio.run(main())


async def serving(daemon: Daemon, sessions: int = 1) -> None:
    await eventually(lambda: len(daemon.events("executor serving")) >= sessions, SOON_S, f"{sessions} sessions served")
