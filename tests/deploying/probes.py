"""Asks a pod what the kubelet would ask it: httpGet, tcpSocket and exec, with the numbers that the manifest gives."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Probe:
    """One probe of a container, with Kubernetes' defaults for what is not said."""

    said: dict[str, Any]
    ports: dict[str, int]

    @property
    def period_s(self) -> float:
        return float(self.said.get("periodSeconds", 10))

    @property
    def timeout_s(self) -> float:
        return float(self.said.get("timeoutSeconds", 1))

    @property
    def failures(self) -> int:
        return int(self.said.get("failureThreshold", 3))

    async def passes(
        self, ip: str, environment: dict[str, str], words: Callable[[list[str]], list[str]], most_s: float
    ) -> bool:
        """Asked once, within its timeout or *most_s*. *words* turns an exec probe's command into one of this machine."""
        try:
            async with asyncio.timeout(min(self.timeout_s, most_s)):
                if "httpGet" in self.said:
                    return await self._http(ip)
                if "tcpSocket" in self.said:
                    _, writer = await asyncio.open_connection(ip, self._port(self.said["tcpSocket"]["port"]))
                    writer.close()
                    return True
                return await asyncio.to_thread(self._exec, words(self.said["exec"]["command"]), environment)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            return False

    async def _http(self, ip: str) -> bool:
        get = self.said["httpGet"]
        reader, writer = await asyncio.open_connection(ip, self._port(get["port"]))
        try:
            writer.write(f"GET {get['path']} HTTP/1.1\r\nHost: {ip}\r\nConnection: close\r\n\r\n".encode())
            status = (await reader.readline()).split()
            return len(status) > 1 and 200 <= int(status[1]) < 400
        finally:
            writer.close()

    def _exec(self, command: list[str], environment: dict[str, str]) -> bool:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=self.timeout_s, check=False)
        return done.returncode == 0

    def _port(self, port: int | str) -> int:
        return self.ports[port] if isinstance(port, str) else port
