"""How long a resume takes, by how much the agent has been through: from the lock to the next effect, in a warm process.

Load, verify, enter every frame, run. Systems that replay take as long as there is history.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.figures import Figure
from benchmarks.in_memory import InMemory
from playbooks_providers.model import Lock
from playbooks_worker.host.programs import Program

AWAITS = (10, 100, 1_000, 10_000, 100_000)
_TIMES = 20  # that each is resumed in a round


async def measure(program: Program, *, rounds: int) -> list[Figure]:
    home = InMemory(program)
    locks = {awaits: await _handed_over(program, home, awaits) for awaits in AWAITS}
    medians: dict[int, list[float]] = {awaits: [] for awaits in AWAITS}
    for _ in range(rounds):
        times: dict[int, list[float]] = {awaits: [] for awaits in AWAITS}
        for _ in range(_TIMES):  # interleaved
            for awaits in AWAITS:
                locks[awaits] = await home.next_owner(locks[awaits])
                times[awaits].append(await _resumed(program, home, locks[awaits]) * 1e3)
        for awaits in AWAITS:
            medians[awaits].append(statistics.median(times[awaits]))
    least, most = AWAITS[0], AWAITS[-1]
    figures = [Figure(f"resume after {most:,} awaits, small state, warm process", "ms", 5, medians[most])]
    for awaits in AWAITS[1:]:
        ratios = [one / other for one, other in zip(medians[awaits], medians[least], strict=True)]
        note = f"{statistics.median(medians[awaits]):.2f} ms"
        told = f"after {least}: {statistics.median(medians[least]):.2f} ms"
        figures.append(
            Figure(
                f"resume after {awaits:,} awaits, to that after {least}", "×", 1.2, ratios, note=note, reference=told
            )
        )
    return figures


async def _handed_over(program: Program, home: InMemory, awaits: int) -> Lock:
    """An agent that has so many awaits behind it and goes on for ever."""
    program.module.WATCH.reset()
    lock = await home.create("loop", 10**9)
    life = home.life(lock)

    def at(number: int) -> None:
        if number == awaits - 2:  # counted from 0; one await came before them
            life.hand_over("benchmark")

    with program.module.each_step(at):
        await home.run_until_handed_over(life)
    return lock


async def _resumed(program: Program, home: InMemory, lock: Lock) -> float:
    """Seconds until the first effect begins; the agent is handed over again behind it."""
    at: list[float] = []
    began = time.perf_counter()
    life = home.life(lock)

    def at_work(number: int) -> None:
        at.append(time.perf_counter())
        life.hand_over("benchmark")

    with program.module.each_step(at_work):
        await home.run_until_handed_over(life)
    return at[0] - began
