"""What generated programs are made of: values that log every operation on them, effects, helpers and nested playbooks.

Every event goes to LOG in order, so that one comparison of two logs compares two orders of evaluation. Events of headers
that a resume enters again begin with "open" and are left out of comparisons.
"""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress  # noqa: F401 - for programs
from functools import partial, wraps  # noqa: F401 - for programs
from itertools import chain as chain_of  # noqa: F401 - for programs
from itertools import count, islice  # noqa: F401 - for programs

from witness import WITNESS

from playbooks_worker import durable, playbook
from playbooks_worker.engine import contextual

LOG: list[object] = []
CANCELS = [0]  # so many effects more, and one cancels its own task; 0: none does


STEPS = contextvars.ContextVar("steps", default=0)  # what a task has logged, where it is part of agents (`counts`)
_counts = [False]


def counts(whether):
    """Whether programs count in a `ContextVar` that they have declared."""
    _counts[0] = whether
    STEPS.set(0)  # modules have logged as they were loaded
    durable(STEPS)
    if not whether:
        contextual.DECLARED.clear()


def step_number():
    """The number of this step of the task, for what is compared."""
    if not _counts[0]:
        return ()
    STEPS.set(STEPS.get() + 1)
    return (STEPS.get(),)


def log(kind, *event):
    if kind not in ("open", "close", "effect", "done"):  # headers are entered again, and closed at any time
        WITNESS.runs("", kind)
    LOG.append((kind, str([tag(part) for part in event]), *step_number()))


def tag(value):
    """A short, process-independent name of any value."""
    if isinstance(value, O):
        return value.t
    if isinstance(value, NameError) and "cannot access" in str(value):
        return "unbound"  # a name shared with nested functions is a free variable there, with another message
    if isinstance(value, TypeError | AttributeError | ValueError | RecursionError):
        return type(value).__name__  # Python versions word these differently
    if isinstance(value, BaseException):
        return f"{type(value).__name__}{tuple(map(tag, value.args))}"
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(tag, value)]
    if isinstance(value, set):
        return ["set", *sorted(map(str, map(tag, value)))]
    if isinstance(value, dict):
        return ["dict", *((tag(key), tag(item)) for key, item in value.items())]
    if isinstance(value, slice):
        return ["slice", tag(value.start), tag(value.stop)]
    if isinstance(value, int | str | None):
        return value
    return getattr(value, "__qualname__", type(value).__name__)


def chain(error):
    """An exception with its causes, contexts and notes."""
    rows = []
    while error is not None and len(rows) < 6:
        cause = error.__cause__
        said = error.__suppress_context__, getattr(error, "__notes__", None)
        rows.append((tag(error), tag(cause), tag(error.__context__), *said))
        error = cause or error.__context__
    return rows


def _mixed(*parts):
    number = 7
    for part in parts:
        for character in str(part):
            number = (number * 31 + ord(character)) % 997
    return number


def _mixed_tag(value):
    return _mixed(tag(value))


class O:  # noqa: E742 - short, as generated programs are long
    """An object that answers every operation and logs it."""

    def __init__(self, t):
        self.t = t
        self.items = {}

    def _binary(name):  # noqa: N805 - makes methods
        def method(self, other):
            log(name, self.t, tag(other))
            return O(_mixed(name, self.t, tag(other)))

        return method

    __add__ = _binary("add")
    __radd__ = _binary("radd")
    __sub__ = _binary("sub")
    __rsub__ = _binary("rsub")
    __mul__ = _binary("mul")
    __rmul__ = _binary("rmul")
    __matmul__ = _binary("matmul")
    __or__ = _binary("or")
    __ror__ = _binary("ror")
    __lt__ = _binary("lt")
    __gt__ = _binary("gt")
    __le__ = _binary("le")
    __ge__ = _binary("ge")
    __ne__ = _binary("ne")
    __getitem__ = _binary("getitem")
    del _binary

    def __hash__(self):
        return 1

    def __eq__(self, other):  # not logged: a resume compares the arguments that plain coroutines pass again
        return isinstance(other, O) and self.t == other.t

    def __neg__(self):
        log("neg", self.t)
        return O(_mixed("neg", self.t))

    def __iadd__(self, other):
        log("iadd", self.t, tag(other))
        self.t = _mixed("iadd", self.t, tag(other))
        return self

    def __contains__(self, other):
        log("contains", self.t, tag(other))
        return bool((self.t + _mixed(tag(other))) % 2)

    def __bool__(self):  # not logged: compilers of different versions ask nested `and`/`or` once or twice
        return self.t % 3 != 0

    def __iter__(self):
        log("iter", self.t)
        return iter([O(self.t + n + 1) for n in range(self.t % 3 + 1)])

    def keys(self):
        log("keys", self.t)
        return ["x", "y"]

    def __setitem__(self, key, value):
        log("setitem", self.t, tag(key), tag(value))

    def __delitem__(self, key):
        log("delitem", self.t, tag(key))

    @property
    def p(self):
        log("get", self.t)
        return O(_mixed("p", self.t))

    @p.setter
    def p(self, value):
        log("set", self.t, tag(value))

    @p.deleter
    def p(self):
        log("del", self.t)

    def __call__(self, *args, **kwargs):
        log("call", self.t, tag(args), tag(kwargs))
        return O(_mixed("call", self.t, tag(args), tag(kwargs)))

    def m(self, *args, **kwargs):
        log("m", self.t, tag(args), tag(kwargs))
        return O(_mixed("m", self.t, tag(args), tag(kwargs)))

    def __format__(self, spec):
        log("format", self.t, spec)
        return f"<{self.t}:{spec}>"

    def __repr__(self):
        return f"O({self.t})"


class Manager:
    """A header whose target is data; it swallows what its tag says."""

    def __init__(self, t):
        self.t = tag(t)

    def __enter__(self):
        log("open", self.t)
        return O(_mixed("target", self.t)).t

    def __exit__(self, kind, error, trace):
        log("close", self.t, kind and kind.__name__.replace("UnboundLocal", "Name"))
        return _mixed(self.t) % 2 == 0

    async def __aenter__(self):
        await asyncio.sleep(0)
        return self.__enter__()

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)
        return self.__exit__(*raised)


@contextmanager
def opened(t, value):
    log("open", t)
    try:
        yield _mixed("opened", tag(t), tag(value))
    finally:
        log("close", t)


@asynccontextmanager
async def opening(t, value):
    log("open", t)
    await asyncio.sleep(0)
    try:
        yield _mixed("opening", tag(t)), tag(value)
    finally:
        log("close", t)


class Shelf:
    """What its `rows` are depends on when one asks."""

    def __init__(self, t):
        self.t = t
        self.plain = O([t, "plain"])

    @property
    def rows(self):
        log("rows", self.t)
        return O([self.t, "rows"])

    def other(self, value=0):
        self.t, self.plain = _mixed("other", self.t, tag(value)), O(_mixed("plain", self.t))
        return value


class Noting:
    """Notes in a list of the program that it was entered."""

    def __init__(self, t, notes):
        self.t = t
        self.notes = notes

    def __enter__(self):
        self.entry = {"entered": self.t} if self.t % 3 == 0 else ("entered", self.t) if self.t % 3 == 1 else O(self.t)
        self.notes.append(self.entry)
        return self

    def __exit__(self, *raised):
        self.notes.append(("left", self.t))

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, *raised):
        self.__exit__()

    def __repr__(self):
        return f"Noting({self.t})"


class Held:
    """A header whose target cannot be saved: the one it brings anew is in its place wherever that is held."""

    def __init__(self, t):
        self.t = t
        self.open = False

    def __reduce__(self):
        raise TypeError("a live connection")

    def use(self, value):
        assert self.open
        log("use", self.t, tag(value))
        return value

    def inside(self, t):
        assert self.open
        return Held([self.t, tag(t)])

    def __enter__(self):
        log("open", self.t)
        self.open = True
        return self

    def __exit__(self, *raised):
        log("close", self.t)
        self.open = False

    async def __aenter__(self):
        await asyncio.sleep(0)
        return self.__enter__()

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)
        return self.__exit__(*raised)


class Ticks:
    """An asynchronous iterator that can be saved."""

    def __init__(self, number):
        self.left = number

    def __aiter__(self):
        log("aiter", self.left)
        return self

    async def __anext__(self):
        if not self.left:
            raise StopAsyncIteration
        got = await effect(("tick", self.left))
        self.left -= 1
        return got


async def ticks(number):
    """Cannot be saved: a loop over it is an atomic region."""
    for n in range(number):
        yield await effect(("ticks", n))


class Err(Exception):
    pass


class Other(Exception):
    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


class Aw:
    """An awaitable that cannot be saved."""

    def __init__(self, t, value):
        log("aw", t)
        self.t, self.value = t, value

    def __reduce__(self):
        raise TypeError("an awaitable")

    def __await__(self):
        return effect(self.t, self.value).__await__()


def same(value, function=None):
    log("same", value)
    return function


def note(name, value=None):
    log("note", name, tag(value))
    return O(_mixed(name)) if value is None else value


def fail(name):
    log("fail", name)
    raise Err(name)


def total(values):
    found = [tag(value) for value in values]
    log("total", found)
    return O(_mixed(found))


async def effect(name, value=None):
    WITNESS.begins("", str(name))
    log("effect", name, tag(value))
    CANCELS[0] -= 1
    if not CANCELS[0]:
        asyncio.current_task().cancel()
    await asyncio.sleep(0)
    WITNESS.ends("", str(name))
    log("done", name)
    return O(_mixed("effect", name, tag(value))) if value is None else value


async def broken(name):
    log("broken", name)
    await asyncio.sleep(0)
    WITNESS.ends("", str(name))
    try:
        raise Other(name, 2)
    except Other as error:
        if name % 2:
            raise Err(name) from error
        raise


@playbook
async def leaf(name, value=None, *rest, **words):
    one = await effect(("leaf", name), value)
    two = await effect(("leaf2", name), one)
    return O(_mixed(tag(one), tag(two), tag(rest), tag(words)))


@playbook
async def breaking(name):
    await effect(("breaking", name))
    await broken(name)


async def through(name, value=None):
    """A plain coroutine between two playbooks: it starts again after a crash, and says nothing."""
    return await leaf(name, value)


def beside(made):
    """An ordinary caller of a playbook, put on top of it."""

    @wraps(made)
    async def called(*args, **words):
        return await made(*args, **words)

    return called


@beside
@playbook
async def decorated(name, value):
    return await effect(("decorated", name), value)


class Base:
    @staticmethod
    @playbook
    async def fixed(name, value):
        return await effect(("fixed", name), value)

    @classmethod
    @playbook
    async def made(cls, name, value):
        return await effect((cls.__name__, name), value)

    @playbook
    async def up(self, value):
        return await effect("up", value)

    def plain(self, value):
        log("plain", tag(value))
        return value

    def _K__private(self, value):
        log("private", tag(value))
        return value
