"""Awaits per second on a real Redis, sync: what an executor is made of, against redis-py's own `xadd` in the same loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from benchmarks.figures import Figure, Raw
from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Sealer
from playbooks_providers.ids import AgentId, new_agent_id, new_session_id
from playbooks_providers.model import FINAL, Created, StartRecord
from playbooks_providers.redis import RedisHome, Wait, connect
from playbooks_providers.testing import eventually
from playbooks_worker.hold import Bench
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.programs import Program
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.shift import Shift

KEY = "the signing key of a benchmark, of no secrecy"
CROWD = 50
_PATIENCE_S = 120.0


class Executor:
    """A session's shift in this process, as `executor.host` puts it together, with its connection and its gate."""

    def __init__(self, url: str, program: Program, *, queue: str, wait: Wait | None) -> None:
        self.program = program
        self.queue = queue
        gate = Gate(time.monotonic, deadline=math.inf)
        self.home: RedisHome = connect(url, gate=gate, wait=wait)
        around = Surroundings(self.home.checkpoints, Sealer(KEY), SystemClock().now_ms)
        bench = Bench(self.home.coordination, around, {program.name: program})
        self.shift = Shift(new_session_id(), gate, bench, [queue], concurrency=CROWD, drain_timeout_s=5.0)

    async def rate(self, agents: int, awaits: int) -> float:
        """Awaits per second of so many agents together, from when all have begun until the first has ended."""
        watch = self.program.module.WATCH
        watch.reset(agents)
        names = [await self.submit(awaits) for _ in range(agents)]
        await eventually(lambda: len(watch.ended) == agents, _PATIENCE_S, "all agents have worked")
        await eventually(lambda: self._ended(names[-1]), _PATIENCE_S, "the last agent has ended")
        begin, end = max(watch.began), min(watch.ended)
        return float((end.steps - begin.steps) / (end.wall_s - begin.wall_s))

    async def submit(self, awaits: int) -> AgentId:
        name = self.program.name
        start = StartRecord(new_agent_id("bench"), name, "loop", [awaits], {}, self.queue, 0)
        created = await self.home.coordination.create(start)
        assert isinstance(created, Created) and created.ticket is not None
        await self.home.coordination.enqueue(created.ticket)
        return start.agent

    async def _ended(self, agent: AgentId) -> bool:
        view = await self.home.coordination.describe(agent)
        return view is not None and view.status in FINAL

    async def entry(self) -> dict[str, bytes]:
        """The fields of a checkpoint as this program writes it: the bytes that the raw figure is taken with."""
        stored: list[dict[bytes, bytes]] = []
        name = await self.submit(2000)

        async def there() -> bool:
            rows = await self.home.server.command(
                "XREVRANGE", f"playbooks:{{{name}}}:checkpoints", "+", "-", "COUNT", 1
            )
            stored[:] = [fields for _, fields in rows if b"d" in fields]
            return bool(stored)

        await eventually(there, _PATIENCE_S, "a checkpoint")
        await eventually(lambda: self._ended(name), _PATIENCE_S, "the agent has ended")
        return {key.decode(): value for key, value in stored[0].items()}


@asynccontextmanager
async def executor(
    url: str, program: Program, *, queue: str = "bench", wait: Wait | None = None
) -> AsyncIterator[Executor]:
    made = Executor(url, program, queue=queue, wait=wait)
    serving = asyncio.create_task(made.shift.serve())
    try:
        yield made
    finally:
        await made.shift.drain(5.0)
        await asyncio.wait([serving])
        await made.home.close()


async def raw_rate(client: Redis, fields: dict[Any, Any], times: int) -> float:
    """`await client.xadd(...)`, one at a time."""
    key = "raw"
    began = time.perf_counter()
    for _ in range(times):
        await client.xadd(key, fields, maxlen=10)
    return times / (time.perf_counter() - began)


async def measure(url: str, program: Program, *, rounds: int, awaits: int) -> tuple[list[Figure], Raw]:
    """Interleaved: raw, one agent, fifty agents, raw."""
    raw: list[float] = []
    one_to_raw: list[float] = []
    fifty_to_one: list[float] = []
    rates: list[tuple[float, float]] = []
    client = Redis.from_url(url, single_connection_client=True)
    try:
        async with executor(url, program) as ours:
            fields = await ours.entry()
            await ours.rate(CROWD, 20)
            for _ in range(rounds):
                before = await raw_rate(client, fields, awaits)
                one = await ours.rate(1, awaits)
                after = await raw_rate(client, fields, awaits)
                fifty = await ours.rate(CROWD, awaits // 4)
                again = await ours.rate(1, awaits)
                raw += [1 / before, 1 / after]
                one_to_raw.append(one / _mean(before, after) * 100)
                fifty_to_one.append(fifty / _mean(one, again))
                rates.append((one, fifty))
    finally:
        await client.aclose()
    ones, fifties = [one for one, _ in rates], [fifty for _, fifty in rates]
    size = sum(map(len, fields.values()))
    return [
        Figure("one agent, sequential awaits, to raw XADD", "%", 70, one_to_raw, at_most=False, note=_told(ones)),
        Figure("50 agents on one executor, to one agent", "×", 2.5, fifty_to_one, at_most=False, note=_told(fifties)),
    ], Raw(raw, size)


def _mean(one: float, other: float) -> float:
    """Of two rates: that of doing both."""
    return 2 / (1 / one + 1 / other)


def _told(rates: list[float]) -> str:
    return f"{min(rates):,.0f} – {max(rates):,.0f} awaits/s"
