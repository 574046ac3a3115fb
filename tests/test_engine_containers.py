"""Containers of the program's own classes, and caches: they come back as they were, and no code of theirs runs meanwhile."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import same_everywhere  # noqa: E402


class Bounded(dict):
    """Asks for an attribute as items are put in."""

    def __init__(self, size):
        self.size = size

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        while len(self) > self.size:
            del self[next(iter(self))]

    def __missing__(self, key):
        self[key] = []
        return self[key]


class Recent(OrderedDict):
    """Cannot be called without an argument."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        if len(self) > self.size:
            self.popitem(last=False)


class Grouped(defaultdict):
    def __init__(self, factory, name):
        super().__init__(factory)
        self.name = name


class Tally(Counter):
    def __init__(self, name, *counted):
        super().__init__(*counted)
        self.name = name


class History(list):
    __slots__ = ("limit",)

    def __init__(self, limit):
        self.limit = limit

    def append(self, item):
        super().append(item)
        del self[: -self.limit]

    def extend(self, items):
        for item in items:
            self.append(item)


class Window(deque):
    def __init__(self, name, size):
        super().__init__(maxlen=size)
        self.name = name


class Tags(set):
    def __init__(self, kind, *tags):
        self.kind = kind
        super().__init__(tags)

    def add(self, tag):
        super().add(f"{self.kind}:{tag}")


async def effect(value):
    await asyncio.sleep(0)
    return value


@playbook
async def dicts():
    bounded, recent, grouped, tally = Bounded(2), Recent(2), Grouped(list, "g"), Tally("t", "abba")
    for n in range(4):
        bounded[n].append(await effect(n))
        recent[n] = await effect(n)
        grouped[n % 2].append(await effect(n))
        tally[n] += 1
    bounded["itself"] = bounded
    await effect("")
    own = bounded.pop("itself") is bounded
    recent.move_to_end(2)
    await effect("")
    first, _ = recent.popitem(last=False)
    return (
        own,
        bounded,
        bounded.size,
        first,
        recent.size,
        grouped,
        grouped.name,
        tally,
        tally.name,
        type(tally),
        list(bounded),
    )


@playbook
async def others():
    history, window, tags = History(2), Window("w", 2), Tags("k", "one")
    for n in range(4):
        history.append(await effect(n))
        window.append(await effect(n))
        tags.add(await effect(n))
    return history, history.limit, window, window.maxlen, window.name, sorted(tags), tags.kind, type(tags)


@playbook
async def caches():
    offset = await effect(1)
    asked = []

    @functools.lru_cache(maxsize=7)
    def fibonacci(n):
        asked.append(n)
        return n + offset if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    first = fibonacci(5)
    offset = await effect(1)
    await effect("")
    return first, fibonacci(5), set(asked), fibonacci.cache_parameters(), fibonacci.__name__


@pytest.mark.parametrize("case", [dicts, others, caches], ids=lambda case: case.__name__)
def test_they_come_back_as_they_were(case):
    assert same_everywhere(case) == Completed(asyncio.run(case()))
