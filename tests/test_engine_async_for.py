"""`async for` and asynchronous comprehensions: sites where the iterator can be saved, one atomic region where not."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import fuzzing  # noqa: E402 - found beside the programs it runs
import snippets  # noqa: E402

from playbooks_worker.engine import Agent, Completed, Stopped  # noqa: E402

HEAD = (
    snippets.HEAD
    + '''
class Rows:
    """An iterator that can be saved."""
    def __init__(self, *items, name="row"):
        self.items, self.name = list(items), name
    def __aiter__(self):
        return self
    async def __anext__(self):
        if not self.items:
            await asyncio.sleep(0)
            raise StopAsyncIteration
        item = self.items[0]
        await effect((self.name, tag(item)))
        del self.items[0]
        return item

class Table:
    def __init__(self, *items): self.items = items
    def __aiter__(self): return Rows(*self.items, name="table")

async def generator(*items):
    """An iterator that cannot."""
    for item in items:
        yield await effect(("generator", tag(item)), item)

class Lines:
    def __init__(self, *items): self.items = items
    async def __aiter__(self):
        for item in self.items:
            await asyncio.sleep(0)
            yield item
'''
)


@pytest.fixture
def same(tmp_path):
    return lambda text, **options: snippets.same(text, tmp_path, head=HEAD, **options)


PLAYBOOK = """
class It:
    def __init__(self, n): self.n = n
    def __aiter__(self): return self
    @playbook
    async def __anext__(self):
        if not self.n: raise StopAsyncIteration
        n = self.n
        await effect(("next", n))
        self.n -= 1
        return n

@playbook
async def case():
    it, out = It(4), []
    async for x in it:
        out.append((x, await effect(x, x)))
        if x == 3: out.append(await anext(it))
    return out, await anext(it, "none"), await anext(It(1), "none"), [y async for y in It(2)]
"""


def test_an_iterator_whose_anext_is_a_playbook_also_through_anext_with_a_default(same):
    same(PLAYBOOK, whole=True)


# --- iterators that can be saved ------------------------------------------------------------------------------------------


def test_each_item_of_an_iterator_that_can_be_saved_is_a_checkpoint(same):
    assert (
        same("""
        seen = []
        async for x in Rows(1, 2, 3):
            seen.append(await effect(("body", x), x))
        return seen
    """)
        == 4 + 3
    )


def test_else_break_and_continue(same):
    same("""
        seen = []
        async for x in Table(1, 2, 3, 4):
            if x == 2: continue
            if await effect(("test", x), x) == 3: break
            seen.append(x)
        else:
            await effect("never")
        async for x in Rows(): log("never")
        else:
            seen.append(await effect("else", x))
        async for x, *rest in Rows((1, 2, 3), (4,)):
            seen.append((x, rest))
        else:
            seen.append("else")
        return seen
    """)


def test_nested_loops_and_targets_with_awaits(same):
    same("""
        box = {}
        async for box[await effect("key", "k")] in Rows(1, 2):
            async for inner in await effect("source", Rows(box["k"], 5)):
                if inner == 5: break
                log("inner", inner, await effect(("inner", inner), inner))
            for n in range(2):
                async for again in Rows(n):
                    try:
                        if n: fail(n)
                        await effect(("again", n))
                    except Err:
                        log("caught", await effect("handler", 1))
                        break
                else:
                    log("all")
        return box, inner
    """)


def test_an_iterator_shared_with_anext(same):
    same("""
        rows = Rows(1, 2, 3, 4, 5)
        seen = []
        async for x in rows:
            seen.append((x, await anext(rows, None)))
            if x == 3: break
        seen.append(await anext(rows, "none"))
        async for y in rows: seen.append(y)
        return seen, len(rows.items)
    """)


def test_an_iterator_over_a_queue(same):
    same(
        """
        class Draining:
            def __init__(self, queue): self.queue = queue
            def __aiter__(self): return self
            async def __anext__(self):
                item = await self.queue.get()
                if item is None: raise StopAsyncIteration
                return item

        @playbook
        async def producer(queue):
            for n in range(3):
                await effect(("produce", n))
                queue.put_nowait(n)
            queue.put_nowait(None)

        @playbook
        async def consumer(queue):
            found = []
            async for n in Draining(queue): found.append(n)
            return found

        @playbook
        async def case():
            queue = asyncio.Queue()
            await producer(queue)
            return await consumer(queue)
        """,
        whole=True,
    )


def test_an_iterator_whose_next_is_a_playbook(same):
    same(
        """
        class Pages:
            def __init__(self): self.page = 0
            def __aiter__(self): return self
            @playbook
            async def __anext__(self):
                page = await effect(("page", self.page), self.page + 1)
                if page > 3: raise StopAsyncIteration
                self.page = page
                return await leaf(page, page)

        @playbook
        async def case():
            found = []
            async for page in Pages():
                found.append(tag(page))
                if page is None: await effect("never")
            return found
        """,
        whole=True,
    )


def test_what_async_for_says_of_things_that_are_not_iterators(same):
    same(
        """
        class Bad:
            def __aiter__(self): return 5
        class Worse:
            def __aiter__(self): return self
            def __anext__(self): return 5

        @playbook
        async def case():
            await effect(1)
            for thing in (5, Bad(), Worse()):
                try:
                    async for x in thing: log("never")
                except TypeError as error:
                    log("says " + str(error))
            return await effect(2, 1)
        """,
        whole=True,
    )


# --- atomic regions ----------------------------------------------------------------------------------------------------


def test_a_loop_over_an_asynchronous_generator_is_one_checkpoint(same):
    assert (
        same("""
        await effect("before")
        seen = []
        async for x in generator(1, 2, 3):
            seen.append(await effect(("body", x), x))
            seen.append(tag(await leaf(x)))
        await effect("after")
        return seen
    """)
        == 3
    )


def test_exits_of_a_region(same):
    same("""
        seen = []
        async def first():
            return await through(9)
        for n in range(4):
            try:
                async for x in generator(1, 2, 3):
                    if n == 0: break
                    if n == 1: continue
                    if x == 2:
                        if n == 2: await broken(2)
                        async for y in Lines(4, 5):
                            if y == 5: return seen, await effect("returned", y)
                            seen.append(await effect(("inner", y), y))
                else:
                    seen.append(await effect("else"))
                seen.append(await effect(("turn", n), n))
            except Other as error:
                log("caught", chain(error))
                seen.append(await effect("handler", 1))
            finally:
                log("finally", n)
    """)


def test_handlers_managers_and_helpers_in_a_region(same):
    same("""
        seen = []
        async for x in Lines(1, 2):
            try:
                with Manager(x):
                    async with Manager(x + 1) as inner:
                        seen.append(tag(await through(inner)))
                        if x == 1: await broken(x)
            except (Err, Other) as error:
                log("caught", chain(error))
                await effect("handler")
            finally:
                log("finally", x)
            seen.append(tag(await asyncio.gather(leaf(x), leaf(x + 10), effect(x, x))))
            if x == 2: calls = [leaf(n, n) for n in range(2)]
        seen.append(tag([await call for call in calls]))
        return seen
    """)


def test_regions_within_regions_and_in_nested_playbooks(same):
    assert (
        same(
            """
        @playbook
        async def inner(n):
            found = []
            async for x in generator(n, n + 1): found.append(await effect(("inner", x), x))
            async for x in Rows(n): found.append(x)
            return found

        @playbook
        async def case():
            found = []
            async for x in generator(1, 2):
                async for y in generator(x): found.append(await inner(y))
                found.append([await effect(n, n) for n in range(2)])
            return found, await effect("end", 1)
        """,
            whole=True,
        )
        == 1 + 1
    )


BRANCHES = (
    HEAD
    + """
gate = asyncio.Event()
done = []

@playbook
async def looping():
    async for x in generator(1, 2, 3):
        done.append(await effect(("loop", x), x))
        if x == 2: await gate.wait()
    return await effect("looped", 1)

@playbook
async def sibling():
    return await effect("sibling", 2), await effect("sibling again", 3)

@playbook
async def case():
    await effect("before")
    return await asyncio.gather(looping(), sibling())
"""
)


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("never")


def started():
    return [event[1] for event in fuzzing.LOG if event[0] == "effect"]


def test_a_branch_that_completes_waits_for_the_region_of_its_sibling(tmp_path, monkeypatch, caplog):
    """Given a region that waits, When its sibling completes an await, Then nothing is written, the sibling goes no further
    and one line says so; When the region ends, one checkpoint holds both; and each checkpoint resumes to the same end."""
    module = snippets.load("", tmp_path, whole=True, head=BRANCHES)
    monkeypatch.setattr("playbooks_worker.engine.committing._HELD_LONG_S", 0)
    kept, said = [], []

    async def main():
        agent = Agent("a", persist=lambda moment, payload: kept.append((moment, payload)))
        running = asyncio.ensure_future(agent.start(module.case))
        await until(lambda: any("['tuple', 'loop', 2]" in said for said in started()))
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(kept) == 1  # of "before"
        assert "['sibling']" in str([event for event in fuzzing.LOG if event[0] == "done"])
        assert "sibling again" not in str(started())
        module.gate.set()
        outcome = await running
        assert outcome == Completed([1, (2, 3)])
        said.extend(caplog.messages)
        for moment, payload in kept:
            if moment.kind == "step":
                assert await Agent("a", persist=lambda *_: None).resume(payload) == outcome

    fuzzing.LOG.clear()
    with caplog.at_level(logging.WARNING, "playbooks_worker.engine"):
        asyncio.run(main())
    assert len(said) == 1
    waits, region = said[0].split(" waits for the end of the atomic region that began at ")
    assert "1 completed awaits have waited" in waits and 'return await effect("sibling", 2)' in waits
    began, stands = region.split(", which stands at ")
    assert f"{module.__file__}:" in began and "`async for x in generator(1, 2, 3):`" in began and ":looping" in began
    assert ":looping" in stands and "loop over a list" in stands


DEADLOCK = (
    HEAD
    + """
@playbook
async def looping(arrived):
    seen = []
    LOOP:
        seen.append((x, await arrived.get()))
    return seen

@playbook
async def sibling(arrived):
    for n in range(2):
        arrived.put_nowait(await effect(("sibling", n), n))

@playbook
async def case():
    arrived = asyncio.Queue()
    return await asyncio.gather(looping(arrived), sibling(arrived))
"""
)


def test_a_region_that_waits_for_the_next_step_of_its_sibling_stands_still_and_one_line_says_what_to_write(
    tmp_path, monkeypatch, caplog
):
    """Given a region that awaits what its sibling does after its next await, Then both wait, and the log names both."""
    module = snippets.load("", tmp_path, whole=True, head=DEADLOCK.replace("LOOP", "async for x in generator(1, 2)"))
    monkeypatch.setattr("playbooks_worker.engine.committing._HELD_LONG_S", 0)

    async def main():
        agent = Agent("a", persist=lambda moment, payload: None)
        running = asyncio.ensure_future(agent.start(module.case))
        await until(lambda: caplog.messages)
        await agent.stop("a test")
        assert isinstance(await running, Stopped)

    with caplog.at_level(logging.WARNING, "playbooks_worker.engine"):
        asyncio.run(main())
    (said,) = caplog.messages
    assert 'arrived.put_nowait(await effect(("sibling", n), n))` of' in said and "await arrived.get()" in said
    assert "neither goes on" in said and "docs/language.md, Atomic regions" in said


@pytest.mark.parametrize("loop", ["async for x in Rows(1, 2)", "for x in [x async for x in generator(1, 2)]"])
def test_over_what_can_be_saved_or_over_a_list_the_same_loop_goes_on(loop, tmp_path):
    module = snippets.load("", tmp_path, whole=True, head=DEADLOCK.replace("LOOP", loop))

    async def main():
        kept = []
        agent = Agent("a", persist=lambda moment, payload: kept.append((moment.kind, payload)))
        assert await agent.start(module.case) == Completed([[(1, 0), (2, 1)], None])
        for kind, payload in kept:
            if kind == "step":
                resumed = await Agent("a", persist=lambda *_: None).resume(payload)
                assert resumed == Completed([[(1, 0), (2, 1)], None])
        assert len(kept) > 3

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_cancellation_in_a_region_ends_the_region(same):
    same(
        """
        async def cancelled(name):
            log("cancelled", name)
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
            await asyncio.Event().wait()

        @playbook
        async def looping(seen):
            try:
                async for x in generator(1, 2):
                    try: await cancelled(x)
                    except asyncio.CancelledError:
                        seen.append(await effect("in the region", x))
                        if x == 2: raise
            except asyncio.CancelledError:
                seen.append(await effect("after", 5))
                raise

        @playbook
        async def case():
            seen = []
            try: await looping(seen)
            except asyncio.CancelledError: seen.append(await effect("caught", 6))
            return seen
        """,
        whole=True,
    )


# --- comprehensions ------------------------------------------------------------------------------------------------------


def test_asynchronous_comprehensions(same):
    same("""
        one = [x async for x in Rows(1, 2, 3) if x != 2]
        two = {x: await effect(("value", x), y) async for x, y in generator((1, 2), (3, 4))}
        three = {await effect(x, x % 2) for x in range(3) if await effect(("if", x), x)}
        four = [(x, y) for x in range(2) async for y in generator(x, 5) if await effect(("test", y), y)]
        five = [[y async for y in Rows(x)] async for x in Lines(1, 2)]
        six = [[y async for y in generator(x)] for x in range(2)]
        x = "kept"
        seven = tuple([x async for x in await effect("source", Rows(7))]), x
        eight = sum(n for n in [m async for m in generator(1, 2)])
        return one, two, sorted(three), four, five, six, seven, eight
    """)


def test_a_comprehension_over_an_asynchronous_generator_is_one_checkpoint(same):
    assert same("return await effect(1, [await effect(x, x) async for x in generator(1, 2, 3)])") == 2


def test_an_asynchronous_comprehension_raises_what_its_iterator_raises(same):
    same("""
        async def failing():
            yield 1
            await broken(3)
        try:
            seen = [await effect(x, x) async for x in failing()]
        except Err as error:
            log("caught", chain(error))
            await effect("handler")
        try:
            [x async for x in 5]
        except TypeError as error:
            return str(error), await effect("end")
    """)


def test_loops_and_regions_in_blocks_whose_exits_await(same):
    same("""
        seen = []
        for n in range(3):
            try:
                async for x in Rows(1, 2, 3):
                    try:
                        if x == 2: break
                        async for y in generator(4, 5):
                            if n == 2: return seen, await effect("returned")
                            if y == 5: break
                            seen.append(await effect(("inner", y), y))
                    finally:
                        seen.append(await effect(("left inner", x), x))
                async for z in generator(6, 7):
                    async with Manager(z) as inner:
                        try:
                            if z == 7: continue
                            await broken(3)
                        except Err:
                            seen.append(await effect("in a region's handler", inner))
                        finally:
                            seen.append(await effect("in a region's finally", z))
                if n == 1: break
            finally:
                seen.append(await effect(("left", n), n))
        return seen
    """)


def test_a_generator_that_a_break_leaves_to_the_collector_is_closed_and_is_no_task_of_the_playbook(tmp_path):
    """Given an `async for` left by `break`, Then the loop closes its generator, which no checkpoint has to bring back."""
    module = snippets.load(
        """
        async def rows():
            try:
                for n in range(3):
                    yield n
            finally:
                await asyncio.sleep(0)
                log("closed")

        @playbook
        async def first():
            async for row in rows():
                break
            return row

        @playbook
        async def case():
            one = await first()
            async for row in rows():
                break
            await effect("after")
            await effect("later")
            return one, row
        """,
        tmp_path,
        whole=True,
    )
    fuzzing.LOG.clear()
    said = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        return await Agent("a", persist=lambda moment, payload: None).start(module.case)

    assert asyncio.run(main()) == Completed((0, 0))
    assert not said
    assert [event[0] for event in fuzzing.LOG].count("closed") == 2
