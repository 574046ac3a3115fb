"""What an agent tells people, on its way: gathered beside the agent, sent in batches and in order; and read again.

The body of an event is JSON: ``key`` of the effect that told it, ``attempt`` of its step, ``time_ms``, ``event``. It is
signed by nobody and decides nothing; encrypted where the host encrypts (envelope/cipher.py). `Emitter` is the writing
half, one for each life; `Reading` says which events stand.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from playbooks_providers.contracts import Events
from playbooks_providers.envelope import Sealer
from playbooks_providers.envelope import opened as decrypted
from playbooks_providers.events import Event, EventPlace
from playbooks_providers.ids import AgentId
from playbooks_providers.model import Gone, Lock
from playbooks_worker.host.patience import patiently

_GATHER_S = 0.05
_AT_ONCE = 200  # events in one call
_ENCRYPTED = b"\1"  # before what the cipher gives; JSON begins with a brace


class Emitter:
    """``emit`` from any thread, whenever; ``flush`` before the lock is given up. ``begin`` does work beside the agent.

    What the store cannot take in time is bounded as the stream is: the oldest go."""

    def __init__(
        self,
        lock: Lock,
        home: Events,
        begin: Callable[[Coroutine[Any, Any, None]], object],
        *,
        now_ms: Callable[[], int],
        keep: int,
        sealer: Sealer,
    ) -> None:
        self._lock = lock
        self._home = home
        self._begin = begin
        self._now_ms = now_ms
        self._keep = keep
        self._cipher = sealer.cipher
        self._waiting: deque[bytes] = deque(maxlen=keep)
        self._number = 0
        self._sending = asyncio.Lock()
        self._asked = False  # somebody will send what waits

    def emit(self, loop: asyncio.AbstractEventLoop, key: str, attempt: int, event: Any) -> None:
        body = {"key": key, "attempt": attempt, "time_ms": self._now_ms(), "event": event}
        self._waiting.append(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
        if not self._asked:
            self._asked = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: its thread has outlived it
                loop.call_soon_threadsafe(lambda: self._begin(self._soon()))

    async def _soon(self) -> None:
        await asyncio.sleep(_GATHER_S)
        self._asked = False
        await self.flush()

    async def flush(self) -> None:
        """Everything that was told is in the stream, or can never be."""
        async with self._sending:
            while self._waiting:
                batch: list[Event] = []
                while self._waiting and len(batch) < _AT_ONCE:
                    self._number += 1
                    batch.append(self._event(EventPlace(self._lock.fence, self._number), self._waiting.popleft()))
                if await self._refused(batch):
                    self._waiting.clear()

    def _event(self, place: EventPlace, body: bytes) -> Event:
        if self._cipher is not None:
            agent = self._lock.agent
            body = _ENCRYPTED + self._cipher.seal(_context(agent, place), _place(place), body)
        return Event(place, body)

    async def _refused(self, batch: list[Event]) -> bool:
        answer = await patiently(lambda: self._home.emit(self._lock, batch, keep=self._keep), "tell people of an agent")
        return isinstance(answer, Gone)


# --- reading ---------------------------------------------------------------------------------------------------------
class Told(NamedTuple):
    """One event, as it was told. ``replaces``: what the same effect told before, in an earlier attempt, does not stand."""

    place: EventPlace
    key: str
    attempt: int
    time_ms: int
    event: Any
    replaces: bool = False


@dataclass(slots=True)
class Reading:
    """Which events stand. An effect that came again, under a later fence or in a later attempt, replaces what it told
    before: events of the earlier attempt are dropped, and the first of the later one says so."""

    agent: AgentId
    sealer: Sealer | None = None
    _latest: dict[str, tuple[int, int]] = field(default_factory=dict)

    def read(self, events: Iterable[Event]) -> list[Told]:
        """Those of *events*, which follow those that were read before, that stand. Raises `Unreadable`."""
        found = [told for event in events if (told := opened(event, self.agent, self.sealer)) is not None]
        before = dict(self._latest)
        for told in found:
            self._latest[told.key] = max(self._latest.get(told.key, (0, 0)), _attempt(told))
        standing: list[Told] = []
        for told in found:
            if _attempt(told) < self._latest[told.key]:
                continue
            replaces = told.key in before and before[told.key] < _attempt(told)
            before[told.key] = _attempt(told)
            standing.append(told._replace(replaces=replaces))
        return standing


def _attempt(told: Told) -> tuple[int, int]:
    return told.place.fence, told.attempt


def opened(event: Event, agent: AgentId, sealer: Sealer | None = None) -> Told | None:
    """None for what no host has written. Raises `Unreadable` where its key is not."""
    body = event.body
    if body[:1] == _ENCRYPTED:
        cipher = None if sealer is None else sealer.cipher
        body = decrypted(cipher, _context(agent, event.place), _place(event.place), body[1:])
    try:
        said = json.loads(body)
        return Told(event.place, str(said["key"]), int(said["attempt"]), int(said["time_ms"]), said["event"])
    except (ValueError, LookupError, TypeError):
        return None


def _context(agent: AgentId, place: EventPlace) -> str:
    return f"events {agent} {place.fence}"


def _place(place: EventPlace) -> str:
    return f"event {place.fence}-{place.number}"
