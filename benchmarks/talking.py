"""Messages a second between two agents on a real Redis, sync: on one executor, and on two that share nothing but the server.

Beside them what the client library does alone in the same loop: `xadd` of 800 bytes, one at a time, as many as the
conversation needs writes. A question and its answer are six that follow each other, since each is promised before anybody
acts on it: the question in its sender's checkpoint, accepted by the inbox, in its receiver's; the answer likewise. Between
executors a poke follows each acceptance. DESIGN 8 has no target for this. Ours is a third of raw: an agent alone
reaches two, and here two agents, their scripts and their signatures share a core, which redis-py had for itself.

The two executors are two shifts of one process here, each with its own connections: what is measured is their way through
Redis.
"""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

from redis.asyncio import Redis

from benchmarks.figures import Figure
from benchmarks.rates import KEY, raw_rate
from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Sealer, read_header
from playbooks_providers.ids import new_agent_id, new_session_id
from playbooks_providers.model import Created, SessionInfo, StartRecord, Status
from playbooks_providers.redis import connect
from playbooks_providers.testing import eventually
from playbooks_worker.hold import Bench
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.programs import load
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.shift import Shift

NAME = "correspondence"
_PATIENCE_S = 120.0
WRITES = {("asks", "here"): 6, ("asks", "there"): 8, ("sends", "here"): 3, ("sends", "there"): 4}


async def measure(url: str, *, rounds: int, letters: int = 300) -> list[Figure]:
    """Interleaved: raw, and each conversation on one executor and on two."""
    program = load(str(Path(__file__).with_name(f"{NAME}.py")))
    client = Redis.from_url(url, single_connection_client=True)
    homes, shifts = [], []
    for queue in ("here", "there"):
        gate = Gate(time.monotonic, deadline=math.inf)
        home = connect(url, gate=gate)
        session = new_session_id()
        await home.coordination.register(SessionInfo(session, queue, "bench", 0, "", 0))
        around = Surroundings(home.checkpoints, Sealer(KEY), SystemClock().now_ms)
        bench = Bench(home.coordination, around, {NAME: program})
        homes.append(home)
        shifts.append(Shift(session, gate, bench, [queue], concurrency=10, drain_timeout_s=5.0))
    serving = [asyncio.create_task(shift.serve()) for shift in shifts]
    coordination = homes[0].coordination

    async def rate(entry: str, queue: str) -> float:
        start = StartRecord(new_agent_id("bench"), NAME, entry, [letters, queue], {}, "here", 0)
        made = await coordination.create(start)
        assert isinstance(made, Created) and made.ticket is not None
        await coordination.enqueue(made.ticket)

        async def ended() -> bytes | None:
            view = await coordination.describe(start.agent)
            return view.header if view is not None and view.status is Status.COMPLETED else None

        return float(read_header(await eventually(ended, _PATIENCE_S, "the conversation to end") or b"").result)

    taken: dict[tuple[str, str], list[float]] = {}
    shares: dict[tuple[str, str], list[float]] = {}
    try:
        for _ in range(rounds):
            for entry in ("asks", "sends"):
                for queue in ("here", "there"):
                    before = await raw_rate(client, {"h": b"x" * 300, "d": b"x" * 500}, letters)
                    got = await rate(entry, queue)
                    taken.setdefault((entry, queue), []).append(got)
                    shares.setdefault((entry, queue), []).append(got * WRITES[entry, queue] / before * 100)
    finally:
        for shift in shifts:
            await shift.drain(5.0)
        await asyncio.wait(serving)
        for home in homes:
            await home.close()
        await client.aclose()
    said = {"asks": "ask and reply", "sends": "a letter"}
    places = {"here": "one executor", "there": "two executors"}
    return [
        Figure(
            f"{said[entry]}, two agents on {places[queue]}, to {WRITES[entry, queue]} raw XADDs", "%", 33, share,
            at_most=False,
            note=f"{min(taken[entry, queue]):,.0f} – {max(taken[entry, queue]):,.0f} a second",
        )
        for (entry, queue), share in shares.items()
    ]  # fmt: skip
