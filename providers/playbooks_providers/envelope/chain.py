"""Which checkpoints are whole, which are deltas, and against what: the rule, without I/O and without bytes.

Called by the host, which asks it before each checkpoint, tells it what became of it, and lets it say what may be trimmed.

Checkpoints are counted from the last whole one, which is number 0. Number n is written in base 16, and is a delta against
n with the lowest digit that is not 0 made one less: 3 against 2, 16 against 0, 17 against 16, 48 against 32. So the *chain*
of a checkpoint, all that must be read to open it, has at most 15 deltas for each digit, and each change is told about once
for each digit: a history that grows to n costs O(n log n) bytes written. (The tree of P. Fenwick, "A New Data Structure for
Cumulative Frequency Tables", 1994, with a larger base: the first 15 deltas tell each change once, which is what keeps a
young history small while its last `keep_last_n` checkpoints must open.)

A whole one is due

* when the deltas since the last one, their headers counted, would exceed half of its bytes; but among the first 15 only
  when the chain would exceed 1.5 times what the state would take whole now: what a resume reads stays below 1.5 of it;
* when the state has shrunk to less than half of it: or a small agent would drag along what it once was.

When a delta right after a whole one is that big, the next ones are likely to be, too: the attempt costs time, so the next
attempts wait for 1, 2, 4, 8 checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from playbooks_providers.ids import CheckpointId

LONGEST_PAUSE = 8

RUN = 16
"""The base that numbers are written in: so many checkpoints in a row tell each change once."""

_BESIDE = 500
"""Bytes of a stored delta that are not its payload: the header, about."""


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
        after, step = self.number + 1, 1
        while after % (step * RUN) == 0:
            step *= RUN
        return _digits(after - step)

    def fits(self, stored: int, size: int) -> bool:
        """Whether a delta of *stored* bytes may be the next one, whose payload has *size*. If not, a whole one is due."""
        deltas = self.delta_bytes + stored
        if 2 * (deltas + (self.number + 1) * _BESIDE) <= self.whole_bytes:
            return True
        whole_now = self.whole_bytes * size // max(1, self.whole_size)
        return self.number + 1 < RUN and 2 * (self.whole_bytes + deltas) <= 3 * whole_now

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


def _digits(number: int) -> int:
    """The sum of its digits: so many links lead from the whole one to this number."""
    total = 0
    while number:
        number, digit = divmod(number, RUN)
        total += digit
    return total
