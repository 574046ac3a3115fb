"""Which checkpoints are whole, which are deltas, and against what: the rule, without I/O and without bytes.

Called by the host, which asks it before each checkpoint, tells it what became of it, and lets it say what may be trimmed.

Checkpoints are counted from the last whole one, which is number 0. Number n is a delta against n with its lowest set bit
cleared: 1 and 2 against 0, 3 against 2, 4 against 0, 7 against 6. So the *chain* of a checkpoint, all that must be read to
open it, has at most log2(n) + 1 deltas, and each change is told log2(n) / 2 times on average: a history that grows to n
costs O(n log n) bytes written. (The tree of P. Fenwick, "A New Data Structure for Cumulative Frequency Tables", 1994.)

A whole one is due

* when the deltas since the last one would together exceed half of its bytes: what a resume reads stays below 1.5 of it;
* when the state has shrunk to less than half of it: or a small agent would drag along what it once was.

When a delta right after a whole one is that big, the next ones are likely to be, too: the attempt costs time, so the next
attempts wait for 1, 2, 4, 8 checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from playbooks_providers.ids import CheckpointId

LONGEST_PAUSE = 8


@dataclass(frozen=True, slots=True)
class Chain:
    """The newest checkpoint and what it needs.

    ``ids``: the whole one first, itself last. ``number``: its own, counted from the whole one. ``whole_size`` and
    ``whole_bytes``: the whole one's payload, and how much of it is stored; ``delta_bytes``: what all deltas since take.
    ``pause``: so many checkpoints must pass before a delta is tried again; ``paused``: how long it was the last time.
    """

    ids: tuple[CheckpointId, ...]
    whole_size: int
    whole_bytes: int
    number: int = 0
    delta_bytes: int = 0
    pause: int = 0
    paused: int = 0

    @property
    def whole(self) -> CheckpointId:
        """The oldest checkpoint that must be kept for the newest one to open."""
        return self.ids[0]

    def base(self, size: int) -> int | None:
        """For the next checkpoint, of *size* bytes: the place in `ids` of its base. None: it is to be whole."""
        if self.pause or 2 * size < self.whole_size:
            return None
        after = self.number + 1
        return (after & (after - 1)).bit_count()

    def fits(self, stored: int) -> bool:
        """Whether a delta of *stored* bytes may be the next one. If not, a whole one is due."""
        return 2 * (self.delta_bytes + stored) <= self.whole_bytes

    def with_delta(self, id: CheckpointId, stored: int, base: int) -> Chain:
        return Chain(
            (*self.ids[: base + 1], id),
            self.whole_size,
            self.whole_bytes,
            self.number + 1,
            self.delta_bytes + stored,
        )

    def with_whole(self, id: CheckpointId, size: int, stored: int, *, refused: bool) -> Chain:
        """The next one is whole; *refused*: because a delta did not fit."""
        if refused and self.number == 0:
            pause = min(max(1, 2 * self.paused), LONGEST_PAUSE)
            return Chain((id,), size, stored, pause=pause, paused=pause)
        return Chain((id,), size, stored, pause=max(0, self.pause - 1), paused=self.paused if self.pause else 0)


def oldest_needed(kept: Iterable[tuple[CheckpointId, CheckpointId]]) -> CheckpointId:
    """The oldest id that must stay for all of *kept* to open: each with the whole one at the end of its chain."""
    return min(whole for _, whole in kept)
