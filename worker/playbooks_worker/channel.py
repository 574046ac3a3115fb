"""What a supervisor and its executor say to each other: JSON lines over one socket pair.

The socket is also how each learns that the other is gone. Orders carry secrets (keys), which is why they do
not travel in arguments or the environment; nothing here is ever logged. Instants are `time.monotonic()` seconds, which all
processes of a host share.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from playbooks_providers.ids import SessionId
from playbooks_providers.logs import LogFormat
from playbooks_providers.metrics.instruments import Report
from playbooks_providers.model import ProgramInfo
from playbooks_providers.settings import WaitKind

_LINE_LIMIT = 16 * 1024 * 1024  # signatures of large programs; asyncio's default is 64 KB


# --- to the executor ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Orders:
    """The first message: everything an executor is told. ``queues`` empty: the names of its programs."""

    worker: str
    programs: list[str]
    queues: list[str]
    concurrency: int
    limits: dict[str, int]
    redis_url: str = field(repr=False)
    redis_prefix: str
    signing_key: str = field(repr=False)
    encryption_keys: list[str] = field(repr=False)
    wait: WaitKind
    wait_replicas: int
    keep_last_n: int
    strict: bool
    retention_s: float
    drain_timeout_s: float
    log_format: LogFormat
    max_bytes: int
    park_after_s: float
    inbox_limit: int
    keep_events: int
    keep_when_parked: bool
    otel: bool


@dataclass(frozen=True, slots=True)
class Serve:
    """Hold agents in this session, which was renewed at *sent_at* and stays so for *timeout_s*."""

    session: SessionId
    sent_at: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Renewed:
    """A heartbeat whose request was sent at *sent_at* was accepted."""

    session: SessionId
    sent_at: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The session is over: drop its agents."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more; hand each agent over at its next checkpoint, at the latest after *within_s*."""

    within_s: float


# --- to the supervisor ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Ready:
    """The programs are loaded. Each a `ProgramInfo` as a mapping."""

    programs: list[dict[str, Any]]

    def infos(self) -> list[ProgramInfo]:
        return [
            ProgramInfo(
                told["program"],
                told["queue"],
                told["build"],
                {name: [(n, k, d) for n, k, d in table] for name, table in told["signatures"].items()},
            )
            for told in self.programs
        ]


@dataclass(frozen=True, slots=True)
class Broken:
    """A program cannot be hosted: one line for a person. The executor ends."""

    why: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The event loop turns; and what was counted since this was last said."""

    counted: Report


@dataclass(frozen=True, slots=True)
class Dropped:
    """No agent of that session runs here any more."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is held any more; the process is about to end. What was counted since the last `Alive`."""

    counted: Report


Message = Orders | Serve | Renewed | Refused | Drain | Ready | Broken | Alive | Dropped | Drained
_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (Orders, Serve, Renewed, Refused, Drain, Ready, Broken, Alive, Dropped, Drained)
}


def encode(message: Message) -> bytes:
    return json.dumps([type(message).__name__, asdict(message)], separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    name, fields = json.loads(line)
    return _KINDS[name](**fields)


class Channel:
    """One end. `say` never blocks and never fails: the other's death is learnt by reading, or from the kernel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Channel:
        return cls(*await asyncio.open_connection(sock=sock, limit=_LINE_LIMIT))

    def say(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def flush(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError:
            pass  # the other end is gone: its reader, or the kernel, says so

    async def heard(self) -> AsyncIterator[Message]:
        """Each message, until the other end is closed."""
        while True:
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return
            if not line.endswith(b"\n"):
                return
            yield decode(line)

    def close(self) -> None:
        self._writer.close()
