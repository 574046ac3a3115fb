"""What a checkpoint holds: values come back as what they were, and what cannot be saved is named."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import itertools
import pathlib
import re
import sys
import threading
import uuid
from pathlib import Path

import anyio
import pytest
import tenacity

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed, Failed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, run, same_everywhere, start  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("error::DeprecationWarning"),
]


async def effect(name, value=None, turns=1, error=None):
    for _ in range(turns):
        await asyncio.sleep(0)
    if error is not None:
        raise error
    return name if value is None else value


# --- values that come back ---


class Color(enum.Enum):
    RED = 1
    GREEN = 2


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int


@dataclasses.dataclass
class Tree:
    name: str
    children: list = dataclasses.field(default_factory=list)


Pair = collections.namedtuple("Pair", "a b")


class Slots:
    __slots__ = ("a", "b")


class Marker:
    pass


MISSING = object()
SINGLETON = Marker()
REGISTRY = {"shared": []}


def function(x, by=1):
    return x + by


def decorate(inner):
    @functools.wraps(inner)
    def wrapper(*args):
        return ("wrapped", inner(*args))

    return wrapper


@decorate
def decorated(x):
    return x * 2


def counter(start):
    count = start

    def bump():
        nonlocal count
        count += 1
        return count

    def peek():
        return count

    return bump, peek


class Thing:
    kind = "thing"

    def __init__(self, n):
        self.n = n

    def method(self, x):
        return self.n + x

    @classmethod
    def made(cls, n):
        return cls(n)

    @staticmethod
    def static(x):
        return x * 3

    def __private(self):
        return self.n * 10

    def bound(self):
        return self.__private

    class Nested:
        value = 7


@playbook
async def plain_values():
    values = [
        1,
        2**200,
        1.5,
        2j,
        "text \ud7ff é",
        b"bytes",
        bytearray(b"x"),
        (1, (2,)),
        {1, 2},
        frozenset({3}),
        range(3),
        slice(1, 2),
        None,
        ...,
        NotImplemented,
        Color.GREEN,
        Bits.A | Bits.B,
        Point(1, 2),
        Pair(1, 2),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        datetime.timedelta(1),
        decimal.Decimal("1.10"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=5),
        pathlib.Path("/a/b"),
        pathlib.PurePosixPath("x"),
        pathlib.PureWindowsPath("c:\\x"),
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.deque([1], 3),
        int,
        Thing,
        Thing.Nested,
        len,
        function,
        re.compile("a+"),
        asyncio,
        datetime.UTC,
    ]
    before = list(values)
    await effect("one")
    await effect("two")
    same = [a == b for a, b in zip(before, values, strict=True)]
    return all(same), values[15] is Color.GREEN, values[31] is Thing, values[35].match("aa") is not None, repr(values)


@playbook
async def identities():
    missing, singleton, shared = MISSING, SINGLETON, REGISTRY["shared"]
    a = [1]
    cycle = {"a": a, "again": a}
    cycle["self"] = cycle
    tree = Tree("root")
    tree.children.append(Tree("leaf", [tree]))
    slots = Slots()
    slots.a = a
    default = collections.defaultdict(list, {"k": a})
    await effect("one")
    await effect("two")
    a.append(2)
    return (
        missing is MISSING,
        singleton is SINGLETON,
        cycle["again"] is a and cycle["self"] is cycle,
        tree.children[0].children[0] is tree,
        slots.a is a and not hasattr(slots, "b"),
        default["k"] is a and default["new"] == [],
        shared == [],
    )


@playbook
async def functions():
    thing = Thing(5)
    base = 100
    bump, peek = counter(3)
    calls = {
        "bound": thing.method,
        "class": Thing.made,
        "static": thing.static,
        "private": thing.bound(),
        "partial": functools.partial(function, by=thing.n),
        "lambda": lambda x: x + base,
        "default": lambda x, y=base: x + y,
        "decorated": decorated,
        "wrapped here": decorate(lambda x: x - base),
        "builtin": "-".join,
        "appended": [].append,
        "getter": re.compile("(a)(b)").match,
    }

    def nested(x, *, scale=2):
        def inner(y):
            return y * scale + base

        return inner(x)

    calls["nested"] = nested
    nested.tag = "attribute"
    bump()
    await effect("one")
    bump()
    base = 7
    await effect("two")
    found = {
        name: call(4)
        for name, call in calls.items()
        if name not in ("class", "private", "builtin", "getter", "appended")
    }
    return found, calls["class"](3).n, calls["private"](), calls["builtin"]("xy"), bump(), peek(), nested.tag, thing.n


@playbook
async def iterators():
    source = [1, 2, 3, 4, 5, 6]
    table = {"a": 1, "b": 2, "c": 3}
    made = {
        "iter": iter(source),
        "zip": zip(source, "abcdef", strict=False),
        "enumerate": enumerate(source, 10),
        "reversed": reversed(source),
        "map": map(function, source),
        "filter": filter(None, source),
        "range": iter(range(10)),
        "text": iter("xyzxyz"),
        "tuple": iter((1, 2, 3, 4)),
        "count": itertools.count(5),
    }
    seen = [{name: next(one) for name, one in made.items()}]
    await effect("one")
    seen.append({name: next(one) for name, one in made.items()})
    await effect("two")
    source.append(99)
    seen.append({name: next(one) for name, one in made.items()})
    seen.append(list(made["iter"]))
    views = table.keys(), table.values(), table.items()
    await effect("three")
    table["d"] = 4
    seen.append([list(view) for view in views])
    for item in itertools.islice(source, 1, 4):
        seen.append(await effect(item, item))
    for index, (key, value) in enumerate(zip(table, table.values(), strict=True)):
        seen.append(await effect(key, (index, key, value)))
    for item in reversed(table):
        seen.append(await effect(item))
    for item in map(function, filter(None, source)):
        seen.append(await effect("m", item))
    return seen


@playbook
async def changed_while_iterated():
    seen = []
    table, items = {"a": 1, "b": 2}, {1, 2}
    for source, change in ((table, lambda: table.update(c=3)), (items, lambda: items.add(3))):
        try:
            for _ in source:
                await effect("turn")
                change()
        except RuntimeError as error:
            seen.append(str(error))
    for view in (table.items(), table.values(), table.keys()):
        try:
            for _ in view:
                await effect("turn")
                table[len(table)] = 1
        except RuntimeError as error:
            seen.append(str(error))
    return seen


class Required(Exception):
    def __init__(self, code, *, detail):
        super().__init__(f"{code} because {detail}")
        self.code = code
        self.detail = detail


class Twisted(ValueError):
    def __new__(cls, one):
        return super().__new__(cls, one, "more")

    def __init__(self, one):
        super().__init__(one, "args")


@playbook
async def exceptions():
    errors = [
        Required(1, detail="x"),
        Twisted("t"),
        OSError(2, "no such", "file"),
        FileNotFoundError(2, "gone", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        UnicodeEncodeError("ascii", "é", 0, 1, "bad"),
        KeyError("k"),
        StopIteration(5),
        SystemExit(3),
        SyntaxError("bad", ("f.py", 1, 2, "text")),
        ImportError("no", name="n", path="p"),
        AttributeError("a", name="n"),
        ExceptionGroup("group", [ValueError(1), ExceptionGroup("inner", [Required(2, detail="y")])]),
        BaseExceptionGroup("base", [KeyboardInterrupt()]),
        asyncio.CancelledError("c"),
        asyncio.IncompleteReadError(b"x", 3),
    ]
    errors[0].add_note("noted")
    errors[0].__cause__ = errors[1]
    try:
        try:
            raise errors[2]
        except OSError as one:
            raise errors[6] from one
    except KeyError:
        pass
    await effect("one")
    await effect("two")
    shown = [(type(one).__name__, str(one), one.args) for one in errors[:12]]
    return (
        shown,
        (errors[0].code, errors[0].detail, errors[0].__notes__, errors[0].__cause__ is errors[1]),
        (errors[2].errno, errors[2].filename, errors[3].filename2),
        (errors[4].object, errors[4].start, errors[4].reason, errors[7].value, errors[8].code, errors[10].name),
        (errors[9].lineno, errors[9].msg),
        (errors[6].__cause__ is errors[2], errors[6].__context__ is errors[2]),
        [str(one) for one in errors[12].exceptions],
        errors[12].exceptions[1].exceptions[0].code,
        errors[15].expected,
    )


@playbook
async def outcomes():
    seen = []
    for error in (Required(1, detail="x"), OSError(13, "denied"), ExceptionGroup("g", [ValueError(1)])):
        try:
            await effect("raises", error=error)
        except Exception as caught:
            seen.append((type(caught).__name__, str(caught), caught is error))
    return seen


VALUES = [plain_values, identities, functions, iterators, changed_while_iterated, exceptions]


@pytest.mark.parametrize("case", VALUES, ids=lambda p: p.__name__)
def test_values_come_back_as_what_they_were(case):
    outcome = same_everywhere(case)
    assert outcome == Completed(asyncio.run(case()))


def test_the_error_of_an_await_comes_back():
    store = Store()
    assert start(outcomes, store=store).value[0] == ("Required", "1 because x", True)
    for payload in store.payloads:
        assert [one[:2] for one in resume(payload).value] == [one[:2] for one in start(outcomes).value]


@playbook
async def raises_later(n):
    await effect("one")
    raise Required(n, detail="deep")


@playbook
async def handles_nested():
    try:
        await raises_later(1)
    except Required as error:
        await effect("handling")
        raise RuntimeError("outer") from error


def test_a_traceback_that_went_through_a_checkpoint_still_shows_where_it_was_raised():
    store = Store()
    start(handles_nested, store=store)
    outcome = resume(store.payloads[-1])
    assert isinstance(outcome, Failed)
    for part in ("in raises_later", "raise Required(n", "in handles_nested", "RuntimeError: outer"):
        assert part in outcome.traceback, outcome.traceback
    assert "/engine/" not in outcome.traceback


@playbook
async def large():
    data = bytes(20_000_000)
    rows = [{"n": n, "text": str(n)} for n in range(50_000)]
    await effect("one")
    return len(data), len(rows), rows[-1]


def test_a_large_state():
    store = Store()
    expected = start(large, store=store)
    assert resume(store.payloads[0]) == expected


# --- what cannot be saved ---


class Client:
    """Cannot be saved."""

    def __reduce__(self):
        raise TypeError("a client with a socket")

    async def get(self, url, turns=1):
        return await effect(url, f"body of {url}", turns=turns)


class Service:
    def __init__(self):
        self.client = Client()

    def __reduce__(self):
        return Service, ()


CLIENT = Client()
SERVICE = Service()


def node(depth):
    head = None
    for n in range(depth):
        head = Tree(str(n), [head])
    return head


def start_strict(case, *args):
    return run(Agent("a", persist=Store().persist, strict=True).start(case, args))


@playbook
async def keeps(make):
    thing = make()
    await effect("here it stops")
    return thing


@playbook
async def keeps_deep(make):
    outer = {"list": [make()]}
    await inner_effect()
    return outer


@playbook
async def inner_effect():
    await effect("one")
    return await effect("two")


def generator():
    yield 1


UNSAVABLE = {
    "client": (Client, "Client"),
    "generator": (generator, "generator"),
    "file": (io.StringIO().__class__ and (lambda: open(__file__)), "TextIOWrapper"),
    "future": (lambda: asyncio.get_running_loop().create_future(), "Future"),
    "deep": (lambda: node(100_000), "Tree"),
    "iterator of a generator": (lambda: zip(generator(), [1], strict=False), "zip"),
    "error with a client": (lambda: make_error(), "Required"),
}


def make_error():
    error = Required(1, detail="x")
    error.client = Client()
    return error


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("name", UNSAVABLE)
@pytest.mark.parametrize("case", [keeps, keeps_deep], ids=lambda p: p.__name__)
def test_what_cannot_be_saved_is_named_by_a_strict_agent(case, name):
    make, kind = UNSAVABLE[name]
    outcome = start_strict(case, make)
    assert isinstance(outcome, Failed), outcome
    text = str(outcome.error)
    variable = "'thing'" if case is keeps else "'outer'"
    for part in (variable, kind if case is keeps else "dict", case.__name__, "test_engine_values.py:", "await"):
        assert part in text, text
    assert "\n" not in text


@playbook
async def result_of():
    return await keeps_nothing()


@playbook
async def keeps_nothing():
    await effect("one")
    return Client()


@playbook
async def awaits_unsavable():
    return type(await effect("one", Client())).__name__


@playbook
async def takes_client(client):
    await effect("one")


@playbook
async def argument_of():
    await asyncio.gather(takes_client(Client()), inner_effect())


@playbook
async def mutated_late():
    box = []
    await fills(box)


@playbook
async def fills(box):
    await effect("one")
    await effect("two")
    box.append(Client())
    kept = 1
    await effect("three")
    return kept


@playbook
async def in_a_cell():
    client = Client()

    def use():
        return client

    await effect("one")
    return use


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (result_of, "keeps_nothing"),
        (awaits_unsavable, "the awaited value"),
        (argument_of, "client"),
        (mutated_late, "box"),
        (in_a_cell, "'client'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_saved_is_named_by_a_strict_agent_wherever_it_is(case, said):
    outcome = start_strict(case)
    assert isinstance(outcome, Failed), outcome
    assert said in str(outcome.error) and "Client" in str(outcome.error), str(outcome.error)
    assert "test_engine_values.py" in str(outcome.error), str(outcome.error)


@playbook
async def loops_over_batches():
    found = []
    for pair in itertools.batched("abcd", 2):
        found.append(await effect("pair", pair))
    return found


@pytest.mark.skipif(sys.version_info < (3, 12), reason="itertools.batched came with Python 3.12")
def test_the_one_iterator_of_itertools_that_tells_nothing_is_refused_with_advice():
    outcome = start(loops_over_batches)
    assert isinstance(outcome, Failed), outcome
    for part in ("`for` loop", "itertools.batched", "test_engine_values.py:", "list(…)"):
        assert part in str(outcome.error), outcome.error


# --- temporaries that cannot be saved are evaluated again ---


def client():
    return CLIENT


@playbook
async def busy():
    for n in range(6):
        await effect(("busy", n))


@playbook
async def through_global():
    return await CLIENT.get("a", 9), await SERVICE.client.get("b", turns=2)


@playbook
async def through_self(service):
    urls = ["x", "y"]
    return await service.client.get(urls.pop(), turns=9), urls


@playbook
async def in_an_expression():
    return "<" + await CLIENT.get("e", turns=6) + ">", [CLIENT.get, await effect("f")][1]


@playbook
async def uses_clients():
    service = Service()
    return await asyncio.gather(
        through_global(), busy(), through_self(service), CLIENT.get("plain", turns=7), in_an_expression()
    )


def test_operands_that_cannot_be_saved_are_evaluated_again():
    outcome = same_everywhere(uses_clients)
    assert outcome == Completed(asyncio.run(uses_clients()))


def test_keys_of_cmp_to_key_come_back_with_their_function_and_their_object(same):
    same("""
        import functools
        turned = 1
        key = functools.cmp_to_key(lambda one, other: (one > other) - (one < other) if turned > 0 else other - one)
        keys = [key(n) for n in (1, 3, 2)]
        again = keys[0]
        await effect(1)
        keys.append(key(await effect(2, 9)))
        turned = -1
        await effect(3)
        keys.sort()
        return [one.obj for one in keys], again is keys[-1], hasattr(key, "obj")
    """)


@playbook
async def keeps_its_loop():
    loop = asyncio.get_running_loop()
    length = await loop.run_in_executor(None, len, "two")
    future = loop.create_future()
    loop.call_soon(future.set_result, length)
    return await future, loop is asyncio.get_running_loop()


def test_the_loop_of_an_agent_is_that_of_the_process_it_goes_on_in():
    assert same_everywhere(keeps_its_loop).value == (3, True)


@playbook
async def keeps_a_thread_local():
    local = threading.local()
    local.count = [1]
    await effect("one")
    local.count.append(local)
    await effect("two")
    return local.count[0], local.count[1] is local


def test_a_thread_local_comes_back_with_what_the_thread_of_the_agent_has_in_it():
    assert same_everywhere(keeps_a_thread_local).value == (1, True)


@playbook
async def retries_by_tenacity():
    counted = 0
    async for attempt in tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_none()):
        with attempt:
            counted += 1
            if await effect(counted, counted) < 3:
                raise ValueError(counted)
    return counted, attempt.retry_state.attempt_number


def test_a_loop_of_tenacity_goes_on_with_the_attempts_that_it_has_counted():
    assert same_everywhere(retries_by_tenacity).value == (3, 3)


@playbook
async def opens_a_group_of_anyio():
    async with anyio.create_task_group():
        await effect("one")


def test_a_group_whose_tasks_could_not_be_given_back_to_it_is_refused_with_advice():
    outcome = start(opens_a_group_of_anyio)
    assert isinstance(outcome, Failed)
    said = str(outcome.error)
    assert "test_engine_values.py:" in said and "use `asyncio.TaskGroup`" in said
