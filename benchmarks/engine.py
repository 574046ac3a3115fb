"""Every row about the engine: what an await costs, a snapshot, a resume, a long history, and the rewriting. No server."""

from __future__ import annotations

from benchmarks import histories, overhead, resuming, rewriting, snapshots
from benchmarks.figures import Figure
from playbooks_worker.host.programs import Program


async def measure(program: Program, *, rounds: int) -> list[Figure]:
    return [
        *await overhead.measure(program, rounds=rounds),
        *await snapshots.measure(program, rounds=rounds),
        *await resuming.measure(program, rounds=rounds),
        *await histories.measure(program),
        *rewriting.measure(rounds=rounds),
    ]
