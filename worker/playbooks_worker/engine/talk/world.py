"""What an agent asks of the world around it, given by whoever runs it; and the world of an agent that runs alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from playbooks_worker.engine.errors import NoSuchAgent

if TYPE_CHECKING:
    from playbooks_worker.engine.talk.mailbox import Mailing


class World(Protocol):
    """Called from the agent's own loop, `emit` from any thread."""

    def now(self) -> float:
        """Unix time, seconds."""

    async def look_up(self, receiver: str) -> int:
        """The birth of an agent that can be sent letters. Raises `NoSuchAgent` for one that is unknown or has ended."""

    async def status(self, agent: str) -> str | None:
        """Where another agent stands, in the words of ``playbooksctl list``; None: there is none of this id."""

    async def ended(self, child: str) -> dict[str, Any] | None:
        """How a child has ended, as it told: ``status``, then ``value``, or ``type`` and ``message``. None: nobody knows."""

    async def fetch(self) -> None:
        """Bring what has come, with `Agent.deliver`; and from now on what comes."""

    def resumed(self, mailing: Mailing) -> None:
        """The agent goes on: this is what followed from its checkpoint, and may not have been done."""

    def waits(self) -> None:
        """Something in the agent has begun to wait: it may be idle now (`Agent.is_idle`)."""

    def emit(self, key: str, attempt: int, event: Any) -> None:
        """Tell people: the effect *key*, in this *attempt* of its step, says *event*, plain JSON data."""


class Alone:
    """The world of an agent whose owner has none: time passes, and there is nobody else."""

    def now(self) -> float:
        return time.time()

    async def look_up(self, receiver: str) -> int:
        raise NoSuchAgent(f"agent {receiver} is not known here: this agent runs alone")

    async def status(self, agent: str) -> str | None:
        return None

    async def ended(self, child: str) -> dict[str, Any] | None:
        return None

    async def fetch(self) -> None:
        """Nothing comes."""

    def resumed(self, mailing: Mailing) -> None:
        """There is nobody to deliver to."""

    def waits(self) -> None:
        """Nobody parks it."""

    def emit(self, key: str, attempt: int, event: Any) -> None:
        """Nobody listens."""
