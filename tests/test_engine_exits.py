"""The exit of an `async with` is a site: others checkpoint while it is in flight, and a resume goes on in it.

The header is entered again, its body is left as it was left, and `__aexit__` is called on the fresh manager.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed, Failed, Stopped

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, kill_everywhere, resume, same_everywhere, start, to_end  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOG: list[object] = []
SIGNALS: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def fresh():
    reset()


def reset():
    LOG.clear()
    SIGNALS.clear()


async def effect(name, value=None, turns=1, error=None):
    LOG.append(name)
    for _ in range(turns):
        await asyncio.sleep(0)
    if error is not None:
        raise error
    return name if value is None else value


@playbook
async def step(name):
    first = await effect((name, 1))
    return first, await effect((name, 2))


class Own(Exception):
    pass


class Slow:
    """Takes its time to leave; notes how it was left."""

    def __init__(self, seen, name="slow", turns=4, swallows=(), error=None):
        self.seen = seen
        self.name = name
        self.turns = turns
        self.swallows = swallows
        self.error = error

    def __reduce__(self):
        raise TypeError("slow")

    async def __aenter__(self):
        await asyncio.sleep(0)
        LOG.append(("open", self.name))
        return self

    async def __aexit__(self, kind, error, trace):
        LOG.append(("leaving", self.name, kind and kind.__name__))
        assert error is None or (type(error) is kind and error.__traceback__ is trace)
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.seen.append((self.name, kind and kind.__name__, error and error.args))
        if self.error is not None:
            raise self.error
        return kind is not None and issubclass(kind, self.swallows)


# --- others while it is in flight ---


class WaitsFor:
    """As a task group does: it is left when somebody else has come so far."""

    def __init__(self, name):
        self.name = name

    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        LOG.append(("leaving", self.name))
        await SIGNALS.setdefault(self.name, asyncio.Event()).wait()


@playbook
async def leaves(name):
    async with WaitsFor(name):
        await effect("inside")
    return await effect("outside")


@playbook
async def lets_leave(name):
    for n in range(6):
        await effect(("before", n))
    SIGNALS.setdefault(name, asyncio.Event()).set()
    return await effect("signalled")


@playbook
async def waits_for_a_sibling():
    return await asyncio.gather(leaves("x"), lets_leave("x"))


def test_an_exit_may_wait_for_what_another_branch_does_after_a_checkpoint():
    assert start(waits_for_a_sibling) == Completed(["outside", "signalled"])


def test_other_branches_checkpoint_while_an_exit_is_in_flight():
    store = Store()
    start(waits_for_a_sibling, store=store)
    inside = [moment for moment in store.moments if "async with WaitsFor(name)" in moment.stack_json]
    assert len(inside) > 2


# --- killed in it ---


@playbook
async def ticks(turns=14):
    for n in range(turns):
        await effect(("tick", n))


@playbook
async def falls_through(seen):
    async with Slow(seen):
        seen.append(await effect("body"))
    seen.append(await effect("after"))
    return seen


@playbook
async def returns(seen, n):
    async with Slow(seen, "outer"), Slow(seen, "inner", swallows=(Exception,)):
        if n == 0:
            return [await effect("awaited"), seen]
        if n == 1:
            return
        if n == 2:
            return "plain"
        raise Own(n)
    return "swallowed"


@playbook
async def every_return(seen):
    return [await returns(seen, n) for n in range(4)], seen


@playbook
async def leaves_loops(seen):
    for n in range(5):
        async with Slow(seen, n, turns=2):
            if n == 1:
                continue
            if n == 3:
                break
            seen.append(await effect(("turn", n)))
        seen.append(("end of turn", n))
    else:
        seen.append("never")
    return seen


@playbook
async def raises(seen):
    for n in range(4):
        try:
            async with Slow(seen, n, swallows=(KeyError,), error=Own("of the exit") if n == 3 else None):
                await effect("body")
                if n == 0:
                    raise KeyError("swallowed")
                if n == 1:
                    raise LookupError("passes")
                if n == 3:
                    raise ValueError("first")
            seen.append(await effect(("after", n)))
        except (LookupError, Own) as error:
            seen.append((type(error).__name__, error.args, type(error.__context__).__name__))
            seen.append(await effect(("caught", n)))
            seen.append(type(error.__context__).__name__)
    return seen


@playbook
async def no_await_in_the_body(seen):
    async with Slow(seen):
        seen.append("body")
    async with Slow(seen, "two") as slow:
        seen.append(slow.name)
        slow = None
        return seen


@playbook
async def in_finally_in_loop(seen):
    for n in range(3):
        try:
            async with Slow(seen, ("body", n)):
                if n == 1:
                    continue
                seen.append(await effect(("turn", n)))
        finally:
            async with Slow(seen, ("finally", n), swallows=(Own,)):
                try:
                    await effect(("in the finally", n))
                    if n == 2:
                        raise Own("swallowed")
                    if n == 0:
                        break
                finally:
                    seen.append(await effect(("deepest", n)))
            with suppress(KeyError):
                async with Slow(seen, ("last", n)):
                    raise KeyError("suppressed")
    return seen


@playbook
async def returns_through_all(seen, n):
    try:
        async with Slow(seen, "one"):
            try:
                async with Slow(seen, "two"):
                    for _ in range(2):
                        with suppress(LookupError):
                            if n:
                                raise Own(n)
                            return await effect("value"), seen
            finally:
                seen.append(await effect("between"))
    except Own:
        seen.append(await effect("handler"))
        async with Slow(seen, "in the handler"):
            return "from the handler", seen
    finally:
        seen.append(await effect("at last"))


@playbook
async def both_ways(seen):
    return [(await returns_through_all([], n)) for n in range(2)]


@asynccontextmanager
async def generated(name):
    await effect(("opening", name))
    try:
        yield name
    except KeyError:
        LOG.append("swallowed")
    finally:
        await step(("closing", name))
        await effect(("closed", name))


@playbook
async def calls_playbooks_while_it_is_left(seen):
    async with generated("one") as one:
        await effect(("inside", one))
        async with generated("two"):
            raise KeyError
        seen.append("swallowed")
    seen.append(await step("after"))
    return seen


@playbook
async def in_a_handler(seen):
    try:
        raise Own("outer")
    except Own as outer:
        async with Slow(seen):
            seen.append(sys.exception() is outer)
        seen.append((await effect("handler"), sys.exception() is outer))
        try:
            async with Slow(seen, "raising"):
                raise
        except Own as again:
            seen.append((again is outer, await effect("again")))
    return seen


CASES = [
    falls_through,
    every_return,
    leaves_loops,
    raises,
    no_await_in_the_body,
    in_finally_in_loop,
    both_ways,
    calls_playbooks_while_it_is_left,
    in_a_handler,
]


@playbook
async def alone(case):
    return await case([])


@playbook
async def accompanied(case):
    return (await asyncio.gather(case([]), ticks(30)))[0]


@pytest.mark.parametrize("how", [alone, accompanied], ids=lambda p: p.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_killed_at_every_checkpoint_the_block_is_left_as_it_was_left(case, how):
    outcome = same_everywhere(how, case, reset=reset)
    reset()
    assert outcome == Completed(asyncio.run(case([])))


@playbook
async def leaves_slowly(seen):
    async with Slow(seen, turns=20):
        seen.append(await effect("body"))


def test_the_body_does_not_run_again_and_the_exit_does():
    store = Store()
    start(accompanied, leaves_slowly, store=store)
    numbers = [n for n, moment in enumerate(store.moments) if "async with Slow(seen, turns" in moment.stack_json]
    assert len(numbers) > 2
    for number in numbers:
        reset()
        resume(store.payloads[number])
        assert LOG.count(("open", "slow")) == LOG.count(("leaving", "slow", None)) == 1
        assert number == numbers[0] or "body" not in LOG  # the first may be its entering


def test_an_exit_that_suspended_does_not_run_again_once_another_effect_has_begun():
    store = Store()
    start(alone, falls_through, store=store)
    after = [n for n, moment in enumerate(store.moments) if "after" in moment.stack_json]
    assert after
    for number in after:
        reset()
        assert isinstance(resume(store.payloads[number]), Completed)
        assert ("leaving", "slow", None) not in LOG


class Instant:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        LOG.append("left")


@playbook
async def never_suspends():
    async with Instant():
        await effect("inside")
    return await effect("after")


def test_an_exit_that_never_suspends_is_no_checkpoint():
    store = Store()
    start(never_suspends, store=store)
    assert len(store.payloads) == 2


# --- stopped and cancelled in it ---


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"never: {LOG}")


@playbook
async def stays_in_its_exit():
    try:
        async with WaitsFor("never"):
            await effect("inside")
        LOG.append("statement")
    except BaseException:
        LOG.append("statement")
    finally:
        LOG.append("statement")
        await effect("never")


@pytest.mark.parametrize("how", ["stop", "cancel", "end of the loop"])
def test_an_agent_that_dies_in_an_exit_runs_no_statement(how):
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(stays_in_its_exit))
        await until(lambda: ("leaving", "never") in LOG)
        if how == "stop":
            await agent.stop("enough")
            assert await running == Stopped("enough")
        elif how == "cancel":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    to_end(main())
    assert "statement" not in LOG and "never" not in LOG


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_handed_over_at_every_checkpoint(case):
    expected = start(accompanied, case)

    async def main():
        store, payload = Store(), None
        for _ in range(500):
            agent = Agent("a", persist=store.persist)
            agent.stop_at_checkpoint("drain")
            outcome = await (agent.start(accompanied, [case]) if payload is None else agent.resume(payload))
            if outcome != Stopped("drain"):
                return outcome
            payload = store.payloads[-1]
        raise AssertionError("no progress")

    assert to_end(main()) == expected


@playbook
async def cancelled_in_its_exit(seen):
    try:
        async with Slow(seen, turns=30):
            await effect("inside")
    except asyncio.CancelledError:
        seen.append(await effect("cancelled"))
        raise
    finally:
        seen.append(await effect("cleaning"))


async def cancels(seen):
    task = asyncio.ensure_future(cancelled_in_its_exit(seen))
    await until(lambda: ("leaving", "slow", None) in LOG)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"


@playbook
async def with_a_canceller():
    seen = []
    return await cancels(seen), seen


def test_a_cancellation_reaches_an_exit_in_flight():
    assert start(with_a_canceller) == Completed(("cancelled", ["cancelled", "cleaning"]))


# --- tracebacks ---


@playbook
async def fails(seen):
    async with Slow(seen):
        await effect("one")
        raise Own("here")  # the line


def without_carets(text):
    """A checkpoint keeps lines and not columns."""
    return [line for line in text.splitlines() if line.strip(" ^~")]


def test_the_traceback_shows_the_lines_of_the_user_also_after_a_kill():
    expected, resumed = kill_everywhere(accompanied, fails, reset=reset)
    assert isinstance(expected, Failed)
    assert "# the line" in expected.traceback
    for _, outcome in resumed:
        assert isinstance(outcome, Failed)
        assert without_carets(outcome.traceback) == without_carets(expected.traceback)


class FailsToClose:
    def __enter__(self):
        return self

    def __exit__(self, *raised):
        if raised[0] is not None:
            raise Own("closing")


@playbook
async def fails_as_it_is_closed():
    async with Slow([], name="outer"):
        with FailsToClose():
            return await effect("inside", turns=5), await effect("last")


def test_what_fails_as_a_collector_closes_it_lets_no_other_exit_begin():
    """Given a manager inside another whose exit fails in a frame that a collector closes, Then nobody awaits the other's
    exit: there is no loop, and no task (the harness looks where the collector left)."""
    expected, resumed = kill_everywhere(fails_as_it_is_closed)
    assert isinstance(expected, Completed)
    assert [outcome for _, outcome in resumed] == [expected] * len(resumed)
