"""What generated programs with branches are made of: a state that branches share, effects, helpers that wait first.

The state records what every branch has run, so that a statement that runs twice, or never, shows in the result: the record
is part of each checkpoint. Effects are counted outside of it, as the world would. Programs import this as `sharing`.
"""

from __future__ import annotations

import asyncio
import contextlib  # noqa: F401 - for programs
import random
import threading  # noqa: F401 - for programs
from collections import Counter

from fuzzing import Err, Other, _mixed, chain, step_number, tag
from waiting import Doomed
from witness import WITNESS

from playbooks_worker import OutcomeUnknown, effect_key, playbook, step  # noqa: F401

DONE: list[tuple] = []  # effects that a checkpoint taken from now on covers
LOOSE: list[tuple] = []  # those of plain coroutines, which start again
RAN: list[tuple] = []  # statements, in this process
TRIED: Counter[tuple] = Counter()  # attempts of steps, in this process


def reset():
    DONE.clear()
    LOOSE.clear()
    RAN.clear()
    TRIED.clear()


def mixed(*parts):
    return _mixed(*map(tag, parts))


class State:
    """Shared by all branches of a program. What they do to it commutes, so that its end says nothing of their order."""

    def __init__(self):
        self.trace = {}
        self.total = 0
        self.seen = set()
        self.items = []
        self.live = {}
        self.value = 0
        self.inside = 0
        self.most = 0
        self.lock = asyncio.Lock()
        self.gate = asyncio.Semaphore(2)
        self.events = {}
        self.queues = {}
        self.conditions = {}
        self.boxes = {}
        self.self = self

    def at(self, me, k, *values, owes=False):
        """A statement has run. *owes*: in a handler of what a resume could not repeat."""
        RAN.append((me, k))
        if isinstance(me, Doomed):
            me.ran += 1
        WITNESS.runs(me, (me, k), owes=owes)
        self.trace.setdefault(me, []).append((k, *map(tag, values), *step_number()))
        assert self.self is self

    def event(self, name):
        return self.events.setdefault(name, asyncio.Event())

    def queue(self, name, size=0):
        return self.queues.setdefault(name, asyncio.Queue(size))

    def condition(self, name):
        return self.conditions.setdefault(name, asyncio.Condition())

    def enter(self):
        self.inside += 1
        self.most = max(self.most, self.inside)

    def leave(self):
        self.inside -= 1

    def report(self):
        traces = {me: self.trace[me] for me in sorted(self.trace, key=str)}
        queues = {name: sorted(queue._queue) for name, queue in sorted(self.queues.items(), key=str)}
        live = sorted(self.live.items(), key=str)
        rows = [traces, self.total, sorted(self.seen), sorted(self.items), live, self.value, self.inside, queues]
        assert self.most <= 2, "more branches behind the semaphore than it lets in"
        return rows

    @playbook
    async def step(self, me, k, value):
        self.at(me, ("step", k))
        got = await effect(me, ("step", k), value)
        self.total += got
        return mixed(got)


async def effect(me, k, value=0, *, cancel="", error=None, loose=False, waits=False, by=None):
    """Some turns of the loop, at least one if it *waits*. *by*: the branch, where several go by one name.

    *cancel* cancels its own task: before it waits, or as it completes (an agent learns that while it writes the outcome)."""
    name = (str(me), str(tag(k)))
    if not loose:
        WITNESS.begins(by or me, name)
    try:
        if isinstance(me, Doomed) and me.due and not loose:  # plain code runs again with what has been counted since
            await me.ends()
        if cancel == "start":
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        for _ in range(1 if cancel or waits else random.choice((0, 1, 1, 1, 2, 5))):
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        WITNESS.cancelled(name)
        raise
    if loose:
        LOOSE.append(name)
    else:
        DONE.append(name)
        WITNESS.ends(by or me, name)
    if cancel == "end":
        asyncio.current_task().cancel()
    if error is not None:
        raise error
    return mixed(k, value)


async def forever(me, k):
    name = (str(me), str(tag(k)))
    WITNESS.begins(me, name)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        WITNESS.cancelled(name)


async def after_waiting(made, s, me, k, *arguments):
    """A plain coroutine that waits as long as it likes before it calls a playbook."""
    for _ in range(random.choice((0, 0, 1, 3, 7))):
        await asyncio.sleep(0)
    return await made(s, me, *arguments)


async def twice(made, s, me, k, value):
    """A plain coroutine with effects of its own around two calls."""
    one = await made(s, me, value)
    two = await effect(me, ("twice", k), one, loose=True)
    return await made(s, me, two)


async def numbers(number):
    """Cannot be saved: a loop over it is an atomic region."""
    for n in range(number):
        await asyncio.sleep(0)
        yield n


class Counting:
    """An asynchronous iterator that can be saved."""

    def __init__(self, number):
        self.left = number

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return self.left


async def when(condition):
    while not condition():
        await asyncio.sleep(0)


@step(retries=9, backoff=0)
async def flaky(me, k, v, failures):
    """Fails so often, and so often again in each process."""
    name = (str(me), str(tag(("flaky", k))))
    TRIED[name] += 1
    await asyncio.sleep(0)
    if failures > 8 or TRIED[name] <= failures:
        raise Err(k, failures)
    LOOSE.append(name)
    return mixed(k, v)


@step
def threaded(me, k, v):
    return mixed("threaded", k, v)


@step(on_unknown="raise")
async def careful(me, k, v):
    WITNESS.once(effect_key())
    await asyncio.sleep(0)
    return mixed(k, v)


async def passes_by(s, me, k, odd):
    return await passes(s, me, k, odd)


async def after_sharing(s, me, k, box):
    await when(lambda: len(box) > 0)
    return await shares(s, me, k, box)


async def settled(s, group):
    """Branches that outlive their gather have ended: only then is anything said about them."""
    while s.live[group]:
        await asyncio.sleep(0)


# --- playbooks that programs call ---------------------------------------------------------------------------------------


@playbook
async def fails(s, me, v):
    s.at(me, "fails", v)
    try:
        await effect(me, "fails", v)
        raise Other("one", v)
    except Other as error:
        await effect(me, "wraps", v)
        s.at(me, "wraps", chain(error))
        raise Err("two", v) from error


@playbook
async def counted(made, s, me, group, v):
    """Says when it has ended, as its gather does not wait for it."""
    try:
        return await made(s, me, v)
    finally:
        s.live[group] -= 1


@playbook
async def cancelling(s, me, k, how):
    s.at(me, k)
    try:
        await effect(me, (k, "inner"), cancel=how)
        await effect(me, (k, "second"), waits=True)
    finally:
        s.at(me, (k, "finally"))


@playbook
async def passes(s, me, k, odd):
    s.at(me, (k, "passes"))
    held = [odd]
    await effect(me, (k, "passes"))
    return held[0]


@playbook
async def shares(s, me, k, box):
    box.append(await effect(me, (k, "first"), 1))
    held = {"box": box}
    await effect(me, (k, "second"), 2)
    held["box"].append(str(me))
    return box


@playbook
async def recursive(s, me, n):
    s.at(me, ("recursive", n))
    if n <= 0:
        return await effect(me, "bottom", n)
    return mixed(await recursive(s, me, n - 1), await effect(me, ("up", n)), await recursive(s, me, n - 2))


@playbook
async def meets(s, me, k, number):
    where = (str(me[0]), k)
    await effect(me, (k, "comes"))
    s.live[where] = s.live.get(where, 0) + 1
    if s.live[where] == number:
        s.event(where).set()
    await s.event(where).wait()
    s.at(me, k)
    return await effect(me, (k, "goes"))


@playbook
async def produces(s, me, name, number, size):
    for n in range(number):
        await effect(me, (name[0], "produces", n))
        await s.queue(name, size).put(n)
    s.at(me, name[0])


@playbook
async def consumes(s, me, name, number):
    for n in range(number):
        while name not in s.queues:
            await asyncio.sleep(0)
        got = await s.queue(name).get()
        s.at(me, name[0], got)
        await effect(me, (name[0], "consumes", n), got)


@playbook
async def takes(s, me, who, shared):
    total = 0
    for item in shared:
        total += mixed(item)
        s.seen.add((str(me), str(item)))
        await effect(me, ("takes", str(item)), by=(me, who))
    return total


@playbook
async def parks(s, me, k, group, tidy):
    """Works, then waits to be cancelled; with *tidy* it awaits on the way out."""
    s.at(me, k)
    v = await effect(me, (k, "before"))
    s.live[group] += 1
    try:
        await forever(me, k)
    except asyncio.CancelledError as error:
        s.at(me, (k, "cancelled"), chain(error), owes=True)
        if tidy:
            v = await effect(me, (k, "tidies"), v)
            s.at(me, (k, "tidied"), v)
        raise
    finally:
        if tidy:
            await effect(me, (k, "last"), v)
        s.at(me, (k, "finally"))


@playbook
async def rests(s, me, k):
    """Waits to be cancelled at once."""
    s.live[str(me), "begun"] = 1
    s.at(me, k)
    try:
        await forever(me, k)
    finally:
        s.at(me, (k, "finally"), owes=True)


@playbook
async def fails_last(s, me, k, group, number):
    """Fails when so many others are parked."""
    v = await effect(me, (k, "first"))
    await when(lambda: s.live[group] == number)
    s.at(me, k, v)
    raise Err(k)
