"""Every row about the engine: an await, a step, a snapshot, a resume, a long history, and the rewriting. No server."""

from __future__ import annotations

from benchmarks import histories, overhead, resuming, rewriting, snapshots, steps, tracing
from benchmarks.figures import Figure
from playbooks_worker.host.programs import Program


async def measure(program: Program, *, rounds: int) -> list[Figure]:
    return [
        *await overhead.measure(program, rounds=rounds),
        *await steps.measure(program, rounds=rounds),
        *await tracing.measure(program, rounds=rounds),
        *await snapshots.measure(program, rounds=rounds),
        *await resuming.measure(program, rounds=rounds),
        *await histories.measure(program),
        *rewriting.measure(rounds=rounds),
    ]
