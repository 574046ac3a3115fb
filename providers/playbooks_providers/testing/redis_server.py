"""A real Redis or Valkey server for one test or one session: free port, own folder, gone at the end.

Without a server on PATH a laptop skips, with a line that says so; where CI is set, it is a failure.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn

from playbooks_providers.testing.waiting import eventually_blocking

START_S = 30.0


class RedisServer:
    """A server process that can be stopped, killed and started again on the same port and folder."""

    def __init__(self, binary: str, folder: Path, options: tuple[str, ...]) -> None:
        self._binary = binary
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start (again), and return when it answers."""
        command = [
            self._binary,
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)),
            *("--save", "", "--daemonize", "no", "--logfile", str(self._folder / "server.log")),
            *self._options,
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_the_test)
        eventually_blocking(self._answers, START_S, f"{self._binary} on port {self.port} to answer")

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def unpause(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def command(self, *words: str) -> bytes:
        """The raw first bytes of the answer to one command, without a client library."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            parts = [f"*{len(words)}\r\n".encode()]
            parts += [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words]
            connection.sendall(b"".join(parts))
            return connection.recv(65_536)

    def _answers(self) -> bool:
        process = self._process
        if process is not None and process.poll() is not None:
            log = self._folder / "server.log"
            tail = log.read_text()[-2000:] if log.exists() else ""
            raise AssertionError(f"{self._binary} ended with {process.returncode}: {tail}")
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        if how is not signal.SIGKILL:
            process.send_signal(signal.SIGCONT)  # a paused server would not hear it
        try:
            process.wait(timeout=START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis_server(*options: str, knows: str = "") -> Iterator[RedisServer]:
    """A running server. *options* are its own, say ``"--appendonly", "yes"``. Skips or fails where there is none, or none
    that *knows* a command which some versions lack."""
    binaries = [one for one in map(shutil.which, ("redis-server", "valkey-server")) if one is not None]
    if not binaries:
        _missing("no redis-server or valkey-server on PATH: install one (Debian: apt-get install redis-server)")
    binary = binaries[0] if not knows else next((one for one in binaries if _knows(one, knows)), None)
    if binary is None:
        _missing(f"no server on PATH knows {knows}: install a newer one beside it (valkey-server 8 will do)")
    # a killed server's saving child may still write there for a moment
    with tempfile.TemporaryDirectory(prefix="playbooks-redis-", ignore_cleanup_errors=True) as folder:
        server = RedisServer(binary, Path(folder), options)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@cache
def _knows(binary: str, command: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="playbooks-redis-", ignore_cleanup_errors=True) as folder:
        server = RedisServer(binary, Path(folder), ())
        try:
            server.start()
            return not server.command("COMMAND", "INFO", command).startswith((b"*1\r\n*-1", b"*1\r\n$-1"))
        finally:
            server.kill()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _missing(line: str) -> NoReturn:
    import pytest

    if os.environ.get("CI"):
        pytest.fail(line)
    pytest.skip(line)


def _die_with_the_test() -> None:
    """So that a test run that is killed leaves no server behind (prctl's PR_SET_PDEATHSIG is 1)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
