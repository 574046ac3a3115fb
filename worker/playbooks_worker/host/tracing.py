"""What a life needs of whoever makes traces: something for the engine to tell, and an end. `tracing` has one."""

from __future__ import annotations

from typing import Protocol

from playbooks_providers.model import Lock
from playbooks_worker.engine import Observer
from playbooks_worker.host.outcome import Outcome


class LifeTrace(Observer, Protocol):
    """One owner's part of an agent's trace."""

    def over(self, outcome: Outcome | None) -> None:
        """The life is over (None: by a bug of ours); what has not ended goes on elsewhere, or never."""


class Tracer(Protocol):
    def life(self, lock: Lock) -> LifeTrace: ...

    def close(self) -> None:
        """Send what was not sent yet, for a bounded time."""
