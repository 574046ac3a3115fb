"""One run of `playbooksctl dev`: starts server, coordinator and workers, watches them, and stops them in order.

Workers stop first (they hand their agents over), then the coordinator, then the server that all of them write to. Called
by `dev`; it knows nothing of programs and agents beyond asking when the workers are ready.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from playbooks_worker.cli.connect import redis_home
from playbooks_worker.cli.dev_folder import DevFolder
from playbooks_worker.cli.dev_logs import Logs
from playbooks_worker.cli.dev_processes import Child
from playbooks_worker.cli.dev_server import find_server, free_port, server_command, wait_for_server
from playbooks_worker.cli.output import CommandError, Exit, Output

_SERVER_START_S = 60.0  # it loads its data first
_READY_POLL_S = 0.1
_LAST_WORDS_S = 1.0
_PYTHON = (sys.executable, "-P", "-m")  # -P: a file of the user's in this folder must not stand for one of ours

_FOR_PEOPLE = ("--log-format", "console")  # their logs come through a pipe, and go to a person


class DevRun:
    def __init__(self, out: Output, folder: DevFolder, key_file: Path | None, environment: dict[str, str]) -> None:
        self._out = out
        self._folder = folder
        self._key_file = key_file
        self._environment = environment
        self._url = ""
        self._server: Child | None = None
        self._coordinator: Child | None = None
        self._workers: list[Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: asyncio.Task[None] | None = None
        self._stop_asked = asyncio.Event()
        self._signals: list[signal.Signals] = []
        self._logs = Logs(["dev"])

    async def until_stopped(self, programs: Sequence[str], workers: int, redis_url: str | None) -> Exit:
        """Start everything, run until a signal, stop everything. Raises `CommandError` when a part cannot run."""
        names = [f"worker-{number}" for number in range(1, workers + 1)]
        own = [] if redis_url else ["redis"]
        self._logs = Logs(["dev", *own, "coordinator", *names], sys.stderr if self._out.as_json else sys.stdout)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled, number)
        try:
            self._url = redis_url or await self._start_server()
            self._environment["PLAYBOOKS_REDIS__URL"] = self._url
            if not self._stop_asked.is_set():
                self._start_daemons(programs, names)
                self._ready = asyncio.create_task(self._tell_when_ready(workers))
            await self._until_signal_or_failure()
        finally:
            await self._stop()
        return Exit.INTERRUPTED if self._signals[:1] == [signal.SIGINT] else Exit.COMPLETED

    # --- starting ------------------------------------------------------------------------------------------------
    async def _start_server(self) -> str:
        binary, port = find_server(), free_port()
        url = f"redis://127.0.0.1:{port}/0"
        command = server_command(binary, port, self._folder.data)
        self._url = url
        self._server = Child("redis", command, self._environment, 10.0, keeps_open=(self._folder.lock_fd,))
        self._keep(self._server)
        answered = asyncio.create_task(wait_for_server(port, timeout_s=_SERVER_START_S))
        stopped = asyncio.create_task(self._stop_asked.wait())
        died = asyncio.create_task(self._server.died.wait())
        try:
            await asyncio.wait([answered, stopped, died], return_when=asyncio.FIRST_COMPLETED)
            if not stopped.done() and (died.done() or not answered.result()):
                raise CommandError(
                    f"the server {binary} did not start (its lines above say why)",
                    Exit.SET_ASIDE,
                    hint=f"If its data are damaged or of a newer server, move {self._folder.data} away.",
                )
        finally:
            for task in (answered, stopped, died):
                task.cancel()
        return url

    def _start_daemons(self, programs: Sequence[str], names: Sequence[str]) -> None:
        drain_s = float(self._environment["PLAYBOOKS_WORKER__DRAIN_TIMEOUT_S"])
        self._coordinator = Child(
            "coordinator",
            [*_PYTHON, "playbooks_coordinator.daemon", *_FOR_PEOPLE],
            self._environment,
            stop_within_s=5.0,
        )
        self._workers = [
            Child(
                name,
                [*_PYTHON, "playbooks_worker.daemon", *programs, "--name", name, *_FOR_PEOPLE],
                self._environment,
                stop_within_s=drain_s + 5.0,
            )
            for name in names
        ]
        for child in (self._coordinator, *self._workers):
            self._keep(child)

    def _keep(self, child: Child) -> None:
        self._tasks.append(asyncio.create_task(child.keep_running(self._logs, self._tell_where)))

    def _tell_where(self) -> None:
        children = [child for child in (self._server, self._coordinator, *self._workers) if child is not None]
        processes = {child.name: child.pid for child in children if child.pid is not None}
        self._folder.write(self._url, self._key_file, processes)

    async def _tell_when_ready(self, workers: int) -> None:
        from playbooks_providers.errors import Unreachable

        programs: set[str] = set()
        while not programs:
            try:
                async with redis_home(self._url) as home:
                    while len(await home.coordination.sessions()) < workers or not programs:
                        await asyncio.sleep(_READY_POLL_S)
                        programs = {info.program for info in await home.coordination.programs()}
            except Unreachable:  # a server of the user's own may come up later; the daemons wait too
                await asyncio.sleep(_READY_POLL_S)
        hosted = ", ".join(sorted(programs))
        data = "" if self._server is None else f" (data in {_short(self._folder.data)})"
        for line in (
            f"Redis is {self._url}{data}",
            f"ready: {workers} worker{'s' if workers > 1 else ''} for {hosted}",
            f"submit an agent: playbooksctl submit {min(programs)}",
            "Ctrl+C stops everything",
        ):
            self._logs.line("dev", line)
        if self._out.as_json:
            self._out.json({**self._folder.read(), "programs": sorted(programs)})

    # --- running and stopping ------------------------------------------------------------------------------------
    def _signalled(self, number: signal.Signals) -> None:
        self._signals.append(number)
        if len(self._signals) == 1:
            self._stop_asked.set()
            return
        # Asked again: workers stop at once, what they had in flight repeats; the third time they are killed.
        for worker in self._workers:
            worker.signal(signal.SIGTERM if len(self._signals) == 2 else signal.SIGKILL)

    async def _until_signal_or_failure(self) -> None:
        stopped = asyncio.create_task(self._stop_asked.wait())
        waiting: set[asyncio.Task[object]] = {stopped, *self._tasks}
        if self._ready is not None:
            waiting.add(self._ready)
        while not stopped.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a part that refuses to run ends everything
        stopped.cancel()

    async def _stop(self) -> None:
        if self._ready is not None:
            self._ready.cancel()
        if self._workers and any(worker.pid for worker in self._workers):
            self._logs.line("dev", "stopping: workers, then coordinator, then server")
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        for child in (self._coordinator, self._server):
            if child is not None:
                await child.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_WORDS_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
