"""Programs that hold values of the standard library, and of their own module. Also resumed by other Pythons."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import operator
import re
import uuid
import zoneinfo
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from playbooks_worker import playbook


async def effect(name, value=None):
    await asyncio.sleep(0)
    return name if value is None else value


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Bits(enum.Flag):
    A = 1
    B = 2
    C = 4


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    ONE = "one"


class Planet(enum.Enum):
    EARTH = (1, 2)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int
    children: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int
    where: Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    x: int
    point: Slotted


class Derived(Slotted):
    """With a dict beside the slots."""


Pair = collections.namedtuple("Pair", "a b")


class Row(NamedTuple):
    name: str
    size: int = 1


class Fault(Exception):
    def __init__(self, code, *, detail):
        super().__init__(f"{code} because {detail}")
        self.code, self.detail = code, detail


class Tool:
    def __init__(self, n):
        self.n = n

    def use(self, x):
        return self.n + x

    @classmethod
    def made(cls, n):
        return cls(n)


def scale(x, by=1):
    return x * by


@playbook
async def times():
    rome = zoneinfo.ZoneInfo("Europe/Rome")
    moment = datetime.datetime(2026, 10, 25, 2, 30, tzinfo=rome, fold=1)
    kept = [
        moment,
        datetime.datetime(2026, 1, 1),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-5), "EST")),
        datetime.date(2026, 2, 3),
        datetime.time(1, 2, 3, 4, tzinfo=rome),
        datetime.timedelta(days=1, microseconds=5),
        rome,
    ]
    before = repr(kept)
    await effect("one")
    await effect("two")
    return (
        repr(kept) == before,
        before,
        kept[7] is zoneinfo.ZoneInfo("Europe/Rome") and moment.tzinfo is kept[7],
        moment.utcoffset(),
        kept[2].tzinfo is datetime.UTC,
    )


@playbook
async def numbers():
    kept = [
        decimal.Decimal("1.10"),
        decimal.Decimal("NaN"),
        decimal.Decimal("-Infinity"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=5),
        2**300,
        1e300,
        complex(1, -0.0),
        float("inf"),
        b"\x00" * 300_000,
        bytearray(b"ab"),
        True,
        range(1, 10, 3),
        slice(1, None, 2),
        memoryview,
    ]
    before = repr(kept)
    await effect("one")
    kept[10].append(99)
    await effect("two")
    return (
        repr(kept).replace("bytearray(b'abc')", "bytearray(b'ab')") == before,
        kept[0] + 1,
        str(kept[4]),
        len(kept[9]),
    )


@playbook
async def paths():
    kept = [
        Path("a") / "b.txt",
        Path("/x/../y"),
        Path(),
        PurePosixPath("p/q"),
        PureWindowsPath(r"c:\x\y"),
        PureWindowsPath(r"\\host\share\z"),
    ]
    table = {kept[0]: Frozen(1, kept[1])}
    await effect("one")
    await effect("two")
    same = table[Path("a/b.txt")].where is kept[1]
    return [str(one) for one in kept], [type(one).__name__ for one in kept], same, kept[0].suffix, kept[4].drive


@playbook
async def enums():
    kept = {Color.RED: [Level.HIGH, Word.ONE], Bits.A | Bits.C: Planet.EARTH}
    red, none = Color.RED, Bits(0)
    await effect("one")
    await effect("two")
    return (
        kept[Color.RED][0] is Level.HIGH,
        kept[Color.RED][1] is Word.ONE,
        red is Color("r"),
        (Bits.A in (Bits.A | Bits.C), kept[Bits(5)] is Planet.EARTH, Planet.EARTH.mass, none, ~Bits.A),
    )


@playbook
async def records():
    shared = [1]
    slotted, both = Slotted(1, shared), Both(x=2, point=Slotted(3, shared))
    frozen, pair, row, derived = Frozen(1, Path("w")), Pair(shared, 2), Row("r"), Derived(4)
    derived.extra = shared
    slotted.children.append(slotted)
    partly = Slotted.__new__(Slotted)
    partly.x = 9
    await effect("one")
    await effect("two")
    shared.append(2)
    return (
        (slotted.x, slotted.children[1] is slotted, both.point.children is shared, derived.extra is shared),
        (frozen, hash(frozen) == hash(Frozen(1, Path("w"))), pair.a is shared, row, row._replace(size=5)),
        (partly.x, hasattr(partly, "children"), repr(both), len(slotted.children)),
    )


@playbook
async def containers():
    items = collections.deque([1, 2, 3], maxlen=3)
    groups = collections.defaultdict(list, {"a": [1]})
    odd = collections.defaultdict(lambda: len(items))
    ordered = collections.OrderedDict([("z", 1), ("a", 2)])
    counted = collections.Counter("abca")
    chained = collections.ChainMap({"a": 1}, {"b": 2})
    frozen = frozenset({(1, 2), "x"})
    items.rotate(1)
    ordered.move_to_end("z")
    await effect("one")
    items.append(4)
    groups["b"].append(2)
    counted.update("c")
    await effect("two")
    return (
        (list(items), items.maxlen, dict(groups), odd["new"], list(ordered), counted.most_common()),
        (dict(chained), chained.maps[0], sorted(map(str, frozen)), groups.default_factory is list),
    )


@playbook
async def errors():
    fault = Fault(7, detail="x")
    fault.add_note("noted")
    try:
        try:
            raise OSError(2, "no such", "file")
        except OSError as inner:
            raise fault from inner
    except Fault as error:
        kept = error
    group = ExceptionGroup("several", [fault, ValueError(1)])
    await effect("one")
    await effect("two")
    try:
        raise kept
    except Fault as error:
        again = error
    return (
        (
            str(again),
            again.code,
            again.detail,
            again.__notes__,
            type(again.__cause__).__name__,
            again.__cause__.filename,
        ),
        (group.exceptions[0] is fault, [str(one) for one in group.exceptions]),
    )


@playbook
async def callables():
    tool = Tool(5)
    base = 10
    half = functools.partial(scale, by=0.5)
    kept = {
        "partial": half,
        "nested partial": functools.partial(half, 3),
        "method partial": functools.partial(tool.use),
        "bound": tool.use,
        "class": Tool.made,
        "lambda": lambda x, y=base: x + y + base,
        "builtin": "-".join,
        "named": scale,
        "length": len,
        "pattern": re.compile("(?i)A+").match,
    }
    await effect("one")
    base = 20
    tool.n = 6
    await effect("two")
    return (
        kept["partial"](4),
        kept["nested partial"](),
        kept["method partial"](1),
        kept["bound"](1),
        kept["bound"].__self__ is tool,
        kept["class"](3).n,
        kept["lambda"](1),
        kept["builtin"](["a", "b"]),
        kept["named"] is scale and kept["length"] is len,
        kept["pattern"]("aa").group(),
    )


@playbook
async def itertools_everywhere():
    source = iter("abcdefgh")
    first, second = itertools.tee([1, 2, 3, 4, 5])
    made = {
        "accumulate": itertools.accumulate([1, 2, 3, 4, 5], operator.mul, initial=2),
        "chain": itertools.chain("ab", [1, 2], "cd"),
        "from_iterable": itertools.chain.from_iterable([[1, 2], [3], [4, 5]]),
        "combinations": itertools.combinations("abcd", 2),
        "with_replacement": itertools.combinations_with_replacement("abc", 2),
        "compress": itertools.compress("abcdef", [1, 1, 0, 1, 1]),
        "count": itertools.count(5, 3),
        "cycle": itertools.cycle("abc"),
        "dropwhile": itertools.dropwhile(lambda n: n < 2, [1, 2, 3, 1, 5]),
        "filterfalse": itertools.filterfalse(lambda n: n % 2, range(10)),
        "islice": itertools.islice(range(100), 3, 50, 7),
        "pairwise": itertools.pairwise("abcdef"),
        "shared pairwise": itertools.pairwise(source),
        "permutations": itertools.permutations("abc", 2),
        "product": itertools.product("ab", [1, 2]),
        "repeat": itertools.repeat("x", 5),
        "starmap": itertools.starmap(pow, [(2, 1), (2, 2), (2, 3), (2, 4)]),
        "takewhile": itertools.takewhile(lambda n: n < 9, [1, 2, 3, 4, 9, 1]),
        "tee": first,
        "other tee": second,
        "zip_longest": itertools.zip_longest("ab", [1, 2, 3, 4], fillvalue="-"),
    }
    next(first)
    seen = []
    for name in ("one", "two", "three"):
        seen.append({key: next(iterator) for key, iterator in made.items()})
        await effect(name)
    seen.append(next(source))
    groups = []
    for key, group in itertools.groupby("aabbc"):
        groups.append((await effect("group", key), list(group)))
    for low, high in itertools.pairwise(range(4)):
        groups.append(await effect("pair", low * high))
    made["cycle"] = itertools.islice(made["cycle"], 4)
    made["count"] = itertools.islice(made["count"], 2)
    ended = itertools.pairwise("a")
    list(ended)
    await effect("rest")
    return seen, groups, {key: list(iterator) for key, iterator in made.items()}, list(ended)


CASES = {
    one.__name__: one
    for one in (times, numbers, paths, enums, records, containers, errors, callables, itertools_everywhere)
}
