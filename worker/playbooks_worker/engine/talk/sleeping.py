"""`sleep` and `sleep_until`: the time at which they end is in the checkpoint, so a resume sleeps what is left."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.talk.waiting import Wait, begin

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Frame


class Sleep(Wait):
    """``seconds`` from when it begins, unless ``until_s`` (Unix time) is known."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float, until_s: float | None = None) -> None:
        super().__init__(until_s)
        self.seconds = seconds

    def __reduce__(self) -> Any:
        return Sleep, (self.seconds, self.until_s)

    async def once(self, frame: Frame) -> None:
        agent = frame.agent
        if self.until_s is None:
            await self.starts(agent, self.seconds)
        assert self.until_s is not None
        while agent.world.now() < self.until_s:
            await self.waits(agent)
        self.result = (True, None)

    def named(self) -> str:
        return "sleep"

    def told(self) -> str:
        return "sleep" if self.until_s is None else f"sleep until {clock(self.until_s)}"

    def arguments(self) -> dict[str, Any]:
        return {"seconds": self.seconds}


async def _asleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


def clock(at_s: float) -> str:
    """For people: a Unix time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def now() -> datetime:
    """The time, in UTC. (Nothing is replayed here, so a program may ask any clock that it likes.)"""
    return datetime.now(UTC)


def sleep(seconds: float | timedelta) -> Any:
    """Sleep. In an agent durably: when the process dies, what is left of it is slept elsewhere, and an agent that only
    sleeps is parked. Outside an agent it is `asyncio.sleep`."""
    length_s = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
    if length_s != length_s:
        raise ValueError("sleep: seconds is not a number (NaN)")
    return begin(lambda: Sleep(length_s), lambda: _asleep(length_s))


def sleep_until(time: datetime) -> Any:
    """Sleep until *time*, which has a time zone; at once when it is over. Raises ValueError for a naive one."""
    if time.tzinfo is None:
        raise ValueError("sleep_until: a time without a time zone could mean any; give one, e.g. datetime.now(UTC)")
    until_s = time.timestamp()
    left_s = until_s - datetime.now(UTC).timestamp()
    return begin(lambda: Sleep(0.0, until_s), lambda: _asleep(max(0.0, left_s)))
