"""The rule of deltas: which checkpoints are whole, against what the others are made, and what may be trimmed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from playbooks_providers.envelope import Chain, oldest_needed
from playbooks_providers.envelope.chain import LONGEST_PAUSE, RUN
from playbooks_providers.ids import CheckpointId


@dataclass
class Stored:
    """A history that obeys the rule and trims as the host does; it remembers what each checkpoint needs."""

    keep: int
    chain: Chain | None = None
    needs: dict[CheckpointId, tuple[CheckpointId, ...]] = field(default_factory=dict)
    there: set[CheckpointId] = field(default_factory=set)
    kept: list[CheckpointId] = field(default_factory=list)
    attempts: int = 0
    newest: int = 0  # bytes of its payload

    def checkpoint(self, size: int, delta: int) -> bool:
        """The next checkpoint, of *size* bytes, or *delta* as a delta. Whether it became whole."""
        before, id = self.chain, CheckpointId(7, len(self.needs) + 1)
        base = before.base(size) if before is not None else None
        self.attempts += base is not None
        self.newest = size
        if before is not None and base is not None and before.fits(delta, size):
            self.chain = before.with_delta(id, delta, base)
        elif before is not None:
            self.chain = before.with_whole(id, size, size, refused=base is not None)
        else:
            self.chain = Chain((id,), size, size)
        self.needs[id] = self.chain.ids[:-1]
        self.there.add(id)
        self.kept = [*self.kept, id][-self.keep :]
        oldest = oldest_needed((one, self.needs[one][0] if self.needs[one] else one) for one in self.kept)
        self.there = {one for one in self.there if one >= oldest}
        return not self.needs[id]


def check(stored: Stored) -> None:
    """What must hold after each checkpoint."""
    chain = stored.chain
    assert chain is not None
    for kept in stored.kept:
        assert {kept, *stored.needs[kept]} <= stored.there, f"{kept} cannot be opened"
        for link, below in itertools.pairwise(reversed((*stored.needs[kept], kept))):
            assert stored.needs[link][-1] == below, "a chain goes from base to base"
    digits = 1
    while RUN**digits <= chain.number:
        digits += 1
    assert len(chain.ids) - 1 <= (RUN - 1) * digits, "a chain is logarithmic"
    read = chain.whole_bytes + chain.delta_bytes
    assert 2 * read <= 3 * max(chain.whole_bytes, stored.newest * chain.whole_bytes // chain.whole_size)


SIZES = {"small": (100, 3), "grown": (140, 30), "churned": (100, 100), "shrunk": (40, 2)}


def sequences() -> Iterator[Sequence[tuple[int, int]]]:
    yield from itertools.product(SIZES.values(), repeat=7)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_after_every_trim_each_kept_checkpoint_has_its_whole_chain(keep: int) -> None:
    for sequence in sequences():
        stored = Stored(keep)
        for size, delta in sequence:
            stored.checkpoint(size, delta)
            check(stored)


@pytest.mark.parametrize("seed", range(20))
def test_the_same_holds_over_long_lives_of_any_sizes(seed: int) -> None:
    chance = random.Random(seed)
    stored = Stored(keep=chance.choice([1, 2, 5, 10]))
    size = 1000
    for _ in range(1500):
        size = max(10, int(size * chance.choice([1, 1, 1, 1.01, 1.1, 0.9, 0.3, 3])) % 10_000_000)
        stored.checkpoint(size, int(size * chance.choice([0.0001, 0.001, 0.01, 0.3, 1])))
        check(stored)


def test_a_whole_one_is_due_when_a_resume_would_read_half_as_much_again() -> None:
    for sequence in sequences():
        stored = Stored(3)
        for size, delta in sequence:
            before = stored.chain
            whole = stored.checkpoint(size, delta)
            if before is None:
                assert whole
            else:
                full = 2 * (before.whole_bytes + before.delta_bytes + delta) > 3 * size
                assert whole == (full or 2 * size < before.whole_size or before.pause > 0)


def test_after_the_first_run_deltas_and_their_headers_may_take_half_of_the_whole_one() -> None:
    chain = Chain((CheckpointId(7, 1),), 100_000, 100_000)
    for number in range(2, 2 + RUN - 1):
        chain = chain.with_delta(CheckpointId(7, number), 10, chain.base(100_000) or 0)
    assert chain.number == RUN - 1
    assert chain.fits(40_000, 100_000) and not chain.fits(50_000, 100_000) and not chain.fits(50_000, 1_000_000)


def test_numbers_are_made_against_themselves_with_their_lowest_digit_one_less() -> None:
    stored = Stored(10_000)
    stored.checkpoint(10**9, 0)
    for number in range(1, 600):
        stored.checkpoint(10**9, 1)
        bases = [base.seq - 1 for base in stored.needs[CheckpointId(7, number + 1)]]
        expected = []
        left = number
        while left:
            left -= 1 if left % 16 else 16 if left % 256 else 256
            expected.append(left)
        assert bases == expected[::-1]


def test_deltas_that_never_fit_are_tried_less_and_less_often_but_never_given_up() -> None:
    stored = Stored(10)
    for _ in range(200):
        assert stored.checkpoint(1000, 1000)
    assert 200 / (LONGEST_PAUSE + 1) <= stored.attempts <= 200 / (LONGEST_PAUSE + 1) + 5
    for _ in range(LONGEST_PAUSE + 1):
        stored.checkpoint(1000, 1)
    assert not stored.checkpoint(1000, 1)


@pytest.mark.parametrize("turn", [1000, 10_000])
def test_a_history_that_grows_is_kept_in_its_size_and_written_in_n_log_n(turn: int) -> None:
    """Text of which a quarter is air, as random letters are: whole ones and deltas alike store three quarters."""
    stored = Stored(10)
    bytes_of: dict[CheckpointId, int] = {}
    size = written = 0
    for number in range(1, 3001):
        size += turn
        id = CheckpointId(7, number)
        chain = stored.chain
        base = chain.base(size) if chain is not None else None
        told = turn * (number - (chain.ids[base].seq if chain is not None and base is not None else 0)) * 3 // 4
        if chain is not None and base is not None and chain.fits(told, size):
            stored.chain = chain.with_delta(id, told, base)
        else:
            told = size * 3 // 4
            stored.chain = (
                chain.with_whole(id, size, told, refused=base is not None) if chain else Chain((id,), size, told)
            )
        stored.needs[id] = stored.chain.ids[:-1]
        bytes_of[id] = told
        written += told
        stored.kept = [*stored.kept, id][-10:]
        oldest = oldest_needed((one, (*stored.needs[one], one)[0]) for one in stored.kept)
        bytes_of = {one: taken for one, taken in bytes_of.items() if one >= oldest}
        assert sum(bytes_of.values()) <= 2 * size
    assert written <= 20 * size
