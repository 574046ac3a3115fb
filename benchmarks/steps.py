"""What `@step` adds to an await: a call of its own, and with a policy for unknown outcomes a checkpoint before the effect.

Beside the same loop over plain effects, in the same rounds. DESIGN 8 has no target for it: a step without a policy may cost
twice a plain await, one with a policy twice that.
"""

from __future__ import annotations

import functools
import statistics

from benchmarks.figures import Figure
from benchmarks.in_memory import InMemory, took
from playbooks_worker.host.programs import Program

AWAITS = 1000


async def measure(program: Program, *, rounds: int) -> list[Figure]:
    home = InMemory(program)
    costs: dict[str, list[float]] = {"plain": [], "step": [], "intent": []}
    for _ in range(rounds):
        for name, entry, args in (
            ("plain", "loop", (AWAITS,)),
            ("step", "steps", (AWAITS, False)),
            ("intent", "steps", (AWAITS, True)),
        ):
            bare = await took(program, functools.partial(program.playbook("loop"), AWAITS))
            costs[name].append((await took(program, functools.partial(home.run, entry, *args)) - bare) / AWAITS * 1e6)
    reference = f"a plain effect: {statistics.median(costs['plain']):.1f} µs"
    return [
        Figure(
            f"a `@step` {what}, to a plain effect",
            "×",
            limit,
            [one / plain for one, plain in zip(costs[name], costs["plain"], strict=True)],
            note=f"{statistics.median(costs[name]):.1f} µs",
            reference=reference,
        )
        for name, what, limit in (
            ("step", "without a policy", 2),
            ("intent", "whose intent is checkpointed first", 4),
        )
    ]
