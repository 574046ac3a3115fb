"""A home for agents in this process, and how long they take there: what the rows about the engine are measured with."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Sealer, read_header
from playbooks_providers.ids import CheckpointId, new_agent_id, new_nonce, new_session_id
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Created, Entry, Lock, Lost, Minted, Saved, StartRecord, Taken, Ticket
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Ended, HandedOver
from playbooks_worker.host.programs import Program
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.host.tracing import Tracer

KEY = "the signing key of a benchmark, of no secrecy"


class Counted(MemoryCheckpoints):
    """Checkpoints in memory that know their bytes, headers included."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._kept_in = store
        self.written = 0

    def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Awaitable[Saved | Lost]:
        self.written += _size(entry)
        return super().save(lock, entry, oldest=oldest)

    def kept(self, lock: Lock) -> int:
        return sum(map(_size, self._kept_in.agents[lock.agent].entries.values()))


def _size(entry: Entry) -> int:
    return len(entry.header) + len(entry.payload)


class InMemory:
    """Everything that a life needs: snapshot, envelope and signature are what they are anywhere, storing costs nothing."""

    def __init__(self, program: Program, *, tracer: Tracer | None = None) -> None:
        self._program = program
        self._store = store = MemoryStore()
        self.checkpoints = Counted(store)
        self._coordination = MemoryCoordination(store)
        self._around = Surroundings(self.checkpoints, Sealer(KEY), SystemClock().now_ms, tracer=tracer)

    async def create(self, entry: str, *args: Any) -> Lock:
        """The lock of a new agent."""
        start = StartRecord(new_agent_id("bench"), self._program.name, entry, list(args), {}, "bench", 0)
        created = await self._coordination.create(start)
        assert isinstance(created, Created) and created.ticket is not None
        return await self._take(created.ticket)

    async def next_owner(self, lock: Lock) -> Lock:
        """The lock of who resumes the agent."""
        minted = await self._coordination.release(lock, "benchmark")
        assert isinstance(minted, Minted)
        return await self._take(minted.ticket)

    def links(self, lock: Lock) -> int:
        """How many checkpoints the newest one of the agent needs to be opened."""
        newest = self._store.agents[lock.agent].newest
        assert newest is not None
        base = read_header(newest.header).base
        return 0 if base is None else len(base.ids)

    async def _take(self, ticket: Ticket) -> Lock:
        taken = await self._coordination.take(ticket, new_session_id(), new_nonce())
        assert isinstance(taken, Taken)
        return taken.lock

    def life(self, lock: Lock) -> Life:
        entry = self._program.playbook(lock.start.entry)
        return Life(lock, entry, self._around, Gate(time.monotonic, deadline=math.inf))

    async def run(self, entry: str, *args: Any) -> None:
        """Run an agent to its end."""
        outcome = await self.life(await self.create(entry, *args)).live()
        assert isinstance(outcome, Ended) and outcome.header.kind == "completed", outcome

    async def run_until_handed_over(self, life: Life) -> None:
        outcome = await life.live()
        assert isinstance(outcome, HandedOver), outcome


async def took(program: Program, run: Callable[[], Awaitable[Any]]) -> float:
    """Seconds of this process's time between the marks that the program sets around its loop.

    Nothing here waits for anybody, so it is the wall's time on a machine that does nothing else."""
    module = program.module
    module.WATCH.reset()
    module.HELD[:] = [asyncio.Event()]
    module.ENDED[:] = [asyncio.Event()]
    run_to_end = asyncio.ensure_future(run())
    ended = asyncio.ensure_future(module.ENDED[0].wait())
    await asyncio.wait([run_to_end, ended], return_when=asyncio.FIRST_COMPLETED)
    module.HELD[0].set()
    await run_to_end
    return float(module.WATCH.ended[-1].cpu_s - module.WATCH.began[0].cpu_s)
