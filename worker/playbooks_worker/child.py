"""An executor as its supervisor's kernel sees it: a process in a group of its own that runs, is stopped, or has ended.

Death is learnt from the kernel (a pidfd, or a thread in waitpid), never from a closed pipe: a child of the executor may
hold the pipe open, and a pipe says nothing about whether the process is gone. Knows no session and no store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from playbooks_worker.channel import Channel


class Child:
    """Make with `spawn`, from the main thread: the kernel ties PDEATHSIG to the thread that spawned."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self.pid = process.pid
        self.channel = channel
        self._process = process
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watch()

    @classmethod
    async def spawn(cls, module: str) -> Child:
        """Exec ``python -m module FD PPID``: its end of the channel, and the parent it has to have."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = _execute(module, theirs.fileno())
        return cls(process, await Channel.over(ours))

    async def ended(self) -> None:
        """Returns when the process has ended; then call `reap`."""
        await asyncio.shield(self._ended)

    @property
    def has_ended(self) -> bool:
        return self._ended.done()

    def is_stopped(self) -> bool:
        """True when it is stopped by a signal or a tracer, as far as this platform says."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in "Tt"  # the name before it may hold spaces and brackets

    def kill(self) -> None:
        """SIGKILL to it and to all that it started in its group. Not after `reap`: the id may be anybody else's."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Its exit code, negative for a signal, once it has `ended`."""
        return self._process.wait()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            fd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or older than 5.3
            threading.Thread(target=self._wait_in_thread, args=(loop,), daemon=True).start()
            return

        def gone() -> None:
            loop.remove_reader(fd)
            os.close(fd)
            self._say_ended()

        loop.add_reader(fd, gone)

    def _wait_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # leaves it for `reap`
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._say_ended)

    def _say_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def _execute(module: str, fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(fd), str(os.getpid())],
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
