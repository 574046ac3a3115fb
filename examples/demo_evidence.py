"""What the demo may claim, from what is written: the effects' log and the agent's stream. Pure; tests call it too.

The rule it checks: an effect may run a second time only if it was *in flight* when its process was killed. That can be
read from the log, since an audit has an order: an effect that needs another one's result begins only after that result
was checkpointed. So an effect that ran again although the process that ran it first had begun one that comes after it was
repeated in spite of its checkpoint, and the demo fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path

STEPS = ("parse", "measure", "cross-reference")


@dataclass(frozen=True, slots=True)
class Begun:
    """One line of the log: an effect has begun in a process."""

    key: str
    pid: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an effect stands in the audit: section, batch of modules that go side by side, module, step."""

    section: float
    batch: float
    module: str = ""
    step: int = 0

    def before(self, other: Place) -> bool:
        """True when *other* needs this one's result, so that it cannot begin earlier."""
        if (self.section, self.batch) != (other.section, other.batch):
            return (self.section, self.batch) < (other.section, other.batch)
        return self.module == other.module and self.step < other.step


@dataclass
class Verdict:
    once: int = 0
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def places(sections: Mapping[str, Sequence[str]], at_once: int) -> dict[str, Place]:
    """Every effect of a whole audit, and where it stands."""
    found = {"survey": Place(-inf, 0), "summarise": Place(inf, 0)}
    for number, name in enumerate(sorted(sections)):
        found[f"list {name}"] = Place(number, -inf)
        found[f"rank {name}"] = Place(number, inf)
        for index, module in enumerate(sections[name]):
            for step, effect in enumerate(STEPS):
                found[f"{effect} {module}"] = Place(number, index // at_once, module, step)
    return found


def read_log(path: Path) -> list[Begun]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Begun(key, int(pid)) for key, _, pid in (line.partition("\t") for line in lines)]


def judge(log: Sequence[Begun], expected: Mapping[str, Place], killed: Iterable[int], at_once: int) -> Verdict:
    """Count the effects that ran once and twice; name everything that may not have happened."""
    killed = set(killed)
    verdict = Verdict()
    runs: dict[str, list[int]] = {}
    for index, begun in enumerate(log):
        runs.setdefault(begun.key, []).append(index)
    verdict.wrong += [f"never ran: {key}" for key in sorted(expected.keys() - runs.keys())]
    verdict.wrong += [f"not part of the audit: {key}" for key in sorted(runs.keys() - expected.keys())]
    died_in: Counter[int] = Counter()
    for key in sorted(runs.keys() & expected.keys()):
        indexes = runs[key]
        if len(indexes) == 1:
            verdict.once += 1
            continue
        verdict.twice.append(key)
        for index, again in pairwise(indexes):
            pid = log[index].pid
            died_in[pid] += 1
            if pid not in killed or log[again].pid == pid:
                verdict.wrong.append(f"ran again although process {pid} was not killed: {key}")
            elif later := _first_after(log[index:], expected, key, pid):
                verdict.wrong.append(f"ran again although it was recorded ({later} had begun): {key}")
    for pid, count in died_in.items():
        if count > at_once:
            verdict.wrong.append(f"{count} effects of process {pid} ran again, of at most {at_once} in flight")
    return verdict


def _first_after(log: Sequence[Begun], expected: Mapping[str, Place], key: str, pid: int) -> str | None:
    for begun in log:
        if begun.pid == pid and begun.key in expected and expected[key].before(expected[begun.key]):
            return begun.key
    return None


def judge_stream(ids: Sequence[tuple[int, int]]) -> list[str]:
    """Checkpoint ids (fence, number) in the order in which the stream held them: one owner after the other, no gap."""
    wrong = []
    for (fence, number), (next_fence, next_number) in pairwise(ids):
        if next_fence < fence:
            wrong.append(f"checkpoint {next_fence}-{next_number} of an earlier owner stands behind {fence}-{number}")
        if next_number != number + 1:
            wrong.append(f"checkpoint {next_fence}-{next_number} stands behind {fence}-{number}")
    return wrong
