"""What a write has to reach before it counts (`durability.wait`, DESIGN 4.5): enough replicas, or the disk.

A value that the wiring makes, and the two commands that it stands for. Used by writer.py, which says them behind what it
sends, and by advice.py, which asks at the start whether the server can do it. Redis numbers nothing: WAIT and WAITAOF speak
of all that their own connection has written before, so whoever relies on them must have written on it (touch.lua).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from playbooks_providers.redis.link import pack


@dataclass(frozen=True, slots=True)
class Wait:
    """``replicas``: that have it in memory (for "replica")."""

    kind: Literal["replica", "disk"]
    replicas: int = 1

    @property
    def longest_s(self) -> float:
        """After so long without enough answers people are told, and the question is asked again. The disk of an AOF that is
        synced every second needs two of them now and then."""
        return 1.0 if self.kind == "replica" else 4.0

    def packed(self, within_s: float) -> bytes:
        within_ms = max(1, round(within_s * 1000))  # 0 means forever
        if self.kind == "replica":
            return pack("WAIT", self.replicas, within_ms)
        return pack("WAITAOF", 1, 0, within_ms)

    def missing(self, reply: Any) -> str:
        """What an answer lacks, for people; empty when everything before it is durable."""
        if self.kind == "disk":
            return "" if reply[0] >= 1 else "the append-only file was not synced to disk in time"
        if reply >= self.replicas:
            return ""
        return f"{reply} of {self.replicas} replicas have it"


def wait_for(kind: Literal["none", "replica", "disk"], replicas: int = 1) -> Wait | None:
    """What the settings of that name mean."""
    return None if kind == "none" else Wait(kind, replicas)
