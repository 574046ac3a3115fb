"""Bytes kept and written for an agent whose message history grows: the workload that ends systems which replay.

Every turn appends a message of 1 KB to one list and is a checkpoint. The text is random letters, so nothing of it compresses
by more than a quarter. Headers are counted; the size is that of the history alone, pickled. The worst turn is named: an
early one, where the second whole checkpoint is written and the ten before it must still open.
"""

from __future__ import annotations

import pickle  # noqa: TID251 - the size of the state, plainly

from benchmarks.figures import Figure
from benchmarks.in_memory import InMemory
from playbooks_worker.host.programs import Program

TURNS = 2000
_EACH_UNTIL = 300  # turns that are looked at one by one; later ones by hundreds


async def measure(program: Program) -> list[Figure]:
    """Once: bytes are the same every time."""
    home = InMemory(program)
    module = program.module
    messages = [module.message(number) for number in range(TURNS)]
    kept: dict[int, float] = {}
    written: list[float] = []
    sizes: list[int] = []
    lock = await home.create("talk", TURNS)

    def look(turn: int) -> None:
        if turn and (turn <= _EACH_UNTIL or turn % 100 == 0):
            sizes.append(len(pickle.dumps(messages[:turn], 5)))
            kept[turn] = home.checkpoints.kept(lock) / sizes[-1]
            written.append(home.checkpoints.written / sizes[-1])

    with module.each_step(look):
        await home.life(lock).live()
    worst = max(kept, key=lambda turn: kept[turn])
    state = f"the state: {sizes[-1] / 1e6:.1f} MB"
    what = f"a history that grows to {TURNS:,} turns of 1 KB"
    return [
        Figure(
            f"bytes kept for {what}, to its size, at any turn",
            "×",
            2,
            list(kept.values()),
            share=1.0,
            note=f"at turn {worst}",
            reference=state,
        ),
        Figure(
            f"bytes written for {what}, to its size",
            "×",
            20,
            written,
            share=1.0,
            note=f"{home.checkpoints.written / 1e6:,.0f} MB",
            reference=state,
        ),
    ]
