"""`with` and `async with` in playbooks: what they open is opened again after a kill, and belongs to whoever holds it."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from playbooks_worker import NotRestoredError, playbook
from playbooks_worker.engine import Blocked, Completed, Failed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, kill_everywhere, resume, same_everywhere, start, to_end  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOG: list[object] = []


@pytest.fixture(autouse=True)
def fresh():
    reset()


def reset():
    LOG.clear()
    fresh_locks()


def fresh_locks():
    LOCKS.update(lock=asyncio.Lock(), limit=asyncio.Semaphore(2))


LOCKS = {}


async def effect(name, value=None, turns=1, error=None):
    LOG.append(name)
    for _ in range(turns):
        await asyncio.sleep(0)
    if error is not None:
        raise error
    return name if value is None else value


class Conn:
    """Cannot be saved."""

    def __init__(self, path, parent=None):
        self.path = path
        self.parent = parent
        self.opened = False

    def __reduce__(self):
        raise TypeError("a live connection")

    def __enter__(self):
        self.opened = True
        return self

    def __exit__(self, *raised):
        self.opened = False

    async def __aenter__(self):
        await asyncio.sleep(0)
        assert self.parent is None or self.parent.opened
        return self.__enter__()

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)
        self.__exit__()

    async def query(self, n):
        assert self.opened
        return await effect(("query", self.path, n), f"{self.path}:{n}")


@playbook
async def ask(conn, n):
    held = [conn]
    await effect(("ask", n))
    return await held[0].query(n)


# --- targets ---


@playbook
async def shared_with_branches():
    async with Conn("c") as conn:
        found = await asyncio.gather(ask(conn, 1), ask(conn, 2), conn.query(3))
        found.append(await ask(conn, 4))
    conn = None
    return found


@playbook
async def opens_and_shares(box):
    async with Conn("mine") as conn:
        box.append(conn)
        box.append(("pair", conn, {"deep": conn}))
        await effect("opened", turns=6)
        first = await conn.query(1)
        while box:
            await effect("in use")
    conn = None
    return first


@playbook
async def takes_from(box):
    while not box:
        await effect("look")
    conn = box[0]
    pair = box[1]
    await effect("took")
    found = await conn.query(2), await pair[1].query(3), await pair[2]["deep"].query(4)
    conn = pair = None
    box.clear()
    await effect("gave back")
    return found


@playbook
async def siblings_share():
    box = []
    return await asyncio.gather(takes_from(box), opens_and_shares(box))


@contextmanager
def pair(path):
    with Conn(path + "1") as one, Conn(path + "2") as two:
        yield one, (two.path, 7), two


@playbook
async def tuple_targets():
    with pair("p") as (one, data, two):
        found = [await one.query(1), await two.query(2), data]
        kept = (one, two)
        found.append(await kept[1].query(3))
        kept = None
    one = two = None
    return found


@playbook
async def nested_headers():
    async with Conn("outer") as outer, Conn("inner", parent=outer) as inner:
        with Conn("third", outer) as third:
            found = [await inner.parent.query(1), third.parent is outer, inner.parent is outer]
            found.append(await ask(third.parent, 2))
        third = None
    outer = inner = None
    return found


class Holder:
    pass


@playbook
async def attribute_targets():
    holder = Holder()
    with Conn("h") as holder.conn:
        first = await holder.conn.query(1)
        second = await ask(holder.conn, 2)
    holder.conn = None
    return first, second


@playbook
async def in_loops_and_handlers():
    seen = []
    for n in range(3):
        with Conn(f"loop{n}") as conn:
            if n == 1:
                continue
            seen.append(await conn.query(n))
            try:
                async with Conn("in try"):
                    await effect("raises", error=KeyError(n))
            except KeyError as error:
                with Conn("handler") as third:
                    seen.append((await third.query(n), error.args, await ask(conn, n)))
                third = None
        conn = None
    return seen


@playbook
async def rebinds():
    with Conn("one") as conn:
        conn = "something else"
        first = await effect("a")
        return first, conn, await effect("b")


@playbook
async def swaps():
    with Conn("one") as one, Conn("two") as two:
        one, two = two, one
        found = [await one.query(1), await two.query(2)]
        again = one
        found.append(await again.query(3))
    one = two = again = None
    return found


@playbook
async def in_closures():
    with Conn("cell") as conn:

        def get():
            return conn

        found = [await get().query(1)]
        found.append(await ask(get(), 2))
        conn = None
    return found


@playbook
async def target_in_an_exception():
    try:
        with Conn("e") as conn:
            await effect("one")
            raise LookupError(conn.path)
    except LookupError as error:
        conn = None
        return await effect("two"), error.args


@playbook
async def standard_managers():
    seen = []
    with suppress(KeyError):
        await effect("k", error=KeyError("k"))
        seen.append("never")
    with nullcontext([1]) as items:
        items.append(await effect("item"))
    seen.append(items)
    async with open_later("later") as name:
        seen.append((name, await effect("inside")))
    return seen


@asynccontextmanager
async def open_later(name):
    await effect(("opening", name))
    try:
        yield name
    finally:
        await effect(("closing", name))


CASES = [
    shared_with_branches,
    siblings_share,
    tuple_targets,
    nested_headers,
    attribute_targets,
    in_loops_and_handlers,
    rebinds,
    swaps,
    in_closures,
    target_in_an_exception,
    standard_managers,
]


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_killed_at_every_await_headers_are_entered_again(case):
    outcome = same_everywhere(case, reset=reset)
    reset()
    assert outcome == Completed(asyncio.run(case()))


# --- managers that call playbooks, or start tasks ---


class Session:
    """Logs in and out by playbooks, and keeps a task of its own meanwhile."""

    def __init__(self):
        self.beats = 0

    async def __aenter__(self):
        self.token = await login("user")
        self.task = asyncio.create_task(self.beat())
        return self

    def __reduce__(self):
        raise TypeError("a session")

    async def beat(self):
        while True:
            await asyncio.sleep(0)
            self.beats += 1

    async def __aexit__(self, *raised):
        self.task.cancel()
        await asyncio.wait([self.task])
        await asyncio.wait_for(logout(self.token), 5)
        await asyncio.gather(logout("other"), effect("closed"))


@playbook
async def login(user):
    return await effect(("login", user)) and f"token of {user}"


@playbook
async def logout(token):
    with nullcontext():
        return await effect(("logout", token))


async def logs_in_again():
    return await login("second")


@playbook
async def in_a_session():
    async with Session() as session:
        found = [await effect("one"), session.token, await logs_in_again(), await login("third")]
    session = None
    await effect("after")
    return found


def test_a_manager_may_call_playbooks_and_keep_a_task():
    expected = Completed(["one", "token of user", "token of second", "token of third"])
    assert same_everywhere(in_a_session, reset=reset) == expected


def test_what_its_exit_did_is_not_done_again():
    store = Store()
    start(in_a_session, store=store)
    after = [
        payload for payload, moment in zip(store.payloads, store.moments, strict=False) if "after" in moment.stack_json
    ]
    reset()
    resume(after[-1])
    assert ("logout", "token of user") not in LOG


class Background:
    def __enter__(self):
        self.task = asyncio.get_running_loop().create_task(asyncio.sleep(3600))
        return self

    def __exit__(self, *raised):
        self.task.cancel()

    def __reduce__(self):
        raise TypeError("background")


@playbook
async def with_background():
    with Background() as background:
        found = await effect("one"), background.task.done(), await effect("two")
    background = None
    return found


def test_a_manager_may_start_a_task_when_it_is_entered():
    assert same_everywhere(with_background, reset=reset) == Completed(("one", False, "two"))


# --- entering and leaving as the instant of death ---


class Slow:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        raise TypeError("slow")

    async def __aenter__(self):
        await effect(("entering", self.name), turns=4)
        return self

    async def __aexit__(self, *raised):
        await effect(("leaving", self.name), turns=4)


@playbook
async def enters_slowly(name):
    async with Slow(name):
        await effect(("inside", name))
    return await effect(("outside", name))


@playbook
async def beside_a_slow_one():
    return await asyncio.gather(enters_slowly("x"), ticks())


@playbook
async def ticks():
    for n in range(12):
        await effect(("tick", n))


def test_killed_while_another_branch_enters_or_leaves():
    store = Store()
    assert start(beside_a_slow_one, store=store) == Completed([("outside", "x"), None])
    states = [moment.stack_json for moment in store.moments]
    assert any("async with Slow(name)" in state for state in states), states
    same_everywhere(beside_a_slow_one, reset=reset)


class Refuses:
    """Can be entered once in a life."""

    def __enter__(self):
        if "entered" in LOG:
            raise ConnectionError("no second time")
        LOG.append("entered")

    def __exit__(self, *raised):
        pass


@playbook
async def refused_the_second_time():
    with Refuses():
        await effect("one")
        return await effect("two")


def test_a_header_that_cannot_be_entered_again_blocks_the_agent_and_says_where():
    store = Store()
    assert start(refused_the_second_time, store=store) == Completed("two")
    LOG[:] = ["entered"]
    outcome = resume(store.payloads[0])
    assert isinstance(outcome, Blocked)
    for part in ("with Refuses()", "test_engine_headers.py", "ConnectionError: no second time"):
        assert part in outcome.why, outcome.why
    LOG.clear()
    assert resume(store.payloads[0]) == Completed("two")


@playbook
async def handles_what_a_header_raises(kind):
    try:
        if kind == "with":
            with Refuses():
                await effect("one")
                return await effect("two")
        else:
            async with RefusesAsync():
                await effect("one")
                return await effect("two")
    except ConnectionError:
        return await effect("the program gave up")
    finally:
        LOG.append("finally")
        await effect("cleaned")


class RefusesAsync(Refuses):
    async def __aenter__(self):
        await asyncio.sleep(0)
        return self.__enter__()

    async def __aexit__(self, *raised):
        pass


@pytest.mark.parametrize("kind", ["with", "async with"])
def test_a_header_that_is_down_for_a_while_does_not_end_a_program_that_had_passed_it(kind):
    """The outage is not the program's: its handlers do not see it, and nothing is lost."""
    store = Store()
    assert start(handles_what_a_header_raises, kind, store=store) == Completed("two")
    at = next(n for n, moment in enumerate(store.moments) if "one" in moment.stack_json)
    for _ in range(3):
        LOG[:] = ["entered"]
        outcome = resume(store.payloads[at])
        assert isinstance(outcome, Blocked) and "cannot be entered again" in outcome.why
        assert LOG == ["entered"]
    LOG.clear()
    assert resume(store.payloads[at]) == Completed("two")


# --- locks ---


@playbook
async def holds(name, order):
    async with LOCKS["lock"]:
        order.append(("in", name))
        await effect(name)
        await effect((name, 2))
        order.append(("out", name))
    return name


@playbook
async def many_hold():
    order = []
    await asyncio.gather(*[holds(n, order) for n in range(3)])
    return order


def alternates(order):
    return all(one[0] == "in" and two == ("out", one[1]) for one, two in zip(order[::2], order[1::2], strict=True))


def test_who_held_a_lock_holds_it_after_a_resume_and_the_others_wait():
    expected, resumed = kill_everywhere(many_hold, reset=reset, between=fresh_locks)
    assert isinstance(expected, Completed) and alternates(expected.value)
    for number, outcome in resumed:
        assert isinstance(outcome, Completed) and alternates(outcome.value), (number, outcome)
        assert len(outcome.value) == 6


@playbook
async def limited(limit, running, n):
    async with limit:
        running.append(n)
        assert len(running) <= 2
        await effect(("limited", n))
        running.remove(n)
    return n


async def plain_limited(lock, n):
    async with lock:
        return await leaf(n)


@playbook
async def leaf(n):
    return await effect(("leaf", n), n)


@playbook
async def local_semaphore():
    limit, running = asyncio.Semaphore(2), []
    return await asyncio.gather(*[limited(limit, running, n) for n in range(5)]), len(running)


@playbook
async def local_lock_in_helpers():
    lock = asyncio.Lock()
    found = await asyncio.gather(*[plain_limited(lock, n) for n in range(3)], leaf(9))
    return found, lock.locked()


@playbook
async def local_lock_by_hand():
    lock = asyncio.Lock()
    await lock.acquire()
    try:
        await effect("held")
        held = lock.locked()
        await effect("still held")
    finally:
        lock.release()
    return held, lock.locked()


@playbook
async def producer(queue):
    for n in range(3):
        await queue.put(await effect(("made", n), n + 1))
    await queue.put(None)


@playbook
async def consumer(queue):
    found = []
    while (item := await queue.get()) is not None:
        found.append(await effect(("used", item), item))
    return found


@playbook
async def local_queue():
    queue = asyncio.Queue(1)
    return await asyncio.gather(consumer(queue), producer(queue))


@playbook
async def waits_for(event):
    await event.wait()
    return await effect("woken")


@playbook
async def sets(event):
    await effect("before")
    await effect("then", turns=3)
    event.set()
    return await effect("set")


@playbook
async def local_event():
    event = asyncio.Event()
    return await asyncio.gather(waits_for(event), sets(event)), event.is_set()


@playbook
async def takes_what_is_there(condition, items):
    found = []
    while len(found) < 3:
        async with condition:
            while not items:
                await condition.wait()
            found.append(await effect(("took", items[0]), items.pop(0)))
    return found


@playbook
async def puts_and_tells(condition, items):
    for n in range(3):
        async with condition:
            items.append(await effect(("put", n), n + 1))
            condition.notify()
            await effect(("told", n))


@playbook
async def local_condition():
    condition, items = asyncio.Condition(), []
    return await asyncio.gather(takes_what_is_there(condition, items), puts_and_tells(condition, items))


@playbook
async def works_through(queue, found):
    while True:
        item = await queue.get()
        found.append(await effect(("working on", item), item))
        queue.task_done()


@playbook
async def local_queues_of_every_kind():
    best, last, plain = asyncio.PriorityQueue(), asyncio.LifoQueue(2), asyncio.Queue()
    for n in (3, 1, 2):
        best.put_nowait((n, "best"))
        plain.put_nowait(n)
    last.put_nowait("a")
    last.put_nowait("b")
    found = []
    workers = [asyncio.create_task(works_through(plain, found)) for _ in range(2)]
    await plain.join()
    for worker in workers:
        worker.cancel()
    order = [(await best.get())[0], await last.get(), (await best.get())[0]]
    return sorted(found), order, best.qsize(), last.full(), last.maxsize, plain.empty()


@playbook
async def local_bounded_semaphore():
    limit = asyncio.BoundedSemaphore(2)
    await limit.acquire()
    await effect("one")
    async with limit:
        inside = limit.locked()
        await effect("two")
    limit.release()
    await effect("three")
    try:
        limit.release()
    except ValueError as error:
        return inside, str(error)


@playbook
async def meets(barrier):
    await effect("before")
    return await barrier.wait()


@playbook
async def local_barrier():
    barrier = asyncio.Barrier(2)
    return sorted(await asyncio.gather(meets(barrier), meets(barrier)))


def test_a_barrier_is_not_saved_since_nobody_knows_who_has_passed_it():
    expected, resumed = kill_everywhere(local_barrier, reset=reset)
    assert expected == Completed([0, 1])
    failed = [outcome.error for _, outcome in resumed if isinstance(outcome, Failed)]
    assert failed and all(isinstance(error, NotRestoredError) and "Barrier" in str(error) for error in failed)


@pytest.mark.parametrize(
    "case",
    [
        *(local_condition, local_semaphore, local_lock_in_helpers, local_lock_by_hand, local_queue, local_event),
        *(local_queues_of_every_kind, local_bounded_semaphore),
    ],
    ids=lambda p: p.__name__,
)
def test_locks_queues_and_events_of_a_playbook_are_saved(case):
    outcome = same_everywhere(case, reset=reset)
    assert outcome == Completed(asyncio.run(case()))


THREAD_LOCK = threading.Lock()


@playbook
async def sync_lock():
    with THREAD_LOCK:
        first = await effect("one")
        return first, THREAD_LOCK.locked(), await effect("two")


def test_a_module_level_thread_lock_in_a_header():
    def between():
        if THREAD_LOCK.locked():  # the killed process had it
            THREAD_LOCK.release()

    assert same_everywhere(sync_lock, reset=reset, between=between) == Completed(("one", True, "two"))


# --- what cannot be saved ---


@playbook
async def uses_it_afterwards():
    with Conn("closed") as conn:
        await effect("inside")
    await effect("after")
    return conn.path


def test_a_target_that_is_used_after_its_header_and_a_crash_is_an_error_that_says_what_to_do():
    store = Store()
    assert start(uses_it_afterwards, store=store) == Completed("closed")
    assert [type(resume(payload)) for payload in store.payloads] == [Completed, Failed]
    text = str(resume(store.payloads[1]).error)
    for part in ("conn (", "Conn", "uses_it_afterwards", "test_engine_headers.py", "with"):
        assert part in text, text


@playbook
async def closes():
    with closing(Closable()) as thing:
        return await effect("one"), thing.closed


class Closable:
    closed = False

    def close(self):
        self.closed = True


def test_closing():
    assert same_everywhere(closes, reset=reset) == Completed(("one", False))


class NotAManager:
    pass


@playbook
async def wrong_managers(kind):
    if kind == "with":
        with NotAManager():
            await effect("never")
    async with NotAManager():
        await effect("never")


@pytest.mark.parametrize("kind", ["with", "async with"])
def test_what_is_no_manager_is_a_type_error_as_in_python(kind):
    outcome = start(wrong_managers, kind)
    assert isinstance(outcome, Failed) and isinstance(outcome.error, TypeError)
    assert "protocol" in str(outcome.error)


@pytest.mark.parametrize("case", [*CASES, in_a_session, beside_a_slow_one], ids=lambda p: p.__name__)
def test_headers_leave_nothing_behind(case):
    async def main():
        from playbooks_worker.engine import Agent

        assert isinstance(await Agent("a", persist=Store().persist).start(case), Completed)

    to_end(main())


class Shared:
    """A manager that brings itself, as limiters and gates do; several branches are in it at once."""

    def __init__(self):
        self.names = []

    async def __aenter__(self):
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)


@playbook
async def in_shared(shared, name):
    async with shared:
        shared.names.append(await effect(name))
        async with shared as again:
            again.names.append(await effect((name, "again")))
    return shared


@playbook
async def share():
    shared = Shared()
    found = await asyncio.gather(*[in_shared(shared, n) for n in range(4)])
    await effect("after")
    return all(one is shared for one in found), sorted(map(str, shared.names))


def test_a_manager_that_brings_itself_is_entered_by_several_branches_again():
    outcome = same_everywhere(share)
    assert isinstance(outcome, Completed) and outcome.value[0] and len(outcome.value[1]) == 8
