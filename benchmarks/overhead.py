"""Engine overhead per await: a life over the in-memory provider, with snapshot, envelope and signature.

What the same coroutines cost without an agent is measured beside it and taken off.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.figures import Figure
from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Sealer
from playbooks_providers.ids import CheckpointId, new_agent_id, new_nonce, new_session_id
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Created, Lock, StartRecord, Taken
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life, Surroundings
from playbooks_worker.host.outcome import Ended
from playbooks_worker.host.programs import Program

KEY = "the signing key of a benchmark, of no secrecy"


class InMemory:
    """Everything that a life needs, in this process."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._store = MemoryStore()
        clock = SystemClock()
        self._coordination = MemoryCoordination(self._store)
        self._around = Surroundings(MemoryCheckpoints(self._store), Sealer(KEY), clock.now_ms)

    async def run(self, entry: str, *args: Any) -> int:
        """Run an agent to its end; answers how many checkpoints it wrote."""
        start = StartRecord(new_agent_id("bench"), self._program.name, entry, list(args), {}, "bench", 0)
        created = await self._coordination.create(start)
        assert isinstance(created, Created) and created.ticket is not None
        taken = await self._coordination.take(created.ticket, new_session_id(), new_nonce())
        assert isinstance(taken, Taken)
        lock: Lock = taken.lock
        life = Life(lock, self._program.playbook(entry), self._around, Gate(time.monotonic, deadline=math.inf))
        outcome = await life.live()
        assert isinstance(outcome, Ended) and outcome.header.kind == "completed", outcome
        last: CheckpointId = outcome.final.id
        return last.seq


async def measure(program: Program, *, rounds: int, awaits: int) -> list[Figure]:
    """Interleaved: every round measures every row once."""
    home = InMemory(program)
    watch = program.module.WATCH
    depth_1: list[float] = []
    depth_6: list[float] = []
    standing: list[float] = []
    working: list[float] = []

    async def took(run: Callable[[], Awaitable[Any]]) -> float:
        """Seconds of this process's time between the marks that the program sets around its loop.

        Nothing here waits for anybody, so it is the wall's time on a machine that does nothing else."""
        watch.reset()
        module.HELD[:] = [asyncio.Event()]
        module.ENDED[:] = [asyncio.Event()]
        run_to_end = asyncio.ensure_future(run())
        await module.ENDED[0].wait()
        module.HELD[0].set()
        await run_to_end
        return float(watch.ended[-1].cpu_s - watch.began[0].cpu_s)

    loop, nested, module = program.playbook("loop"), program.playbook("nested"), program.module
    few, turns = max(50, awaits // 20), max(10, awaits // 100)
    for _ in range(rounds):
        bare = await took(lambda: loop(awaits))
        depth_1.append((await took(lambda: home.run("loop", awaits)) - bare) / awaits * 1e6)
        bare = await took(lambda: nested(6, awaits))
        depth_6.append((await took(lambda: home.run("nested", 6, awaits)) - bare) / awaits * 1e6)
        standing.append(await took(lambda: home.run("fan", 100, 1024, few)) / few * 1e3)
        working.append(await took(lambda: home.run("crowd", 100, 1024, turns)) / turns * 1e3)
    return [
        Figure("engine overhead per await, depth 1", "µs", 30, depth_1),
        Figure("engine overhead per await, depth 6", "µs", 60, depth_6),
        Figure("a checkpoint with 100 branches of 1 KB, one working", "ms", 1, standing),
        Figure("the same, all 100 working: a checkpoint for 100 awaits", "ms", 1, working),
    ]
