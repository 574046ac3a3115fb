"""Engine overhead per await: a life over the in-memory provider, with snapshot, envelope and signature.

What the same coroutines cost without an agent is measured beside it and taken off.
"""

from __future__ import annotations

import functools
import statistics

from benchmarks.figures import Figure
from benchmarks.in_memory import InMemory, took
from playbooks_worker.host.programs import Program

# Depth → µs. DESIGN 8 says 1 and 6; the line through them gives the others: 24 µs, and 6 µs for each frame.
LIMITS = {1: 30, 6: 60, 50: 324, 450: 2724}
BRANCHES = 100


async def measure(program: Program, *, rounds: int) -> list[Figure]:
    """Interleaved: every round measures every row once."""
    home = InMemory(program)
    overheads: dict[int, list[float]] = {depth: [] for depth in LIMITS}
    bares: dict[int, list[float]] = {depth: [] for depth in LIMITS}
    standing: list[float] = []
    working: list[float] = []
    for _ in range(rounds):
        for depth in LIMITS:
            awaits = 2000 // (1 + depth // 10)
            entry, args = ("loop", (awaits,)) if depth == 1 else ("nested", (depth, awaits))
            bare = await took(program, functools.partial(program.playbook(entry), *args))
            ours = await took(program, functools.partial(home.run, entry, *args))
            overheads[depth].append((ours - bare) / awaits * 1e6)
            bares[depth].append(bare / awaits * 1e6)
        standing.append(await took(program, lambda: home.run("fan", BRANCHES, 1024, 100)) / 100 * 1e3)
        working.append(await took(program, lambda: home.run("crowd", BRANCHES, 1024, 100)) / 100 * 1e3)
    return [
        *(
            Figure(
                f"engine overhead per await, depth {depth}",
                "µs",
                limit,
                overheads[depth],
                reference=f"without an agent: {statistics.median(bares[depth]):.2f} µs",
            )
            for depth, limit in LIMITS.items()
        ),
        Figure("a checkpoint with 100 branches of 1 KB, one working", "ms", 1, standing),
        Figure("the same, all 100 working: a checkpoint for 100 awaits", "ms", 1, working),
    ]
