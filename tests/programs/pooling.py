"""What the statements of joining.py are made of: pools whose leases tasks take, conditions, queues that are joined, values.

Beside sharing.py, whose state and effects it uses; programs import both.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import types
import uuid
from pathlib import Path

from sharing import State, effect, mixed
from witness import WITNESS

from playbooks_worker import effect_key, playbook, step

# --- pools ------------------------------------------------------------------------------------------------------------


class Budget:
    """Its own target. It can be saved; what has been entered counts once."""

    def __init__(self, name, size=1):
        self.name = name
        self.permits = asyncio.Semaphore(size)
        self.out = self.most = 0
        self.opened = False

    async def __aenter__(self):
        await asyncio.sleep(0)
        self.opened = True
        return self

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)
        assert self.out == 0 or raised[0] is not None
        self.opened = False

    def lease(self, k):
        assert self.opened, "the pool is closed"
        return Lease(self, k)

    async def query(self, me, k, value):
        assert self.opened, "the pool is closed"
        return await effect(me, k, value)


class Pool(Budget):
    """One that cannot be saved: what a resume makes anew is in its place in all frames."""

    def __reduce__(self):
        raise TypeError("a live pool")


class Lease:
    """One of so many. Cannot be saved either."""

    def __init__(self, pool, k):
        self.pool = pool
        self.k = k

    def __reduce__(self):
        raise TypeError("a live lease")

    async def __aenter__(self):
        assert self.pool.opened, "the pool is closed"
        await self.pool.permits.acquire()
        self.pool.out += 1
        self.pool.most = max(self.pool.most, self.pool.out)
        return self

    async def __aexit__(self, *raised):
        self.pool.out -= 1
        self.pool.permits.release()

    def __enter__(self):
        assert self.pool.opened, "the pool is closed"
        return self

    def __exit__(self, *raised):
        pass

    async def query(self, me, value):
        return await self.pool.query(me, self.k, value)


@playbook
async def leases(s: State, me, k, pool, v):
    """Its own header uses the target of another frame's."""
    s.at(me, (k, "leases"))
    async with pool.lease(k) as lease:
        v = await lease.query(me, v)
        v = await effect(me, (k, "leased"), v)
    s.at(me, (k, "leased"), v)
    return v


@playbook
async def leases_twice(s: State, me, k, pool, v):
    with pool.lease((k, "outer")) as outer:
        s.at(me, (k, "outer"))
        one = await outer.query(me, v)
        async with asyncio.timeout(30), pool.lease((k, "inner")) as inner:
            both = inner.pool is outer.pool is pool
            one = mixed(one, await inner.query(me, one), await pool.query(me, (k, "directly"), v))
        s.at(me, (k, "inner"), both)
    return one


# --- conditions, queues, groups ---------------------------------------------------------------------------------------


@playbook
async def is_told(s: State, me, k, name, number, by_hand):
    condition = s.condition(name)
    s.at(me, (k, "waits"))
    async with condition:
        if by_hand:
            while s.live[name] < number:
                await condition.wait()
        else:
            await condition.wait_for(lambda: s.live[name] >= number)
        s.at(me, (k, "told"))
        await effect(me, (k, "holds"))
    return await effect(me, (k, "goes"))


@playbook
async def tells(s: State, me, k, name, number):
    for n in range(number):
        await effect(me, (k, "comes", n))
        async with s.condition(name):
            s.live[name] += 1
            s.condition(name).notify_all()
    s.at(me, (k, "has told"))


@playbook
async def fills(s: State, me, k, queue, number):
    for n in range(number):
        got = await effect(me, (k, "fills", n), n)
        await queue.put(got)
    await queue.join()
    s.at(me, (k, "joined"), queue.empty(), queue.qsize())


@playbook
async def drains(s: State, me, k, queue, number):
    for n in range(number):
        got = await queue.get()
        s.total += got
        await effect(me, (k, "drains", n))
        queue.task_done()
    s.at(me, (k, "drained"))


@playbook
async def spawns(s: State, me, k, group, v):
    """Gives the group that it is in another task."""
    s.at(me, (k, "spawns"))
    v = await effect(me, (k, "first"), v)
    child = group.create_task(s.step((me, "child"), k, v))
    await effect(me, (k, "second"), v)
    s.at(me, (k, "spawned"), isinstance(child, asyncio.Task))
    return child


# --- steps ------------------------------------------------------------------------------------------------------------


def found(key, me, k, v):
    """Nobody knows, and so it has happened."""
    return mixed(k, v)


async def not_found(key, me, k, v):
    raise step.NotDone


@step(on_unknown=found)
async def charged(me, k, v):
    WITNESS.once(effect_key())
    await asyncio.sleep(0)
    return mixed(k, v)


@step(on_unknown=not_found, retries=2, backoff=0, timeout=30)
async def looked_up(me, k, v):
    await asyncio.sleep(0)
    return mixed(k, v)


# --- values -----------------------------------------------------------------------------------------------------------


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


@dataclasses.dataclass
class Point:
    x: int
    links: list = dataclasses.field(default_factory=list)

    def at(self, by):
        return self.x + by


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    where: Path
    color: Color


Pair = collections.namedtuple("Pair", "one two")
NOTHING = object()


def things(k):
    """Values of many kinds, that hold each other."""
    point = Point(k)
    point.links += [point, NOTHING, Color.RED]
    made = [
        point,
        {Frozen(Path("a") / str(k), Color.BLUE): point.links},
        Pair(point, collections.deque([k, 1, 2], maxlen=3)),
        collections.defaultdict(list, {k: [point]}),
        collections.OrderedDict([(k, 1), ("b", 2)]),
        collections.Counter("abca"),
        types.SimpleNamespace(point=point, day=datetime.date(2026, 11, 1 + k % 28)),
        functools.partial(max, k, key=point.at),
        [decimal.Decimal(k) / 7, uuid.UUID(int=k), complex(k, 1), bytearray(b"ab"), range(k, 9, 2), frozenset({k})],
        memoryview,
        point.at,
    ]
    made.append(made)
    return made


def whole(made, k):
    """Whether they are what `things` made, and hold each other still."""
    point = made[0]
    same = [
        point.links[0] is point is made[2].one is made[3][k][0] is made[6].point is made[10].__self__,
        point.links[1] is NOTHING and point.links[2] is Color.RED,
        next(iter(made[1].values())) is point.links,
        made[1][Frozen(Path("a") / str(k), Color.BLUE)] is point.links,
        made[2].two.maxlen == 3 and made[3]["new"] == [],
        made[7](1) == max(k, 1) and made[7].keywords["key"].__self__ is point,
        made[11] is made,
    ]
    del made[3]["new"]
    return same, repr(made[4:7]), repr(made[8])
