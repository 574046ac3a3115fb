"""What a supervisor keeps in mind: what the worker was told, and who sits in each executor's seat. Values, no I/O."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from playbooks_providers.ids import SessionId
from playbooks_providers.model import ProgramInfo
from playbooks_worker.channel import Orders
from playbooks_worker.child import Child


@dataclass(frozen=True)
class Staff:
    """What a worker is told: how many executors, with which orders, and how their sessions live (seconds)."""

    name: str
    group: str
    processes: int
    orders: Orders
    heartbeat_s: float
    session_timeout_s: float
    drain_timeout_s: float
    stall_timeout_s: float | None = None


class Seat:
    """One executor's place in the worker: the child in it now, and the session it serves."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.child: Child | None = None
        self.session: SessionId | None = None
        self.slots = 0  # of the session
        self.source = f"seat {index}"  # of what its executor has counted
        self.infos: list[ProgramInfo] = []
        self.heard_at = 0.0  # monotonic seconds: when its event loop last said that it turns
        self.drained = False
        self.renewal: asyncio.Task[None] | None = None
        self.dropped = asyncio.Event()  # the agents of the session that was refused last run no more
