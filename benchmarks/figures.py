"""What was measured: a figure with its rounds, its target and its verdict. Values, no I/O."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Raw:
    """The server by itself in the same run: seconds for each `await client.xadd` of redis-py, median of a round each."""

    seconds: list[float]
    bytes: int

    def __str__(self) -> str:
        middle = statistics.median(self.seconds)
        return f"{1 / middle:,.0f}/s, {middle * 1e6:.0f} µs"


@dataclass(frozen=True)
class Figure:
    """*rounds* are repeated measurements; the figure is their ``share`` (0.5: the median). ``at_most``: else at least.
    ``reference``: what was taken beside it in the same run, where that is not raw Redis."""

    work: str
    unit: str
    limit: float
    rounds: list[float]
    at_most: bool = True
    share: float = 0.5
    note: str = ""
    reference: str = ""

    @property
    def value(self) -> float:
        return quantile(self.rounds, self.share)

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    @property
    def target(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g} {self.unit}"

    @property
    def spread(self) -> str:
        low, middle, high = min(self.rounds), statistics.median(self.rounds), max(self.rounds)
        return f"{_short(low)} / {_short(middle)} / {_short(high)}"

    @property
    def shown(self) -> str:
        return f"{_short(self.value)} {self.unit}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"value": self.value, "met": self.met, "target": self.target}


def quantile(values: Sequence[float], share: float) -> float:
    """The median for one half; else the smallest value that this share of all does not exceed (nearest rank)."""
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"
