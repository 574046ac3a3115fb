"""May this executor write now? Asked by the writer before every send, answered by whoever knows the session's deadline.

A frozen executor (DESIGN 4.2) writes nothing: what gathers waits at the closed gate, retries too.
"""

from __future__ import annotations

from typing import Protocol


class Gate(Protocol):
    @property
    def is_open(self) -> bool:
        """Cheap, and true to the instant: it is asked right before bytes go out."""

    async def wait_open(self) -> None:
        """Returns when the gate is open (again). May be cancelled."""


class OpenGate:
    """For whoever never freezes: clients, coordinators, tests."""

    @property
    def is_open(self) -> bool:
        return True

    async def wait_open(self) -> None:
        return None
