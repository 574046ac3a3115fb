"""What a snapshot costs as the state grows: the engine alone, beside `pickle.dumps` of the same state in the same run."""

from __future__ import annotations

import functools
import pickle  # noqa: TID251 - what ours is compared with
import statistics
import time
from typing import Any

from benchmarks.figures import Figure
from benchmarks.in_memory import took
from playbooks_worker.engine import Agent
from playbooks_worker.host.programs import Program

SIZES = {"100 B": 100, "1 KB": 1000, "10 KB": 10_000, "100 KB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
_BYTES_A_ROUND = 100_000_000


async def measure(program: Program, *, rounds: int) -> list[Figure]:
    """The cost of an await with so much state, to that of one with almost none plus a plain `pickle.dumps`."""
    costs: dict[str, list[float]] = {name: [] for name in SIZES}
    plain: dict[str, list[float]] = {name: [] for name in SIZES}
    for _ in range(rounds):
        for name, size in SIZES.items():
            awaits = max(3, min(1000, _BYTES_A_ROUND // size))
            state = program.module.messages(size)
            bare = await took(program, functools.partial(program.playbook("holding"), state, awaits))
            ours = await took(program, functools.partial(_in_an_agent, program, state, awaits))
            costs[name].append((ours - bare) / awaits)
            plain[name].append(_dumps(state, awaits))
    smallest = next(iter(SIZES))
    figures = [Figure(f"a snapshot of {smallest}", "µs", 30, [cost * 1e6 for cost in costs[smallest]])]
    for name, size in list(SIZES.items())[1:]:
        ratios = [
            cost / (small + dumps) for cost, small, dumps in zip(costs[name], costs[smallest], plain[name], strict=True)
        ]
        cost, dumps = statistics.median(costs[name]), statistics.median(plain[name])
        figures.append(
            Figure(
                f"a snapshot of {name}, to that of {smallest} plus pickle.dumps of it",
                "×",
                1.5,
                ratios,
                note=f"{cost * 1e6:,.0f} µs, {size / cost / 1e6:,.0f} MB/s",
                reference=f"pickle.dumps: {dumps * 1e6:,.1f} µs, {size / dumps / 1e6:,.0f} MB/s",
            )
        )
    return figures


async def _in_an_agent(program: Program, state: Any, awaits: int) -> None:
    """As a life runs it: what is signed needs no check sum."""
    agent = Agent("bench", persist=lambda moment, payload: None, summed=False)
    await agent.start(program.playbook("holding"), [state, awaits])


def _dumps(state: Any, times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        pickle.dumps(state, 5)
    return (time.process_time() - began) / times
