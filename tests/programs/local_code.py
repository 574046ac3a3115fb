"""Programs that hold classes and functions which no other process finds by a name. Also resumed by other Pythons."""

from __future__ import annotations

import abc
import asyncio
import collections
import dataclasses
import enum
import functools
import inspect
import typing
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel, create_model

from playbooks_worker import playbook


async def effect(name, value=None):
    await asyncio.sleep(0)
    return name if value is None else value


class Base:
    made = 0

    def __init_subclass__(cls, **words):
        super().__init_subclass__()
        cls.words = words

    def who(self):
        return type(self).__name__


def local_classes():
    limit = 10
    T = TypeVar("T")

    class Point(Base, tag="p"):
        """A point."""

        __slots__ = ("x", "y", "__hidden")
        origin: typing.ClassVar[tuple] = (0, 0)

        def __init__(self, x, y):
            self.x, self.y = x, y
            self.__hidden = limit

        def who(self):
            return "point " + super().who(), self.__hidden

        @classmethod
        def zero(cls):
            return cls(0, 0)

        @staticmethod
        def twice(value):
            return value * 2

        @property
        def sum(self):
            "The sum."
            return self.x + self.y

        @functools.cached_property
        def never(self):
            return 1

        def grow(self):
            nonlocal limit
            limit += 1
            return limit

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

    class Square(Shape):
        def __init__(self, side: int) -> None:
            self.side = side

        def area(self) -> int:
            return self.side**2

    class Box(Generic[T]):
        def __init__(self, inside: T) -> None:
            self.inside = inside

    class Fault(ValueError):
        def __init__(self, code, *, detail):
            super().__init__(f"{code} {detail}")
            self.code = code

    class Meta(type):
        def __call__(cls, *args):
            return super().__call__(*args), "made by Meta"

    class Metal(metaclass=Meta):
        pass

    return Point, Square, Shape, Box, Fault, Metal, lambda: limit


def local_enums():
    class Color(enum.Enum):
        RED = 1
        CRIMSON = 1
        BLUE = "b"

        def shout(self):
            return self.name + "!"

        @property
        def low(self):
            return self.name.lower()

    class Planet(enum.Enum):
        EARTH = (1, 2)
        MARS = (3, 4)

        def __init__(self, mass, radius):
            self.mass, self.radius = mass, radius

    class Bits(enum.IntFlag):
        A = 1
        B = 2

    class Word(enum.StrEnum):
        ONE = "one"

    return Color, Planet, Bits, Word


@playbook
async def classes():
    Point, Square, Shape, Box, Fault, Metal, seen = local_classes()

    class Mine:
        def __init__(self, n):
            self.n = n

        def use(self):
            return self.n, local

    local, mine = "before", Mine(4)
    point, square, box = Point(1, 2), Square(3), Box([1])
    error, zero = Fault(3, detail="x"), Point.zero
    await effect("one")
    point.grow()
    local = await effect("two", "after")
    try:
        Shape()
        raise AssertionError("abstract")
    except TypeError:
        pass
    error.add_note("noted")
    again = Point(4, 5)
    await effect("three")
    return (
        (point.x, point.sum, point.who(), again.who(), point.grow(), seen(), zero().x, Point.twice(2), Point.words),
        (type(point) is Point, Point.__doc__, Point.sum.__doc__, Point.__qualname__, hasattr(point, "__dict__")),
        (square.area(), isinstance(square, Shape), Square.area.__annotations__, box.inside, Box[int](3).inside),
        (str(error), error.code, isinstance(error, ValueError), error.__notes__, Metal()[1], mine.use()),
    )


@playbook
async def enums():
    Color, Planet, Bits, Word = local_enums()
    red, both, word = Color.RED, Bits.A | Bits.B, Word.ONE
    await effect("one")
    await effect("two")
    return (
        red is Color.RED,
        Color.CRIMSON is red,
        red.shout(),
        red.low,
        list(Color.__members__),
        (Planet.MARS.mass, Planet((1, 2)).name),
        (both == 3, both is Bits(3), Bits.A in both),
        (word, word == "one", f"{word}"),
        Color("b") is Color.BLUE,
    )


@playbook
async def tuples():
    Pair = collections.namedtuple("Pair", "a b", defaults=(7,))

    class Row(NamedTuple):
        name: str
        size: int = 3

        def text(self):
            return f"{self.name}:{self.size}"

    pair, row = Pair(1), Row("r")
    await effect("one")
    await effect("two")
    return pair, row, pair._replace(a=2), row.text(), Row("q", 1).text(), Row._field_defaults, type(row) is Row, Pair(5)


class Hooked:
    def __init_subclass__(cls, /, key, **words):
        super().__init_subclass__(**words)
        KEYS.append(key)


KEYS: list[str] = []


class Named:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, holder, owner=None):
        return self.name, holder is None


@playbook
async def unusual_classes():
    KEYS.clear()

    class Child(Hooked, key="k"):
        named = Named()

        @functools.cached_property
        def once(self):
            return "once"

        @functools.singledispatchmethod
        def kind(self, x):
            return "any"

        @kind.register
        def _(self, x: int):
            return "int"

    class Slotted(Child, key="s"):
        __slots__ = ("q",)

    class Options(typing.TypedDict, total=False):
        a: int

    @typing.runtime_checkable
    class Runs(typing.Protocol):
        def run(self) -> int: ...

    class Runner(Runs):
        def run(self):
            return 4

    child, slotted, runner = Child(), Slotted(), Runner()
    slotted.q, slotted.z = 1, 2
    keys = list(KEYS)
    await effect("one")
    await effect("two")
    return (
        (keys, child.named, child.once, child.kind(1), child.kind(""), slotted.q, slotted.z, slotted.named),
        (
            Options(a=2),
            Options.__total__,
            list(Options.__annotations__),
            runner.run(),
            isinstance(runner, Runs),
            isinstance(child, Runs),
        ),
    )


@playbook
async def models():
    class Inner(BaseModel):
        x: int

    class Outer(BaseModel):
        a: int
        inner: list[Inner] = []

        def twice(self) -> int:
            return self.a * 2

    one, made = Outer(a=1, inner=[{"x": 3}]), create_model("Made", q=(str, ...), n=(int, 3))
    await effect("one")
    two = Outer(a="5")
    await effect("two")
    try:
        Outer(a="no")
    except ValueError as error:
        wrong = type(error).__name__
    return one.inner[0].x, two.twice(), type(two) is type(one), one.model_dump_json(), wrong, repr(made(q="s"))


def traced(function):
    @functools.wraps(function)
    def wrapper(*args):
        return "traced", function(*args)

    return wrapper


@playbook
async def functions():
    @traced
    def tool(query: str, limit: int = 3) -> list[str]:
        """Searches."""
        return [query] * limit

    await effect("one")
    await effect("two")
    return (tool.__name__, tool.__doc__, str(inspect.signature(tool)), tool("q"), tool.__qualname__, tool.__module__)


# --- what only this Python can run ---


@playbook
async def made_by_exec():
    namespace: dict = {"shared": [1], "effect": effect}
    exec(
        "def add(x, by=1):\n    shared.append(x)\n    return other(x) + by\ndef other(x):\n    return x * len(shared)",
        namespace,
    )
    add, cell = namespace["add"], eval("lambda n: (lambda: n)")(5)
    found = [add(1)]
    await effect("one")
    found.append(add(1))
    namespace["shared"].append(0)
    await effect("two")
    return found, add(1), add.__globals__ is namespace, namespace["other"](1), cell(), add.__name__


@playbook
async def local_dataclasses():
    @dataclasses.dataclass(frozen=True, slots=True, order=True)
    class Point:
        x: int
        y: list = dataclasses.field(default_factory=list, compare=False)

    @dataclasses.dataclass
    class Tree:
        name: str
        children: list = dataclasses.field(default_factory=list)

    point, tree = Point(1), Tree("root")
    tree.children.append(tree)
    await effect("one")
    await effect("two")
    return (
        point == Point(1, [2]),
        Point(0) < point,
        repr(dataclasses.replace(point, x=3)),
        [field.name for field in dataclasses.fields(Tree)],
        dataclasses.asdict(Point(4)),
        tree.children[0] is tree,
        dataclasses.is_dataclass(Tree),
    )


BY_DEFINITION = {case.__name__: case for case in (classes, enums, tuples, functions, unusual_classes, models)}
OF_ONE_PYTHON = {case.__name__: case for case in (made_by_exec, local_dataclasses)}
