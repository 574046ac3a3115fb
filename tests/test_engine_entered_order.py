"""What entering a manager appends to a list stands where it stood, among what others have appended since, wherever the
agent goes on: entering is done again, and would put it last."""

from __future__ import annotations

import asyncio
import collections
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, same_everywhere, start  # noqa: E402


async def effect(value):
    await asyncio.sleep(0)
    return value


class Entry:
    def __init__(self, name):
        self.name, self.left = name, False

    def __repr__(self):
        return f"{self.name}{'.' if self.left else ''}"


class Noting:
    """Notes its entry and its exit in *log*, in words of *kind*."""

    def __init__(self, kind, name, log):
        self.kind, self.name, self.log = kind, name, log

    def __enter__(self):
        self.entry = {"tuple": ("in", self.name), "list": ["in", self.name], "object": Entry(self.name)}[self.kind]
        self.log.append(self.entry)
        return self

    def __exit__(self, *raised):
        if self.kind == "object":
            self.entry.left = True
        else:
            self.log.append(("out", self.name))


@playbook
async def part(kind, name, log):
    with Noting(kind, name, log):
        await effect(1)
        log.append((name, await effect("one")))
        with Noting(kind, name + "'", log):
            log.append(await effect("inside"))
        await effect(2)


@playbook
async def noted(kind, empty):
    log = empty()
    with Noting(kind, "all", log):
        await part(kind, "first", log)
        log.append(await effect("between"))
        await part(kind, "second", log)
    return repr(log)


@pytest.mark.parametrize("empty", [list, collections.deque])
@pytest.mark.parametrize("kind", ["tuple", "list", "object"])
def test_what_entering_appends_stands_where_it_stood_after_every_kill(kind, empty):
    plain = asyncio.run(noted(kind, empty))
    assert same_everywhere(noted, kind, empty) == Completed(plain)


@pytest.mark.parametrize("kind", ["tuple", "list", "object"])
def test_so_it_does_where_each_resumed_run_is_killed_at_its_next_checkpoint(kind):
    plain = asyncio.run(noted(kind, list))
    victim = Store(1)
    ended = start(noted, kind, list, store=victim)
    while ended is None:
        payload, victim = victim.payloads[-1], Store(1)
        ended = resume(payload, victim)
    assert ended == Completed(plain)
