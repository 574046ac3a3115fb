"""Managers of the program's own, kept in variables and shared by branches: each is entered once, whatever is killed when.

What entering one has changed in saved objects (permits, counters, sets, lists, queues) is not in the checkpoint, and is done
again by the header; what belongs to the process is made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import decimal
import os
import sys
import tempfile
from collections import Counter, deque
from pathlib import Path
from unittest import mock

import pytest
import structlog

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, kill_everywhere, resume, same_everywhere, start, to_end  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HERE = Path(__file__).parent


def reset():
    """What another process would have."""
    global PATCHED
    PATCHED = "as it is"
    os.environ.pop("WHO", None)
    os.chdir(HERE)
    structlog.contextvars.clear_contextvars()


@pytest.fixture(autouse=True)
def as_it_was():
    stdout, folder = sys.stdout, os.getcwd()
    reset()
    yield
    sys.stdout = stdout
    reset()
    os.chdir(folder)


async def effect(name, value=None, turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)
    return name if value is None else value


# --- permits ---


class Limiter:
    """Takes a permit, and counts who is in it."""

    def __init__(self, rate):
        self.semaphore = asyncio.Semaphore(rate)
        self.most = 0
        self.inside = 0

    async def __aenter__(self):
        await self.semaphore.acquire()
        self.inside += 1
        self.most = max(self.most, self.inside)
        return self

    async def __aexit__(self, *raised):
        self.inside -= 1
        self.semaphore.release()


class Slow(Limiter):
    """Waits on the way in and on the way out, having changed a part of what it changes."""

    def __init__(self, rate):
        super().__init__(rate)
        self.waiting = 0
        self.left = 0

    async def __aenter__(self):
        self.waiting += 1
        await asyncio.sleep(0)
        await super().__aenter__()
        await asyncio.sleep(0)
        self.waiting -= 1
        return self

    async def __aexit__(self, *raised):
        self.inside -= 1
        self.left += 1
        await asyncio.sleep(0)
        self.semaphore.release()
        await asyncio.sleep(0)
        self.left -= 1


class Locked:
    """Its bookkeeping has a lock of its own, which it does not keep."""

    def __init__(self):
        self.gate = asyncio.BoundedSemaphore(2)
        self.lock = asyncio.Lock()
        self.names = []

    async def __aenter__(self):
        await self.gate.acquire()
        async with self.lock:
            await asyncio.sleep(0)
            self.names.append(len(self.names))

    async def __aexit__(self, *raised):
        async with self.lock:
            await asyncio.sleep(0)
            self.names.pop()
        self.gate.release()


class Nested:
    """The permit is some way off."""

    def __init__(self, rate):
        self.parts = {"limits": [Limiter(rate)]}

    async def __aenter__(self):
        await self.parts["limits"][0].__aenter__()

    async def __aexit__(self, *raised):
        await self.parts["limits"][0].__aexit__(*raised)


@contextlib.asynccontextmanager
async def permitted(limiter):
    """Takes the permit by a call, not by a `with`."""
    await limiter.semaphore.acquire()
    limiter.inside += 1
    try:
        yield limiter.inside
    finally:
        limiter.inside -= 1
        limiter.semaphore.release()


@contextlib.asynccontextmanager
async def permitted_by_a_header(limiter):
    async with limiter.semaphore:
        limiter.inside += 1
        try:
            yield
        finally:
            limiter.inside -= 1


@playbook
async def limited(limiter, n):
    async with limiter:
        first = await effect(n)
        return first, await effect("second")


@playbook
async def limiter_in_a_variable():
    limiter = Limiter(2)
    found = await asyncio.gather(*[limited(limiter, n) for n in range(4)])
    await effect("after")
    return found, limiter.semaphore._value, limiter.inside, limiter.most


@playbook
async def slow_limiter():
    limiter = Slow(2)
    found = await asyncio.gather(*[limited(limiter, n) for n in range(4)])
    await effect("after")
    return found, limiter.semaphore._value, limiter.inside, limiter.waiting, limiter.left


@playbook
async def lock_in_a_limiter():
    limiter = Locked()
    found = await asyncio.gather(*[limited(limiter, n) for n in range(4)])
    await effect("after")
    return found, limiter.gate._value, limiter.lock.locked(), limiter.names


@playbook
async def nested_limiter():
    limiter = Nested(1)
    found = await asyncio.gather(*[limited(limiter, n) for n in range(3)])
    await effect("after")
    inner = limiter.parts["limits"][0]
    return found, inner.semaphore._value, inner.inside


@playbook
async def by_generator(limiter, make, n):
    async with make(limiter):
        return await effect(n), await effect("second")


@playbook
async def limiter_by_generator():
    limiter = Limiter(2)
    found = await asyncio.gather(*[by_generator(limiter, permitted, n) for n in range(4)])
    await effect("between")
    found += await asyncio.gather(*[by_generator(limiter, permitted_by_a_header, n) for n in range(4)])
    await effect("after")
    return found, limiter.semaphore._value, limiter.inside


@playbook
async def in_a_stack(limiter, n):
    async with contextlib.AsyncExitStack() as stack:
        await effect(("before", n))
        await stack.enter_async_context(limiter)
        found = await effect(n), limiter.inside <= 2
        await stack.enter_async_context(permitted(Limiter(1)))
        return found, await effect("second")


@playbook
async def limiter_in_a_stack():
    limiter = Limiter(2)
    found = await asyncio.gather(*[in_a_stack(limiter, n) for n in range(4)])
    slow = Slow(1)
    found += await asyncio.gather(*[in_a_stack(slow, n) for n in range(2)])
    await effect("after")
    return found, limiter.semaphore._value, limiter.inside, slow.semaphore._value, slow.waiting, slow.left, slow.inside


# --- state ---


class Reentrant:
    """Counts how deep it is."""

    def __init__(self):
        self.depth = 0
        self.deepest = 0

    def __enter__(self):
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        return self.depth

    def __exit__(self, *raised):
        self.depth -= 1


@playbook
async def depths():
    found = []
    reentrant = Reentrant()
    with reentrant:
        found.append((reentrant.depth, await effect("one")))
        with reentrant as depth:
            found.append((reentrant.depth, await effect("two"), depth))
        found.append((reentrant.depth, await effect("three")))
        await effect("four")
        found.append(reentrant.depth)
    return found, reentrant.depth, reentrant.deepest


class Slots:
    __slots__ = ("depth", "last")

    def __init__(self):
        self.depth = 0

    def __enter__(self):
        self.depth += 1
        self.last = self.depth

    def __exit__(self, *raised):
        self.depth -= 1
        del self.last


@playbook
async def slots():
    one = Slots()
    with one:
        found = [one.depth, one.last, await effect("one")]
        await effect("two")
        found += [one.depth, one.last]
    return found, one.depth, hasattr(one, "last")


class Active:
    """Knows who is in it, in all kinds of containers."""

    def __init__(self):
        self.names = set()
        self.order = []
        self.counts = Counter()
        self.by_name = {"nobody": 0}
        self.recent = deque(maxlen=3)
        self.total = 0

    def enter(self, name):
        return Entered(self, name)


class Entered:
    def __init__(self, active, name):
        self.active = active
        self.name = name

    async def __aenter__(self):
        active = self.active
        active.names.add(self.name)
        active.order.append(self.name)
        await asyncio.sleep(0)
        active.counts["in"] += 1
        active.by_name[self.name] = active.total
        active.recent.append(self.name)
        active.total += 1
        return self

    async def __aexit__(self, *raised):
        active = self.active
        active.names.remove(self.name)
        active.order.remove(self.name)
        await asyncio.sleep(0)
        active.counts["in"] -= 1
        del active.by_name[self.name]


@playbook
async def is_active(active, name):
    async with active.enter(name) as entered:
        await effect(name)
        here = name in active.names, active.order.count(name), name in active.by_name, entered.active is active
        await effect((name, "again"))
        return here, active.counts["in"] >= 1


@playbook
async def actives():
    active = Active()
    order, names = active.order, active.names
    found = await asyncio.gather(*[is_active(active, name) for name in "abc"])
    await effect("after")
    aliases = active.order is order, active.names is names
    return found, aliases, active.names, active.order, active.counts["in"], active.by_name, active.total


class Budget:
    """Set by its entry, spent in its body."""

    def __init__(self, amount):
        self.amount = amount
        self.spent = []

    def __enter__(self):
        self.left = self.amount
        self.state = "open"
        self.spent.append("opened")
        return self

    def __exit__(self, *raised):
        self.state = "closed"

    def spend(self, amount):
        self.left -= amount
        self.state = "busy"
        self.spent.append(amount)


@playbook
async def budgets():
    with Budget(100) as budget:
        budget.spend(await effect("one", 10))
        state = budget.left, budget.state, list(budget.spent)
        budget.spend(await effect("two", 20))
        await effect("three")
    return state, budget.left, budget.state, budget.spent


class Pool:
    """Gives one of its things, and takes it back."""

    def __init__(self, things):
        self.free = asyncio.Queue()
        for thing in things:
            self.free.put_nowait(thing)
        self.given = []

    @contextlib.asynccontextmanager
    async def one(self):
        thing = await self.free.get()
        try:
            yield thing
        finally:
            self.free.put_nowait(thing)

    async def __aenter__(self):
        thing = await self.free.get()
        self.given.append(thing)
        return thing

    async def __aexit__(self, *raised):
        self.free.put_nowait(self.given.pop())


class Thing:
    def __init__(self, name):
        self.name = name
        self.used = 0


@playbook
async def uses(pool, n):
    async with pool as thing:
        thing.used += await effect(n, 1)
        same = thing in pool.given
        thing.used += await effect("second", 1)
    async with pool.one() as thing:
        thing.used += await effect("third", 1)
        return same, type(thing).__name__, await effect("fourth")


@playbook
async def pools():
    pool = Pool([Thing("a"), Thing("b")])
    found = await asyncio.gather(*[uses(pool, n) for n in range(3)])
    await effect("after")
    things = [pool.free.get_nowait() for _ in range(pool.free.qsize())]
    return found, sorted(thing.name for thing in things), sum(thing.used for thing in things), pool.given


# --- what belongs to the process, beside what is counted ---


class Line:
    """A live connection."""

    def __reduce__(self):
        raise TypeError("a live connection")

    async def ask(self, n):
        return await effect(n, n)


class Shared:
    """Opened by the first who enters, closed by the last who leaves."""

    def __init__(self):
        self.users = 0
        self.line = None

    async def __aenter__(self):
        if self.users == 0:
            await asyncio.sleep(0)
            self.line = Line()
        self.users += 1
        return self

    async def __aexit__(self, *raised):
        self.users -= 1
        if self.users == 0:
            self.line = None


@playbook
async def asks(shared, n):
    await effect("before", turns=n)
    async with shared:
        first = await shared.line.ask(n)
        return first, await shared.line.ask(n), await shared.line.ask(n)


@playbook
async def opened_by_the_first():
    shared = Shared()
    async with shared:
        first = await shared.line.ask(7)
    found = await asyncio.gather(*[asks(shared, n) for n in range(4)])
    await effect("after")
    return first, found, shared.users, shared.line


class Directory:
    """Goes there and back; the stack of a stdlib manager."""

    def __init__(self, *paths):
        self.paths = paths
        self.old = []

    def __enter__(self):
        self.old.append(os.getcwd())
        os.chdir(self.paths[len(self.old) - 1])

    def __exit__(self, *raised):
        os.chdir(self.old.pop())


@playbook
async def directories(one, two):
    there = Directory(one, two)
    found = [os.getcwd()]
    with there:
        await effect("one")
        found.append((os.getcwd(), len(there.old)))
        with there:
            await effect("two")
            found.append((os.getcwd(), len(there.old)))
        await effect("three")
        found.append((os.getcwd(), len(there.old)))
    with contextlib.chdir(two):
        await effect("four")
        found.append(os.getcwd())
    return found, os.getcwd()


PATCHED = "as it is"
who = contextvars.ContextVar("who", default="nobody")


@playbook
async def patches():
    found = []
    with mock.patch(f"{__name__}.PATCHED", "patched"):
        found.append((PATCHED, await effect("one")))
        found.append((PATCHED, await effect("two")))
    found.append(PATCHED)
    with mock.patch.dict(os.environ, {"WHO": "me"}) as _, decimal.localcontext() as context:
        context.prec = 4
        await effect("three")
        found.append((os.environ["WHO"], await effect("four")))
    return found, "WHO" in os.environ


@playbook
async def logs():
    with structlog.contextvars.bound_contextvars(agent="a"):
        await effect("one")
        found = [structlog.contextvars.get_contextvars()]
        with tempfile.TemporaryDirectory() as _:
            await effect("two")
        with contextlib.redirect_stdout(sys.stderr):
            await effect("three")
            found.append(sys.stdout is sys.stderr)
    return found, structlog.contextvars.get_contextvars()


CASES = [
    limiter_in_a_variable,
    slow_limiter,
    lock_in_a_limiter,
    nested_limiter,
    limiter_by_generator,
    limiter_in_a_stack,
    depths,
    slots,
    actives,
    budgets,
    pools,
    opened_by_the_first,
    patches,
    logs,
]


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_killed_at_every_await_a_manager_is_entered_once(case):
    outcome = same_everywhere(case, between=reset)
    assert outcome == Completed(asyncio.run(case()))


def test_it_leaves_nothing_behind():
    to_end(Agent("a", persist=Store().persist).start(slow_limiter))


def test_a_manager_that_goes_to_a_directory_comes_back_to_where_its_process_is(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    outcome = same_everywhere(directories, str(tmp_path / "one"), str(tmp_path / "two"), between=reset)
    assert isinstance(outcome, Completed) and [Path(str(one[0])).name for one in outcome.value[0][1:4]] == [
        "one",
        "two",
        "one",
    ]


# --- a manager that says itself how it is entered again ---


class Seat:
    """Notes what it is asked."""

    def __init__(self):
        self.asked = []

    async def __aenter__(self):
        self.asked.append("enter")

    async def __areenter__(self):
        self.asked.append("enter again")

    async def __aexit__(self, *raised):
        self.asked.append("exit")


class Turn(Seat):
    def __enter__(self):
        self.asked.append("enter")

    def __reenter__(self):
        self.asked.append("enter again")

    def __exit__(self, *raised):
        self.asked.append("exit")


@playbook
async def seated():
    seat, turn = Seat(), Turn()
    async with seat:
        await effect("one")
    with turn:
        await effect("two")
    return seat.asked, turn.asked


def test_a_manager_may_say_itself_how_it_is_entered_again():
    expected, resumed = kill_everywhere(seated)
    once, again = ["enter", "exit"], ["enter", "enter again", "exit"]
    assert expected == Completed((once, once))
    assert [outcome.value for _, outcome in resumed] == [(again, once), (once, again)]


# --- an object in a variable whose parts cannot be saved ---


class Half:
    """Holds a live connection from its beginning."""

    def __init__(self):
        self.line = Line()
        self.entered = 0

    async def __aenter__(self):
        self.line = Line()
        self.entered += 1
        return self

    async def __aexit__(self, *raised):
        self.entered -= 1


@playbook
async def half():
    one = Half()
    async with one:
        first = await one.line.ask(1)
        return first, await one.line.ask(2), one.entered


def test_a_manager_in_a_variable_that_can_be_saved_in_part_is_entered_again():
    assert same_everywhere(half) == Completed((1, 2, 1))


@playbook
async def in_a_module_level_one():
    async with SHARED:
        return await effect("one"), await effect("two")


SHARED = Limiter(1)


def test_a_manager_at_module_level_belongs_to_the_process():
    global SHARED
    for number in (1, 2):
        store = Store(number)
        assert start(in_a_module_level_one, store=store) is None
        SHARED = Limiter(1)
        assert resume(store.payloads[-1]) == Completed(("one", "two"))
        assert (SHARED.semaphore._value, SHARED.inside) == (1, 0)


# --- what need not be looked at ---


class Idle:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        pass


class Signed:
    """Its entry only looks as if it changed nothing."""

    def __init__(self):
        self.entries = 0

    async def __aenter__(self):
        return +self

    def __pos__(self):
        self.entries += 1
        return self

    async def __aexit__(self, *raised):
        async with Idle():
            self.entries += 10


class Awaited:
    """Its entry is no coroutine function, and what it answers changes something."""

    def __init__(self):
        self.entries = 0

    def __aenter__(self):
        return self

    def __await__(self):
        self.entries += 1
        yield from asyncio.sleep(0).__await__()
        return self

    async def __aexit__(self, *raised):
        self.entries += 10
        await asyncio.sleep(0)


@playbook
async def each_once(kinds):
    found = []
    for kind in kinds:
        manager = kind()
        async with manager as same:
            await effect("one")
            found.append((same is manager, getattr(manager, "entries", None)))
            await effect("two")
        found.append(getattr(manager, "entries", None))
    return found


def test_an_entry_counts_once_whatever_its_code_looks_like():
    expected = [(True, None), None, (True, 1), 11, (True, 1), 11]
    assert same_everywhere(each_once, (Idle, Signed, Awaited)) == Completed(expected)


@contextlib.contextmanager
def precisely(digits):
    with decimal.localcontext() as context:
        context.prec = digits
        yield context


@playbook
async def reckons():
    found = []
    with decimal.localcontext() as outer:
        outer.prec = 5
        await effect("one")
        found.append(str(decimal.Decimal(1) / 3))
        outer.rounding = decimal.ROUND_UP
        outer.traps[decimal.Inexact] = False
        with precisely(7) as inner:
            inner.prec += 2
            await effect("two")
            found.append((str(decimal.Decimal(1) / 3), inner.prec, inner.flags[decimal.Inexact]))
        with decimal.localcontext():
            decimal.getcontext().prec = 3
            await effect("three")
            found.append(str(decimal.Decimal(1) / 3))
        await effect("four")
        found.append((str(decimal.Decimal(1) / 3), outer.prec, outer is decimal.getcontext()))
    return found


def test_a_context_of_decimal_is_set_as_its_block_had_set_it():
    expected = ["0.33333", ("0.333333334", 9, True), "0.334", ("0.33334", 5, True)]
    assert same_everywhere(reckons) == Completed(expected)


# --- managers defined inside a playbook ---


@playbook
async def spanned():
    depth, log = 0, []

    @contextlib.contextmanager
    def span(name):
        nonlocal depth
        depth += 1
        log.append(f"+{name}")
        try:
            yield depth
        finally:
            depth -= 1
            log.append(f"-{name}")

    class Counted:
        async def __aenter__(self):
            log.append("in")
            return self

        async def __aexit__(self, *raised):
            log.append("out")

    with span("a") as outer:
        await effect("one")
        depth += 10
        await effect("two")
        with span("b") as inner:
            log.append(await effect("three"))
        depth -= 10
        async with Counted():
            await effect("four")
    return depth, outer, inner, log


def test_a_manager_defined_inside_a_playbook_shares_its_variables_with_it_and_counts_once():
    expected = 0, 1, 12, ["+a", "+b", "three", "-b", "in", "out", "-a"]
    assert same_everywhere(spanned) == Completed(expected)


@playbook
async def in_a_span(span):
    async with span("child") as number:
        await effect("one")
        return number, await effect("two")


@playbook
async def passing_a_manager_on():
    log, count = [], 0

    @contextlib.asynccontextmanager
    async def span(name):
        nonlocal count
        count += 1
        log.append(name)
        yield count
        log.append(f"/{name}")

    found = await asyncio.gather(in_a_span(span), in_a_span(span), in_a_span(lambda _: span("other")))
    return found, log, count


def test_a_manager_shares_the_variables_of_the_playbook_that_has_defined_it_wherever_it_is_entered():
    assert same_everywhere(passing_a_manager_on).value[2] == 3
