"""`finally` with awaits: after a kill at any await of one, its block is left again as it was left, whatever way that was."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed, Failed, Stopped

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, kill_everywhere, resume, same_everywhere, start, to_end  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOG: list[object] = []


@pytest.fixture(autouse=True)
def reset():
    LOG.clear()


async def effect(name, value=None, turns=1, error=None):
    LOG.append(name)
    for _ in range(turns):
        await asyncio.sleep(0)
    if error is not None:
        raise error
    return name if value is None else value


class Own(Exception):
    def __init__(self, code, detail):
        super().__init__(f"{code}: {detail}")
        self.code = code


def chain(error):
    """What can be seen of an exception: its links, down to the first."""
    if error is None:
        return None
    links = chain(error.__cause__), chain(error.__context__), error.__suppress_context__
    return type(error).__name__, error.args, getattr(error, "__notes__", None), links


# --- each way out ---


@playbook
async def falls_through():
    seen = []
    try:
        seen.append(await effect("body"))
    finally:
        seen.append(await effect("one"))
        seen.append(await effect("two"))
    seen.append(await effect("after"))
    return seen


@playbook
async def returns(seen, n):
    try:
        if n == 0:
            return await effect("awaited")
        if n == 1:
            return seen
        if n == 2:
            return
        try:
            await effect("inner body")
            return [await effect("first"), n]
        finally:
            seen.append("no await")
    finally:
        seen.append(await effect(("finally", n)))
        seen.append(await effect(("again", n)))
    return "never"


@playbook
async def every_return():
    seen = []
    return [await returns(seen, n) for n in range(4)], seen


@playbook
async def raises(seen, n):
    try:
        await effect("body")
        if n == 0:
            raise Own(1, "plain")
        if n == 1:
            await effect("failing", error=KeyError("k"))
        try:
            int("x")
        except ValueError as error:
            raise Own(2, "from") from error
    finally:
        seen.append(chain(sys.exception()))
        seen.append(await effect(("finally", n)))
        seen.append(chain(sys.exception()))
        sys.exception().add_note("seen in the finally")
        seen.append(await effect(("again", n)))


@playbook
async def every_raise():
    seen = []
    for n in range(3):
        try:
            await raises(seen, n)
        except Exception as error:
            seen.append(chain(error))
            await effect("caught")
            seen.append(chain(error))
    return seen


@playbook
async def leaves_loops():
    seen = []
    for n in range(5):
        try:
            if n == 1:
                continue
            if n == 3:
                break
            seen.append(await effect(("turn", n)))
        finally:
            seen.append(await effect(("finally", n)))
            seen.append(await effect(("again", n)))
        seen.append(("end of turn", n))
    else:
        seen.append("never")
    n = 0
    while await effect(("test", n), n < 9):
        n += 1
        try:
            if n % 2:
                continue
            for inner in range(3):
                if inner == 1:
                    break
                seen.append(await effect(("inner", n, inner)))
            if n == 6:
                break
        finally:
            seen.append(await effect(("while", n)))
    else:
        seen.append("never")
    while n:
        try:
            n -= 1
        finally:
            seen.append(await effect(("down", n)))
    else:
        seen.append(await effect("at last"))
    return seen


@playbook
async def loops_inside():
    seen = []
    try:
        for n in range(4):
            if n == 2:
                break
            seen.append(await effect(("turn", n)))
        while True:
            if n == 3:
                break
            n += 1
            continue
    finally:
        seen.append(await effect("finally"))
    return seen


# --- nested ---


@playbook
async def overriding(n):
    try:
        try:
            await effect("body")
            if n == 0:
                raise Own(0, "swallowed by a return")
            return "overridden"
        finally:
            await effect(("inner", n))
            if n == 0:
                return await effect("instead")
            if n == 1:
                raise Own(1, "instead of a return")
            if n == 2:
                return [n]
    except Own as error:
        return await effect("caught"), chain(error)
    finally:
        await effect(("outer", n))
        if n == 3:
            return "the outer one"


@playbook
async def every_override():
    return [await overriding(n) for n in range(5)]


@playbook
async def break_overrides():
    seen = []
    for turn in range(4):
        try:
            for n in range(3):
                try:
                    if turn == 0:
                        return "overridden by the break"
                    if turn == 1:
                        raise Own(turn, "too")
                    if turn == 2:
                        continue
                    seen.append(await effect(("inside", n)))
                finally:
                    seen.append(await effect(("inner", turn, n)))
                    if n == 1 or turn < 2:
                        break
            seen.append(await effect(("after the loop", turn)))
        finally:
            seen.append(await effect(("outer", turn)))
    return seen


@playbook
async def overridden_without_awaits(n, seen):
    """Seed 51006178: the inner `finally` awaits nothing, and leaves in its own way."""
    while len(seen) < 4:
        try:
            try:
                if await effect(("inside", len(seen)), True):
                    if n == 0:
                        break
                    if n == 1:
                        raise Own(n, "swallowed")
                    return "overridden"
            finally:
                if n < 2:
                    continue
                if n == 2:
                    break
                return "instead", n
        finally:
            seen.append(await effect(("outer", len(seen))))
    return "at the end", n


@playbook
async def every_override_without_awaits():
    seen = [[] for _ in range(4)]
    return [await overridden_without_awaits(n, seen[n]) for n in range(4)], seen


@playbook
async def finally_in_finally(n):
    seen = []
    try:
        try:
            await effect("body")
            if n == 0:
                return "from the body", seen
            if n == 1:
                raise Own(n, "first")
        finally:
            try:
                seen.append(await effect(("first", n)))
                if n == 1:
                    raise Own(n, "second")
            finally:
                seen.append(chain(sys.exception()))
                seen.append(await effect(("deepest", n)))
    except Own as error:
        seen.append((await effect("caught"), chain(error)))
    finally:
        seen.append(await effect(("last", n)))
    return seen


@playbook
async def every_nesting():
    return [await finally_in_finally(n) for n in range(3)]


@playbook
async def in_handlers():
    seen = []
    try:
        await effect("raising", error=Own(1, "outer"))
    except Own as outer:
        try:
            try:
                seen.append(await effect("in the handler"))
            finally:  # falls through, though an exception is being handled
                seen.append(await effect("one"))
                seen.append(sys.exception() is outer)
            try:
                raise
            finally:
                seen.append(await effect("two"))
                seen.append(sys.exception() is outer)
        except Own as again:
            seen.append((again is outer, await effect("same"), again is outer, chain(again)))
        try:
            try:
                raise Own(2, "beside")
            finally:
                seen.append(await effect("three"))
        except Own as second:
            seen.append((second.__context__ is outer, await effect("four"), second.__context__ is outer))
        try:
            try:
                try:
                    int("x")
                except ValueError:
                    raise Own(3, "deeper")  # noqa: B904  # its context is what the test looks at
            finally:
                seen.append(await effect("five"))
        except Own as third:
            seen.append(chain(third))
    return seen


@playbook
async def whole_try():
    seen = []
    for n in range(4):
        try:
            seen.append(await effect(("try", n)))
            if n == 0:
                raise KeyError(n)
            if n == 1:
                raise Own(n, "x")
            if n == 2:
                continue
        except KeyError as error:
            seen.append((await effect("key"), error.args))
        except Own:
            break
        else:
            seen.append(await effect(("else", n)))
        finally:
            seen.append(await effect(("finally", n)))
    return seen


@playbook
async def without_awaits_before():
    seen = []
    try:
        try:
            seen.append("body")
            seen[9]
        except IndexError as error:
            seen.append(chain(error))
            raise LookupError from error
        finally:
            seen.append(await effect("one"))
    except LookupError as error:
        seen.append(chain(error))
    return seen


@playbook
async def raised_in_the_finally():
    seen = []
    for n in range(2):
        try:
            try:
                if n:
                    raise Own(1, "first")
            finally:
                await effect("one")
                await effect("two", error=Own(2, "second"))
        except Own as error:
            seen.append(chain(error))
            await effect("caught")
            seen.append(chain(error))
    return seen


@playbook
async def cells():
    seen = []

    def say(word):
        seen.append((word, n))

    for n in range(2):
        try:
            say("body")
            if n:
                return seen
        finally:
            n += 10
            await effect("one")
            say("finally")
    return "never"


class Conn:
    """Cannot be saved."""

    def __init__(self):
        self.opened = False

    def __reduce__(self):
        raise TypeError("a live connection")

    def __enter__(self):
        self.opened = True
        return self

    def __exit__(self, *raised):
        self.opened = False

    async def query(self, n):
        assert self.opened
        return await effect(("query", n))


@playbook
async def with_headers():
    seen = []
    for n in range(3):
        with Conn() as conn:
            try:
                seen.append(await conn.query(("body", n)))
                if n == 0:
                    continue
                if n == 1:
                    raise Own(n, "x")
            except Own:
                seen.append(await conn.query("handler"))
            finally:
                seen.append(await conn.query(("finally", n)))
                with Conn() as second:
                    seen.append((await second.query(n), await conn.query(n)))
                second = None
        conn = None
    conn = None
    return seen


CASES = [
    falls_through,
    every_return,
    every_raise,
    leaves_loops,
    loops_inside,
    every_override,
    break_overrides,
    every_override_without_awaits,
    every_nesting,
    in_handlers,
    whole_try,
    without_awaits_before,
    raised_in_the_finally,
    cells,
    with_headers,
]


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_killed_at_every_await_of_a_finally_its_block_is_left_as_it_was_left(case):
    outcome = same_everywhere(case, reset=LOG.clear)
    LOG.clear()
    assert outcome == Completed(asyncio.run(case()))


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_a_finally_repeats_only_what_was_in_flight(case):
    start(case)
    whole = list(LOG)
    count = Store()
    LOG.clear()
    start(case, store=count)
    for number in range(1, len(count.payloads) + 1):
        LOG.clear()
        victim = Store(number)
        ended = start(case, store=victim)
        if ended is None:
            resume(victim.payloads[-1])
        assert LOG == whole, number


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_a_finally_leaves_nothing_behind(case):
    async def main():
        assert isinstance(await Agent("a", persist=Store().persist).start(case), Completed)

    to_end(main())


# --- the LAW ---


async def forever():
    LOG.append("waiting")
    await asyncio.get_running_loop().create_future()


@playbook
async def stopped_in_the_body():
    try:
        await forever()
    finally:
        LOG.append("statement")
        await effect("never")


@playbook
async def stopped_in_the_finally():
    while True:
        try:
            await effect("body")
        finally:
            try:
                await forever()
                LOG.append("statement")
            finally:
                LOG.append("statement")
                await effect("never")
                continue


@pytest.mark.parametrize("how", ["stop", "cancel", "end of the loop"])
@pytest.mark.parametrize("case", [stopped_in_the_body, stopped_in_the_finally], ids=lambda p: p.__name__)
def test_a_dead_agent_runs_no_statement_of_a_finally(case, how):
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.create_task(agent.start(case))
        while "waiting" not in LOG:
            await asyncio.sleep(0)
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
    expected = start(case)

    async def main():
        store, payload = Store(), None
        for _ in range(200):
            agent = Agent("a", persist=store.persist)
            agent.stop_at_checkpoint("drain")
            outcome = await (agent.start(case) if payload is None else agent.resume(payload))
            if outcome != Stopped("drain"):
                return outcome
            payload = store.payloads[-1]
        raise AssertionError("no progress")

    assert to_end(main()) == expected


# --- tracebacks ---


@playbook
async def fails_late():
    try:
        try:
            await effect("one")
            raise Own(1, "here")  # the line
        finally:
            await effect("two")
    finally:
        await effect("three")


def without_carets(text):
    """A checkpoint keeps lines and not columns."""
    return [line for line in text.splitlines() if line.strip(" ^~")]


def test_the_traceback_shows_the_lines_of_the_user_also_after_a_kill():
    expected, resumed = kill_everywhere(fails_late)
    assert isinstance(expected, Failed)
    assert "# the line" in expected.traceback
    for _, outcome in resumed:
        assert isinstance(outcome, Failed)
        assert without_carets(outcome.traceback) == without_carets(expected.traceback)


# --- cancelled, and cleaning up ---


@playbook
async def cleans_up(log):
    try:
        try:
            await forever()
        finally:
            log.append(await effect("cleaning"))
            log.append(type(sys.exception()).__name__)
            log.append(await effect("cleaned"))
    except asyncio.CancelledError:
        log.append(await effect("in the handler"))
        raise
    finally:
        log.append(await effect("at last"))


@playbook
async def cancels_its_task():
    log = []
    task = asyncio.create_task(cleans_up(log))
    await effect("started", turns=5)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        log.append("cancelled")
    return log, task.cancelled()


@playbook
async def cancels_its_gather():
    log = []
    task = asyncio.gather(cleans_up(log), cleans_up(log))
    await effect("started", turns=5)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        log.append("cancelled")
    return log


@playbook
async def in_a_timeout():
    log = []
    try:
        async with asyncio.timeout(0.02):
            await cleans_up(log)
    except TimeoutError:
        log.append(await effect("too late"))
    return log


@playbook
async def in_two_timeouts():
    log = []
    try:
        async with asyncio.timeout(30):
            try:
                async with asyncio.timeout(0.02) as inner:
                    await cleans_up(log)
            finally:
                log.append(await effect("between"))
    except TimeoutError:
        log.append((await effect("too late"), inner.expired()))
        inner = None
    return log


@playbook
async def fails(log):
    await effect("failing", error=Own(1, "of a sibling"))


@playbook
async def in_a_group():
    log = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(cleans_up(log))
            group.create_task(fails(log))
            try:
                await forever()
            finally:
                log.append(await effect("in the body"))
    except ExceptionGroup as caught:
        log.append(len(caught.exceptions))
    group = None
    return sorted(log, key=str)


CANCELLED = [
    cancels_its_task,
    cancels_its_gather,
    in_a_timeout,
    in_two_timeouts,
    in_a_group,
]


@pytest.mark.parametrize("case", CANCELLED, ids=lambda p: p.__name__)
def test_killed_while_a_cancelled_branch_cleans_up(case):
    outcome = same_everywhere(case, reset=LOG.clear)
    assert isinstance(outcome, Completed), outcome
    assert "cleaned" in str(outcome.value)
