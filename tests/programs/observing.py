"""What is seen of a generated program's run, and what of it must be seen again after a crash. Called by trials.py.

`Ordered` programs (generator.py) do everything in one order; of `Branching` programs (branching.py) only the number of
effects is compared, as what they return says the rest.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import branching
import cancelling
import fuzzing
import generator
import sharing


class Ordered:
    """The events of a run, in order. Those of headers that a resume enters again are left out."""

    plain_runs = 1
    branches = False

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.whole: list[Any] = []

    def reset(self) -> None:
        fuzzing.LOG.clear()

    def seen(self) -> list[Any]:
        return [event for event in fuzzing.LOG if event[0] != "open"]

    def ran(self) -> int:
        """How much has run here; managers that a stop closes do not count."""
        return sum(1 for event in fuzzing.LOG if event[0] not in ("open", "close"))

    def wrong(self, before: list[Any]) -> str | None:
        """What differs when, after what a checkpoint says (*before*), the run in this process is added."""
        found = self.total(before)
        if found == self.whole:
            return None
        at = next((n for n, (one, two) in enumerate(zip(self.whole, found, strict=False)) if one != two), len(found))
        at = min(at, len(self.whole), len(found))
        return f"event {at}: expected {self.whole[max(0, at - 2) : at + 3]}\n  got {found[max(0, at - 2) : at + 3]}"

    def total(self, before: list[Any]) -> list[Any]:
        seen = self.seen()
        if before and seen and before[-1] == seen[0] and seen[0][0] == "aw":
            seen = seen[1:]  # an awaitable that cannot be saved is made again where nothing of it has happened
        return [*before, *seen]

    def again(self, stored: list[Any]) -> list[Any]:
        return stored

    nothing: tuple[Any, ...] = ()


class Counted:
    """The effects of a run, however its branches interleave. Those of plain coroutines may begin again."""

    plain_runs = 4
    branches = True
    nothing: tuple[Counter[Any], Counter[Any]] = (Counter(), Counter())

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.whole = self.nothing

    def reset(self) -> None:
        sharing.reset()

    def seen(self) -> tuple[Counter[Any], Counter[Any]]:
        return Counter(sharing.DONE), Counter(sharing.LOOSE)

    def ran(self) -> int:
        return len(sharing.RAN)

    def wrong(self, before: tuple[Counter[Any], Counter[Any]]) -> str | None:
        (strict, loose), (whole, whole_loose) = self.total(before), self.whole
        if strict == whole and not whole_loose - loose:
            return None
        return f"effects missing {whole - strict} {whole_loose - loose}, effects repeated {strict - whole}"

    def total(self, before: tuple[Counter[Any], Counter[Any]]) -> tuple[Counter[Any], Counter[Any]]:
        strict, loose = self.seen()
        return before[0] + strict, before[1] + loose

    def again(self, stored: Any) -> tuple[Counter[Any], Counter[Any]]:
        return Counter(stored[0]), Counter(stored[1])


def observed(seed: int, fuel: int) -> Ordered | Counted:
    """The program of *seed*: one grammar writes two in seven, the others one half each of the rest."""
    if seed % 7 in (3, 5):
        return Counted(cancelling.program(seed, fuel))
    return Counted(branching.program(seed, fuel)) if seed % 2 else Ordered(generator.program(seed, fuel))
