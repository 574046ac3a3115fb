"""Tells systemd how a daemon is: started, well, not ready and why, stopping. Words in a datagram, as in sd_notify(3).

Called by the two daemons at each beat of their loop, so that a loop that stalls tells nothing, and the unit's `WatchdogSec`
ends it. Without `NOTIFY_SOCKET` in the environment (no systemd, or `Type=exec`) it is silent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

import structlog

BEATS_PER_WATCHDOG = 4

_log = structlog.get_logger()


class Notifier:
    """``started`` says whether the daemon has come up (only then `READY=1` is told), ``unready`` why it cannot work now,
    ``ending`` whether it is about to end. Takes its variables out of *environ*: they are not meant for our children."""

    def __init__(
        self,
        environ: MutableMapping[str, str],
        *,
        started: Callable[[], bool],
        unready: Callable[[], str],
        ending: Callable[[], bool],
    ) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        watchdog_us, watched = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = watchdog_us.isdigit() and watched in ("", str(os.getpid()))
        self._watchdog_s = int(watchdog_us) / 1e6 / BEATS_PER_WATCHDOG if ours else None
        self._started = started
        self._unready = unready
        self._ending = ending
        self._told: set[str] = set()
        self._status = ""
        self._watched_s = float("-inf")

    def tell(self) -> None:
        """What has changed, and that the loop turns. What systemd has not taken is told again."""
        if not self._address:
            return
        once = []
        if self._started() and "READY=1" not in self._told:
            once.append("READY=1")
        if self._ending() and "STOPPING=1" not in self._told:
            once.append("STOPPING=1")
        said = once.copy()
        status = self._unready() or "ready"
        kind = status.partition(" for ")[0]  # how long it has been so is no news
        if kind != self._status:
            said.append(f"STATUS={status}")
        now_s = time.monotonic()
        turns = self._watchdog_s is not None and now_s - self._watched_s >= self._watchdog_s
        if turns:
            said.append("WATCHDOG=1")
        if said and self._sent("\n".join(said)):
            self._told.update(once)
            self._status = kind
            self._watched_s = now_s if turns else self._watched_s

    def _sent(self, text: str) -> bool:
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to_systemd:
                to_systemd.setblocking(False)  # never hold the loop up
                to_systemd.connect(address)
                to_systemd.send(text.encode())
        except OSError as error:
            if "unheard" not in self._told:
                self._told.add("unheard")
                _log.warning("systemd not told", reason=str(error), socket=self._address)
            return False
        return True
