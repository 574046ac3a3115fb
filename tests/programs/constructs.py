"""Programs over every construct that the engine promises; each `case_*` playbook is killed at every await.

`effect` logs when it starts and notes when it has completed; cases return plain data that can be compared.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress

from playbooks_worker import playbook

STARTED: list[object] = []
COMPLETED: list[object] = []


def reset() -> None:
    STARTED.clear()
    COMPLETED.clear()


async def effect(name, value=None, *, turns=1, error=None):
    STARTED.append(name)
    for _ in range(turns):
        await asyncio.sleep(0)
    COMPLETED.append(name)
    if error is not None:
        raise error
    return name if value is None else value


# --- nested playbooks, recursion ---------------------------------------------------------------------------------------


@playbook
async def leaf(x):
    y = await effect(("leaf", x, 1), x + 1)
    z = await effect(("leaf", x, 2), y * 2)
    return z


@playbook
async def middle(items):
    total = 0
    for item in items:
        total += await leaf(item)
    return total


@playbook
async def case_nested():
    first = await middle([1, 2])
    second = await middle([first, 3])
    return first, second


@playbook
async def fib(n):
    if n < 2:
        return await effect(("fib", n), n)
    return await fib(n - 1) + await fib(n - 2)


@playbook
async def case_recursion():
    return await fib(4)


# --- loops ------------------------------------------------------------------------------------------------------------


@playbook
async def case_loops():
    seen = []
    for i in range(6):
        if i == 1:
            continue
        if i == 4:
            break
        seen.append(await effect(("for", i), i))
    else:
        seen.append("never")
    for i in (1, 2):
        seen.append(await effect(("tuple", i)))
    else:
        seen.append(await effect("for-else"))
    n = 0
    while n < 3:
        n += 1
        if n == 2:
            continue
        seen.append(await effect(("while", n), n))
    else:
        seen.append(await effect("while-else"))
    while await effect(("test", n), n) < 5:
        n += 1
        if n == 9:
            break
        seen.append(n)
    else:
        seen.append(await effect("while-await-else"))
    while True:
        if await effect(("stop", n), n) > 6:
            break
        n += 1
        for j in [1, 2, 3]:
            if j == 2:
                break
            seen.append(await effect(("inner", n, j)))
    return seen, n


@playbook
async def case_iterators():
    seen = []
    table = {"a": 1, "b": 2}
    for key in table:
        seen.append(await effect(("key", key)))
    for key, value in table.items():
        seen.append((key, await effect(("item", key), value)))
    for value in table.values():
        seen.append(await effect(("value", value), value))
    for i, key in enumerate(table, 5):
        seen.append((i, await effect(("enumerate", key))))
    for a, b in zip([1, 2], "xy", strict=True):
        seen.append((a, await effect(("zip", b))))
    shared = iter([1, 2, 3, 4, 5])
    for a in shared:
        seen.append((a, next(shared, None), await effect(("shared", a))))
    for item in {7}:
        seen.append(await effect(("set", item)))
    for item in reversed([1, 2]):
        seen.append(await effect(("reversed", item)))
    try:
        for key in table:
            await effect(("growing", key))
            table[key + "!"] = 0
    except RuntimeError as error:
        seen.append(str(error))
    views = table.keys()
    await effect("views")
    table["z"] = 1
    return seen, "z" in views


# --- branches and handlers --------------------------------------------------------------------------------------------


@playbook
async def case_branches():
    seen = []
    for i in range(4):
        if await effect(("if", i), i) == 0:
            seen.append(await effect("zero"))
        elif i == 1:
            seen.append(await effect("one"))
        elif await effect(("elif", i), i) == 2:
            seen.append(await effect("two"))
        else:
            seen.append(await effect("other"))
    return seen


class Custom(Exception):
    def __init__(self, code, detail):
        super().__init__(f"{code}: {detail}")
        self.code = code


@playbook
async def failing(n):
    await effect(("failing", n))
    raise Custom(n, "boom")


@playbook
async def case_handlers():
    seen = []
    for i in range(4):
        try:
            seen.append(await effect(("try", i)))
            if i == 1:
                raise ValueError(i)
            if i == 2:
                await failing(i)
            if i == 3:
                return_value = await effect("last", error=KeyError("k"))
                seen.append(return_value)
        except ValueError as error:
            seen.append(await effect(("value", error.args)))
        except Custom as error:
            seen.append((error.code, await effect("custom")))
            seen.append(str(error))
            try:
                await failing(9)
            except Custom as inner:
                seen.append(await effect(("inner", inner.code)))
                seen.append(inner.__context__ is error)
        except KeyError:
            seen.append(await effect("key"))
            try:
                raise
            except KeyError as again:
                seen.append((await effect("again"), again.args))
        else:
            seen.append(await effect(("else", i)))
        finally:
            seen.append(("finally", i))
    try:
        try:
            await failing(5)
        except Custom as error:
            await effect("chaining")
            raise RuntimeError("wrapped") from error
    except RuntimeError as error:
        await effect("caught")
        seen.append((str(error), error.__cause__.code))
    with suppress(LookupError):
        await effect("suppressed", error=IndexError(1))
        seen.append("never")
    return seen


@playbook
async def early(n):
    try:
        for i in range(5):
            if i == n:
                return await effect(("returning", n))
            await effect(("turn", n, i))
    finally:
        STARTED.append(("finally", n))
    return "end"


@playbook
async def case_finally():
    return [await early(1), await early(9)]


@playbook
async def cleaning(n, seen):
    try:
        if n == 0:
            return await effect(("cleaning returns", n)), seen
        if n == 1:
            await failing(n)
        seen.append(await effect(("cleaning", n)))
    finally:
        seen.append(await effect(("first", n)))
        try:
            if n == 2:
                raise LookupError("in the finally")
        finally:
            seen.append(await effect(("deep", n)))


@playbook
async def case_finally_awaits():
    seen = []
    for n in range(6):
        try:
            if n == 4:
                continue
            if n == 5:
                break
            found = await cleaning(n, seen)
            seen.append(None if found is None else found[0])
        except Custom as error:
            seen.append((error.code, await effect("custom cleaned")))
        except LookupError as error:
            seen.append((str(error), error.__context__, await effect("lookup")))
        finally:
            seen.append(await effect(("turn", n)))
    return seen


# --- with -------------------------------------------------------------------------------------------------------------


class Conn:
    """Cannot be saved, and says how it was opened."""

    def __init__(self, path):
        self.path = path
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
        self.opened = True
        return self

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)
        self.opened = False

    async def query(self, n):
        assert self.opened
        return await effect(("query", self.path, n), f"{self.path}:{n}")


@playbook
async def ask(conn, n):
    one = await conn.query(n)
    two = await conn.query(n + 1)
    return one, two


@contextmanager
def collected():
    yield []


@playbook
async def case_with():
    seen = []
    path = "one"
    with Conn(path) as conn:
        path = "rebound"
        seen.append(await conn.query(1))
        seen.append(await ask(conn, 2))
        held = {"deep": [conn]}
        seen.append(await held["deep"][0].query(4))
        held = None
    conn = None
    async with Conn(path + "!") as conn, Conn(conn and conn.path + "+") as second:
        seen.append(await second.query(5))
        seen.append(await ask(second, 6))
        for i in range(2):
            with Conn(str(i)) as third:
                if i:
                    break
                seen.append((await third.query(i), await conn.query(i)))
            third = None
        third = None
    conn = second = None
    with collected() as items:
        items.append(await effect("item"))
        items.append(await effect("item 2"))
    seen.append(items)
    return seen, path


# --- expressions ------------------------------------------------------------------------------------------------------


def note(name, value=None):
    STARTED.append(("note", name))
    return name if value is None else value


class Box:
    def __init__(self):
        self.value = 1
        self.items = [1, 2, 3]

    def method(self, *args, **kwargs):
        return (self.value, args, sorted(kwargs.items()))


@playbook
async def case_expressions():
    box = Box()
    stack = [1, 2, 3]
    seen = []
    seen.append(await leaf(stack.pop()))
    seen.append(await effect(stack.pop()))
    seen.append(note("a") + await effect("b") + note("c"))
    seen.append([note("d"), await effect("e"), *stack, await effect("f")])
    seen.append({note("k"): await effect("v"), await effect("k2"): note("v2"), **{"x": await effect("x")}})
    seen.append(
        box.method(note("g"), await effect("h"), *[await effect("i")], key=note("j"), **{"k": await effect("l")})
    )
    seen.append(note("lo", 1) < await effect("mid", 2) < note("hi", 3) < await effect("top", 4))
    seen.append(note("lo2", 5) < await effect("mid2", 2) < note("never", 3))
    seen.append(await effect("t", True) and note("and") or await effect("or"))
    seen.append(note("u", 0) or await effect("w", 0) or await effect("last"))
    seen.append((await effect("then") if await effect("cond", 1) else await effect("else")))
    seen.append(f"{note('p')}-{await effect('q')!r:>8}-{note('r'):{await effect('width', 5)}}|")
    seen.append(stack[await effect("index", 0)])
    seen.append(box.items[note("from", 0) : await effect("to", 2)])
    seen.append(not await effect("not", 0))
    seen.append((named := await effect("walrus"), named))
    box.value += await effect("aug", 10)
    box.items[await effect("at", 0)] += await effect("by", 5)
    total = 1
    total += await effect("total", 2)
    box.items[await effect("i0", 1)], box.value = await effect("pair", (7, 8))
    first, *rest = await effect("star", [1, 2, 3])
    x = y = await effect("both")
    annotated: int = await effect("annotated", 3)
    del box.items[await effect("del", 0)]
    assert await effect("assert", True), "never"
    try:
        assert await effect("assert2", 0), await effect("message")
    except AssertionError as error:
        seen.append(str(error))
    seen.append((lambda a=await effect("default"): a)())
    seen.append(sum(n for n in await effect("generator", [1, 2])))
    seen.append(max([await effect("m1", 1), await effect("m2", 5)], key=lambda v: -v))
    xs = [1]

    async def grow():
        xs.append(2)
        return await effect("grow")

    seen.append([*xs, await grow()])
    grow = None
    return seen, box.value, box.items, total, first, rest, x, y, annotated


@playbook
async def case_comprehensions():
    xs = [1, 2, 3]
    one = [await effect(("list", x), x * 10) for x in xs if x != 2]
    two = {k: await effect(("dict", k), k) for k in xs}
    three = {await effect(("set", x), x % 2) for x in xs}
    four = [await effect((x, y)) for x in xs if await effect(("if", x), x > 1) for y in range(x) if y]
    five = [[await effect(("nested", x, y), y) for y in range(2)] for x in await effect("source", xs)]
    x = "kept"
    six = sum([await leaf(n) for n in xs])
    return one, two, sorted(three), four, five, six, x


# --- methods, closures ------------------------------------------------------------------------------------------------


class Base:
    def __init__(self):
        self.log = []

    @playbook
    async def step(self, n):
        self.log.append(await effect(("base", n)))
        return n

    async def __plain(self, n):
        return await effect(("private", n), n)

    @playbook
    async def run(self):
        self.log.append(await self.__plain(1))
        self.__count = await effect("count", 3)
        return self.__count, await self.step(5)


class Derived(Base):
    @playbook
    async def step(self, n):
        before = await super().step(n + 1)
        self.log.append(await effect(("derived", n)))
        return before, self.__class__.__name__

    @staticmethod
    @playbook
    async def static(n):
        return await effect(("static", n))

    @classmethod
    @playbook
    async def made(cls, n):
        return cls.__name__, await effect(("class", n))


@playbook
async def case_methods():
    thing = Derived()
    one = await thing.run()
    bound = thing.step
    two = await bound(7)
    three = await thing.static(1), await Derived.made(2)
    return one, two, three, thing.log


@playbook
async def case_closures():
    count = 0
    factor = 2

    def bump(by=1):
        nonlocal count
        count += by * factor
        return count

    def twice(function, value):
        return function(value) + function(value)

    seen = [bump()]
    seen.append(await effect("one"))
    seen.append(bump(2))
    factor = await effect("factor", 10)
    seen.append(bump())
    functions = [lambda v: v + 1, lambda v: v * factor]
    await effect("two")
    seen.append([function(count) for function in functions])
    factor = 3
    await effect("three")
    seen.append(twice(functions[1], 5))
    return seen, count


# --- gather and plain coroutines between playbooks -----------------------------------------------------------------------


@playbook
async def branch(name, shared, turns):
    for i in range(turns):
        value = await effect((name, i), turns=turns)
        shared.append(value)
    return name, len(shared) > 0


@playbook
async def case_gather():
    shared = []
    one = await asyncio.gather(branch("a", shared, 1), branch("b", shared, 2), branch("c", shared, 3))
    calls = [leaf(n) for n in range(3)]
    await effect("between")
    two = await asyncio.gather(*calls)
    three = await asyncio.gather(effect("plain", turns=3), leaf(7), effect("plain 2"))
    four = await asyncio.gather(*[effect(("many", n)) for n in range(3)], *[leaf(n) for n in range(2)])
    return one, two, three, four, sorted(shared)


async def helper(name, turns, value):
    await effect((name, "waits"), turns=turns)
    first = await leaf(value)
    await effect((name, "again"), turns=turns)
    return name, first, await leaf(first)


@playbook
async def case_helpers():
    one = await helper("single", 1, 1)
    two = await asyncio.gather(helper("slow", 7, 2), helper("fast", 2, 3))
    three = await asyncio.gather(helper("x", 3, 1), leaf(5), effect("y"))
    return one, two, three


async def limited(name, value):
    return await asyncio.wait_for(helper(name, 1, value), 60)


async def as_they_end(*values):
    found = []
    for ended in asyncio.as_completed([limited(("ended", value), 1) for value in values]):
        found.append(await ended)
    return sorted(found, key=repr)


async def tasks_and_limits(value):
    beside = asyncio.create_task(helper("beside", 2, value))
    async with asyncio.timeout(60):
        first = await asyncio.wait_for(leaf(value), 60)
    second = await asyncio.wait_for(limited("inside", value), 60)
    another = asyncio.create_task(helper("another", 1, value))
    return first, second, await another, await beside


@playbook
async def case_limits():
    one = await asyncio.wait_for(limited("one", 1), 60)
    two = await asyncio.gather(tasks_and_limits(2), limited("two", 3))
    return one, two, await as_they_end(1, 2, 3), await asyncio.gather(as_they_end(4, 5), as_they_end(6))


@playbook
async def failing_branch(n):
    await effect(("before", n))
    raise Custom(n, "branch")


@playbook
async def steady(shared):
    for i in range(4):
        shared.append(await effect(("steady", i)))


@playbook
async def case_gather_errors():
    seen = []
    try:
        await asyncio.gather(failing_branch(1), steady(seen))
    except Custom as error:
        seen.append(await effect(("caught", error.code)))
    while len(seen) < 5:
        await asyncio.sleep(0)
    results = await asyncio.gather(failing_branch(2), leaf(1), return_exceptions=True)
    try:
        await asyncio.gather(effect("e", error=OSError(2, "no")), effect("slow", turns=9))
    except OSError as error:
        seen.append((await effect("os"), error.errno))
    return sorted(map(str, seen)), [str(result) for result in results]


# --- values ----------------------------------------------------------------------------------------------------------


SENTINEL = object()


@playbook
async def case_values():
    a = [1]
    b = {"same": a, "self": None}
    b["self"] = b
    missing = SENTINEL
    error = None
    try:
        raise Custom(1, "kept")
    except Custom as caught:
        error = caught
        error.add_note("a note")
    await effect("one")
    a.append(2)
    same = b["same"] is a and b["self"] is b
    await effect("two")
    return same, a, missing is SENTINEL, str(error), error.code, error.__notes__, error.args


CASES = {name: value for name, value in globals().items() if name.startswith("case_")}
