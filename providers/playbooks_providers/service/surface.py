"""The HTTP surface of a daemon: one socket, and a server in a thread of its own that outlives a stall of the daemon's loop.

The socket is opened before the daemon starts, so that a port in use is an error of one line. What serves it (starlette,
uvicorn, prometheus-client: the extra `[http]`) is imported in that thread alone, so that a daemon starts no later for it.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from typing import Any

import structlog

from playbooks_providers.errors import ConfigError
from playbooks_providers.metrics.instruments import Daemon
from playbooks_providers.service.probes import Probes
from playbooks_providers.settings import HttpAddress

PACKAGES = ("starlette", "uvicorn", "prometheus_client")
INSTALL = "pip install 'playbooks-enterprise[http]'"
_END_WITHIN_S = 2.0
_BACKLOG = 128

_log = structlog.get_logger()


class Surface:
    """Call `serve` once, and `close` when the daemon ends. ``sock`` None: there is nothing to serve."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def serve(self, probes: Probes, daemon: Daemon) -> None:
        if self._sock is None:
            return
        host, port = self._sock.getsockname()[:2]
        _log.info("http serving", address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._thread = threading.Thread(target=self._run, args=(probes, daemon), name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_END_WITHIN_S)
        if self._sock is not None:
            self._sock.close()

    def _run(self, probes: Probes, daemon: Daemon) -> None:
        try:
            from playbooks_providers.service.pages import server_of

            self._server = server_of(probes, daemon)
            if not self._closing:
                self._server.run(sockets=[self._sock])
        except Exception as error:
            _log.exception("http ended by an error", reason=str(error))


def open_surface(address: HttpAddress | None, *, asked_for: bool, option: str) -> Surface:
    """The socket at *address* (None: no surface). Raises `ConfigError`, if a person has *asked_for* this address; the
    default one is given up with a line in the log (the extra is not installed, or another daemon of this host has it).
    """
    if address is None:
        return Surface(None)
    try:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(f"{option} {address} needs {', '.join(missing)}: {INSTALL}")
        return Surface(_bound(address, option))
    except ConfigError as error:
        if asked_for:
            raise
        _log.info("http off", reason=str(error))
        return Surface(None)


def _bound(address: HttpAddress, option: str) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(where)
            sock.listen(_BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        why = (
            os.strerror(error.errno) if error.errno and not isinstance(error, socket.gaierror) else str(error.strerror)
        )
        raise ConfigError(
            f"{option} {address}: {why.lower()}; give it another HOST:PORT (PORT 0: any that is free), or off"
        ) from error
    return sock
