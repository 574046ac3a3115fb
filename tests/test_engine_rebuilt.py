"""Values that pickle refuses, or makes wrongly, although all of them is known: they come back as they were."""

from __future__ import annotations

import asyncio
import collections
import json
import re
import sqlite3
import sys
import weakref
from pathlib import Path
from typing import NamedTuple

import pydantic
import pytest
import tenacity

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import same_everywhere  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def effect(value):
    await asyncio.sleep(0)
    return value


def as_in_plain_python(playbook):
    """What *playbook* answers, wherever it is killed."""
    plain = asyncio.run(playbook())
    assert same_everywhere(playbook) == Completed(plain)


# --- classes whose `__new__` wants what pickle does not know ---


class Money(int):
    def __new__(cls, amount, currency):
        made = super().__new__(cls, amount)
        made.currency = currency
        return made


class Url(str):
    def __new__(cls, host, path):
        return super().__new__(cls, f"{host}/{path}")


class Loud(str):
    def __new__(cls, text):
        return super().__new__(cls, text.upper() + "!")


class Path3(tuple):
    def __new__(cls, *parts):
        return super().__new__(cls, parts)


class Twice(collections.namedtuple("Twice", "one other")):
    __slots__ = ()

    def __new__(cls, one):
        return super().__new__(cls, one, one * 2)


class Pair(NamedTuple):
    one: int
    other: int = 2


class Needing:
    def __new__(cls, need):
        made = super().__new__(cls)
        made.need = need
        return made

    def __init__(self, need):
        self.more = [need]


class Only:
    made = None

    def __new__(cls):
        cls.made = cls.made or super().__new__(cls)
        return cls.made


@playbook
async def made_by_their_own_new():
    held = [Money(5, "EUR"), Url("a", "b"), Loud("x"), Path3(1, 2), Twice(3), Pair(1)]
    needing, only = Needing(4), Only()
    await effect("one")
    await effect("two")
    return [repr(one) for one in held], held[0].currency, needing.need, needing.more, only is Only()


def test_an_object_whose_new_takes_other_arguments_comes_back_as_it_was():
    as_in_plain_python(made_by_their_own_new)


class Passing:
    def __init__(self, target):
        self.target = target

    def __getattr__(self, name):
        return getattr(self.target, name)


class PassingFromSlots:
    __slots__ = ("__dict__", "_target")

    def __init__(self, target):
        self._target = target
        self.own = 1

    def __getattr__(self, name):
        return getattr(self._target, name)


@playbook
async def proxies():
    one, other = Passing([1]), PassingFromSlots({"key": 1})
    await effect("one")
    one.append(2)
    await effect("two")
    return one.target, one.count(2), other.own, other.get("key")


def test_an_object_that_passes_unknown_attributes_on_comes_back():
    as_in_plain_python(proxies)


# --- what the standard library does not pickle ---


@playbook
async def matches():
    named = re.match(r"(?P<word>\w+) (\d+)", "abc 12")
    optional, several = re.search("b(c)?", "abab"), list(re.finditer(r"\d", "1a2b3"))
    whole, empty = re.compile("a|ab").fullmatch("ab"), re.search("$", "abc")
    behind, later = re.search(r"(?<=a)b", "ab"), re.compile("b").match("abc", 1)
    await effect("one")
    await effect("two")
    texts = named["word"], named.groups(), optional.group(1), [one.group() for one in several], whole.group()
    return texts, [one.span() for one in (empty, behind, later, *several)], named.re.pattern


def test_a_match_comes_back():
    as_in_plain_python(matches)


@playbook
async def weak_containers():
    thing, lock = Passing(1), asyncio.Lock()
    by_name, by_thing = weakref.WeakValueDictionary(thing=thing, lock=lock), weakref.WeakKeyDictionary({thing: 5})
    several = weakref.WeakSet([thing])
    async with by_name["lock"]:
        await effect("one")
    found = by_name["thing"] is thing, by_thing[thing], thing in several, by_name["lock"] is lock
    await effect("two")
    return found


def test_a_container_of_weak_references_refers_to_what_the_agent_holds():
    as_in_plain_python(weak_containers)


@playbook
async def others():
    decoder, database = json.JSONDecoder(parse_float=str), sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    row = database.execute("""SELECT 1 AS a, 'x' AS "b""c" """).fetchone()
    database.close()
    del database
    try:
        raise ValueError("raised")
    except ValueError:
        _, error, trace = sys.exc_info()
    await effect("one")
    try:
        raise error.with_traceback(trace)
    except ValueError as again:
        same = again is error and again.__traceback__ is not None
    return decoder.raw_decode("[1.5] x"), row["a"], row['b"c'], tuple(row), same, trace.tb_lineno


def test_decoders_rows_and_tracebacks_come_back():
    as_in_plain_python(others)


# --- libraries ---


class Answer(pydantic.BaseModel):
    number: int


@playbook
async def validates():
    found = []
    for text in ("none", "1"):
        try:
            Answer(number=text)
        except pydantic.ValidationError as error:
            await effect("asks again")
            found.append((str(error), error.errors()[0]["type"]))
            kept = error
            kept.add_note("seen")
            try:
                raise
            except pydantic.ValidationError as again:
                found.append((again is kept, await effect("and again"), again.__notes__))
    await effect("last")
    return found, kept.title, kept.__notes__


def test_an_error_that_only_its_library_can_make_comes_back():
    as_in_plain_python(validates)


@playbook
async def tries():
    found = []
    options = {"stop": tenacity.stop_after_attempt(3), "wait": tenacity.wait_none()}
    async for attempt in tenacity.AsyncRetrying(**options):
        with attempt:
            await effect("tries")
            if attempt.retry_state.attempt_number < 3:
                raise ConnectionError
        outcome = attempt.retry_state.outcome
        found.append((outcome.failed, await effect("looks"), outcome.attempt_number))
    try:
        async for attempt in tenacity.AsyncRetrying(**options):
            with attempt:
                raise ValueError(await effect("fails"))
    except tenacity.RetryError as error:
        found.append(
            (repr(error.last_attempt.exception()), await effect("gives up"), error.last_attempt.attempt_number)
        )
    return found


def test_what_tenacity_keeps_of_an_attempt_comes_back():
    as_in_plain_python(tries)
