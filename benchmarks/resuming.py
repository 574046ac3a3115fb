"""How long a resume takes, by how much the agent has been through: from the lock to the next effect, in a warm process.

Load, verify, decode, enter every frame, run. Systems that replay take as long as there is history. Small states are stored
whole; larger ones as deltas, whose chain is at its deepest when the numbers of its links have all the digits they can have
(`envelope/chain.py`): that one is resumed beside the whole one at its end.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from benchmarks.figures import Figure
from benchmarks.in_memory import InMemory
from playbooks_providers.model import Lock
from playbooks_worker.host.programs import Program

AWAITS = (10, 100, 1_000, 10_000, 100_000)
# States that are stored as deltas, and the number of a checkpoint, counted from the whole one, that has the longest chain
# before the next whole one: its digits to the base 16 are as large as they can be. At most so many milliseconds (DESIGN 8
# has 5 for a small state).
CHAINS = (("16 KB", 16_000, 0x0F, 5), ("1 MB", 1_000_000, 0x1FF, 10))
LATE = 99_999  # as deep for 16 KB, whose every 16th checkpoint is whole
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
    chains = [await _through_a_chain(program, home, rounds, *chain) for chain in CHAINS]
    chains.append(await _late(program, home, rounds))
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
    return [*figures, *chains]


async def _through_a_chain(
    program: Program, home: InMemory, rounds: int, name: str, size: int, number: int, limit_ms: float
) -> Figure:
    whole, deep, links = await _both(program, home, rounds, size, (0, number))
    return Figure(
        f"resume with {name} of state through the deepest chain, of {links} deltas",
        "ms",
        limit_ms,
        deep,
        note=f"{statistics.median(deep) / statistics.median(whole):.1f} × that from a whole checkpoint",
        reference=f"from a whole one: {statistics.median(whole):.2f} ms",
    )


async def _late(program: Program, home: InMemory, rounds: int) -> Figure:
    name, size, number, _ = CHAINS[0]
    early, late, _ = await _both(program, home, rounds, size, (number, LATE))
    return Figure(
        f"resume with {name} of state after {LATE + 1:,} awaits, to that after {number + 1}, both through the deepest chain",
        "×",
        1.2,
        [one / other for one, other in zip(late, early, strict=True)],
        note=f"{statistics.median(late):.2f} ms",
        reference=f"after {number + 1}: {statistics.median(early):.2f} ms",
    )


async def _both(
    program: Program, home: InMemory, rounds: int, size: int, numbers: tuple[int, int]
) -> tuple[list[float], list[float], int]:
    """Milliseconds to resume from checkpoints of these numbers, interleaved: the median of each round. And the links of
    the second one."""
    state = program.module.messages(size)
    locks = [await _left(program, home, number, state) for number in numbers]
    medians: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(_TIMES):
            for at, lock in enumerate(locks):
                locks[at] = await home.next_owner(lock)
                times[at].append(await _resumed(program, home, locks[at], leave=True) * 1e3)
        for told, taken in zip(medians, times, strict=True):
            told.append(statistics.median(taken))
    return *medians, home.links(locks[1])


async def _left(program: Program, home: InMemory, number: int, state: Any) -> Lock:
    """An agent with *state* that was left without a further checkpoint behind that *number*."""
    program.module.WATCH.reset()
    lock = await home.create("holding", state, 10**9)
    life = home.life(lock)
    leaving: list[asyncio.Future[None]] = []

    def at(step: int) -> None:
        if step == number:
            leaving.append(asyncio.ensure_future(life.abandon("benchmark")))

    with program.module.each_step(at):
        await home.run_until_handed_over(life)
    await asyncio.gather(*leaving)
    return lock


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


async def _resumed(program: Program, home: InMemory, lock: Lock, *, leave: bool = False) -> float:
    """Seconds of this process's time until the first effect begins; nothing here waits for anybody. The agent is handed
    over again behind it; or (*leave*) left there, so that it can be resumed from the same checkpoint again."""
    at: list[float] = []
    leaving: list[asyncio.Future[None]] = []
    began = time.process_time()
    life = home.life(lock)

    def at_work(number: int) -> None:
        at.append(time.process_time())
        if leave:
            leaving.append(asyncio.ensure_future(life.abandon("benchmark")))
        else:
            life.hand_over("benchmark")

    with program.module.each_step(at_work):
        await home.run_until_handed_over(life)
    await asyncio.gather(*leaving)
    return at[0] - began
