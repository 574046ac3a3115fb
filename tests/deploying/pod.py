"""One pod of a rendered manifest as processes of this machine: started, probed, restarted, ended within its grace period.

Called by `kubelet`. What is around the process is the `sandbox`'s.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes import Probe
from sandbox import Sandbox, World


@dataclass(frozen=True)
class Pace:
    """How tests get along: probes come ``hurry`` times as often, and have at most ``probe_timeout_s``. The patience with a
    start stays what it is, in seconds."""

    hurry: float = 10.0
    probe_timeout_s: float = 60.0


@dataclass(frozen=True)
class Ended:
    """How a deleted pod went: by itself after SIGTERM, with a code, or by SIGKILL when its grace period was over."""

    code: int
    killed: bool
    seconds: float


class Pod:
    def __init__(
        self, world: World, pace: Pace, name: str, ip: str, template: dict[str, Any], claims: dict[str, Path]
    ) -> None:
        self.name = name
        self.ip = ip
        self.labels: dict[str, str] = template["metadata"]["labels"]
        self.ready = False
        self.restarts = 0
        self.failed_probes: list[str] = []
        self.log = world.folder / f"{name}.log"
        self.sandbox = Sandbox(world, name, ip, template, claims)
        self._pace = pace
        self._image = world.image
        self._spec = template["spec"]
        (self._container,) = self._spec["containers"]
        self._process: subprocess.Popen[bytes] | None = None
        self._deleted = asyncio.Event()
        self._life = asyncio.create_task(self._live())

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self._container["ports"]}

    # --- its life -------------------------------------------------------------------------------------------------
    async def _live(self) -> None:
        while not self._deleted.is_set():
            process = self._process = self._start()
            watching = asyncio.create_task(self._watch(process))
            await asyncio.to_thread(process.wait)
            watching.cancel()
            await asyncio.wait([watching])
            self.ready = False
            if not self._deleted.is_set():
                self.restarts += 1
                await asyncio.sleep(0.1 * 2**self.restarts)  # as the kubelet backs off

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.sandbox.words([*self._container["command"], *self._container.get("args", [])]),
                cwd=self._image,
                env=self.sandbox.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Startup first, then liveness and readiness side by side; a container that fails the former is ended."""
        if not await self._keeps("startupProbe", until_passed=True):
            return self._kill(process)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._readiness())
            if not await self._keeps("livenessProbe", until_passed=False):
                self._kill(process)

    async def _keeps(self, kind: str, *, until_passed: bool) -> bool:
        probe, failed = self._probe(kind), 0
        most = probe.failures * (self._pace.hurry if until_passed else 1)
        while failed < most:
            if await self._passes(probe):
                failed = 0
                if until_passed:
                    return True
            else:
                failed += 1
            await asyncio.sleep(probe.period_s / self._pace.hurry)
        self.failed_probes.append(kind)
        return False

    async def _readiness(self) -> None:
        probe, failed = self._probe("readinessProbe"), 0
        while True:
            failed = 0 if await self._passes(probe) else failed + 1
            if failed == 0 and not self._deleted.is_set():
                self.ready = True
            elif failed >= probe.failures:
                self.ready = False
            await asyncio.sleep(probe.period_s / self._pace.hurry)

    def _probe(self, kind: str) -> Probe:
        return Probe(self._container[kind], self.ports)

    async def _passes(self, probe: Probe) -> bool:
        return await probe.passes(self.ip, self.sandbox.environment, self.sandbox.words, self._pace.probe_timeout_s)

    async def execute(self, *command: str) -> str:
        """`kubectl exec`: what it prints. A code other than 0 is an error."""
        process = await asyncio.to_thread(
            subprocess.run,
            self.sandbox.words(list(command)),
            cwd=self._image,
            env=self.sandbox.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert process.returncode == 0, f"{command}: {process.stdout}{process.stderr}"
        return process.stdout

    def events(self, event: str) -> list[dict[str, Any]]:
        """What it has logged of that kind."""
        told = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [each for each in told if each["event"] == event]

    # --- its end --------------------------------------------------------------------------------------------------
    @property
    def grace_s(self) -> float:
        return float(self._spec["terminationGracePeriodSeconds"])

    async def delete(self, grace_s: float | None = None) -> Ended:
        """SIGTERM; after the grace period SIGKILL, to everything in it."""
        begun = asyncio.get_running_loop().time()
        self._deleted.set()
        self.ready = False
        process = self._process
        assert process is not None
        killed = False
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.grace_s if grace_s is None else grace_s):
                await asyncio.shield(self._life)
        except TimeoutError:
            killed = True
            self._kill(process)
            await self._life
        return Ended(process.wait(), killed, asyncio.get_running_loop().time() - begun)

    async def vanish(self) -> None:
        """Its node loses power."""
        self._deleted.set()
        if self._process is not None:
            self._kill(self._process)
        await self._life

    def pause(self) -> None:
        """All of it stops, as when its node hangs."""
        assert self._process is not None
        for pid in [self._process.pid, *descendants(self._process.pid)]:
            signal_to(pid, signal.SIGSTOP)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """The end of a container's first process is the end of all."""
        for pid in [*descendants(process.pid), process.pid]:
            signal_to(pid, signal.SIGKILL)


def signal_to(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:  # it has just ended
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found
