"""Counters, gauges and histograms as plain numbers, and the report by which one process adds its own to another's.

Declared in `metrics`, called by whoever counts. They are changed by one thread, and may be read by
another (the HTTP surface has its own): a reader copies in one step. Nothing here knows what a number means, or Prometheus.
"""

from __future__ import annotations

import abc
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Daemon = Literal["worker", "coordinator"]
Labels: TypeAlias = tuple[str, ...]
Report: TypeAlias = list[list[Any]]
"""JSON: ``[name, labels, number or buckets]``, for each instrument and label values with something to say."""

BOTH: tuple[Daemon, ...] = ("worker", "coordinator")


@dataclass(eq=False)
class Instrument(abc.ABC):
    """``labels`` are the labels' names; ``known``: label values that are shown before anything has happened, so that the
    first time is seen as a change; ``on``: whose `/metrics` shows it. Names end in their unit, counters in `_total`."""

    name: str
    help: str
    labels: Labels = ()
    on: tuple[Daemon, ...] = BOTH
    known: Iterable[Labels] = ()

    def __post_init__(self) -> None:
        self.reset()

    @abc.abstractmethod
    def reset(self) -> None:
        """As if nothing had happened."""

    def _begin(self) -> Iterable[Labels]:
        return self.known if self.labels else [()]


@dataclass(eq=False)
class Counter(Instrument):
    """Only grows, in the life of a daemon."""

    values: dict[Labels, float] = field(init=False)

    def reset(self) -> None:
        self.values = {tuple(labels): 0.0 for labels in self._begin()}

    def add(self, *labels: str, by: float = 1.0) -> None:
        self.values[labels] = self.values.get(labels, 0.0) + by

    def take(self) -> Report:
        taken, self.values = self.values, {}
        return [[self.name, list(labels), value] for labels, value in taken.items() if value]

    def absorb(self, labels: Labels, value: float) -> None:
        self.add(*labels, by=value)


@dataclass(eq=False)
class Gauge(Instrument):
    """What is so now. Each *source* (an executor, say) has its own part of it; what is shown is their sum."""

    parts: dict[tuple[str, Labels], float] = field(init=False)

    def reset(self) -> None:
        self.parts = {}

    def set(self, value: float, *labels: str, source: str = "") -> None:
        self.parts[source, labels] = value

    def forget(self, source: str = "") -> None:
        """What *source* has said is not so any more."""
        self.replace((), source)

    def replace(self, values: Iterable[tuple[Labels, float]], source: str = "") -> None:
        """*values* are all that *source* has to say."""
        kept = {part: value for part, value in self.parts.items() if part[0] != source}
        self.parts = kept | {(source, labels): value for labels, value in values}

    @property
    def values(self) -> dict[Labels, float]:
        summed: dict[Labels, float] = {}
        for (_, labels), value in list(self.parts.items()):
            summed[labels] = summed.get(labels, 0.0) + value
        return summed

    def say(self) -> Report:
        return [[self.name, list(labels), value] for labels, value in self.values.items()]


@dataclass(eq=False)
class Histogram(Instrument):
    """How many observations there were up to each of `bounds`, and their sum."""

    bounds: Sequence[float] = ()
    values: dict[Labels, list[float]] = field(init=False)  # one number a bucket, one for what is beyond, and the sum

    def reset(self) -> None:
        self.values = {tuple(labels): self._empty() for labels in self._begin()}

    def _empty(self) -> list[float]:
        return [0.0] * (len(self.bounds) + 2)

    def observe(self, value: float, *labels: str) -> None:
        counts = self.values.get(labels)
        if counts is None:
            counts = self.values[labels] = self._empty()
        counts[bisect_left(self.bounds, value)] += 1
        counts[-1] += value

    def take(self) -> Report:
        taken, self.values = self.values, {}
        return [[self.name, list(labels), counts] for labels, counts in taken.items() if any(counts[:-1])]

    def absorb(self, labels: Labels, counts: Sequence[float]) -> None:
        mine = self.values.get(labels) or self._empty()
        self.values[labels] = [one + other for one, other in zip(mine, counts, strict=True)]


class Registry:
    """All instruments of a process."""

    def __init__(self) -> None:
        self._all: dict[str, Counter | Gauge | Histogram] = {}

    def add(self, *instruments: Counter | Gauge | Histogram) -> None:
        self._all.update({one.name: one for one in instruments})

    def shown_on(self, daemon: Daemon) -> list[Counter | Gauge | Histogram]:
        return [one for one in self._all.values() if daemon in one.on]

    def take(self) -> Report:
        """For who has no `/metrics` of its own: what was counted since the last report, and what is so now."""
        said: Report = []
        for one in self._all.values():
            said += one.say() if isinstance(one, Gauge) else one.take()
        return said

    def absorb(self, report: Report, source: str) -> None:
        """Add what *source* has counted to what is counted here. Its earlier gauges are forgotten."""
        self.forget(source)
        for name, labels, value in report:
            one = self._all[name]
            if isinstance(one, Gauge):
                one.set(value, *labels, source=source)
            else:
                one.absorb(tuple(labels), value)

    def forget(self, source: str) -> None:
        """*source* is gone: what it has counted stays, what was so there is so no more."""
        for one in self._all.values():
            if isinstance(one, Gauge):
                one.forget(source)

    def reset(self) -> None:
        """For tests."""
        for one in self._all.values():
            one.reset()
