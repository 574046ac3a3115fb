"""Values that raise whatever they are asked (a proxy outside of its request, say): the engine asks a program's values for
nothing, and what cannot be saved even so has a marker in its place."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed, NotRestoredError

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, run, same_everywhere, start  # noqa: E402

# loops that were killed are collected with their coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine .* was never awaited:RuntimeWarning"
)


async def effect(value):
    await asyncio.sleep(0)
    return value


class OutOfContext:
    """As a proxy outside of its request: it answers to nothing but a subscript."""

    def __init__(self, name):
        vars(self)["name"] = name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"out of context: {name}")

    def __bool__(self):
        raise RuntimeError("out of context: truth")

    def __getitem__(self, key):
        return self.name, key

    __eq__ = __len__ = __iter__ = __repr__ = __bool__
    __hash__ = None

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        return False

    async def __aenter__(self):
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)


@playbook
async def below(proxy):
    return proxy[await effect("below")]


async def between(proxy):
    return await below(proxy)


@playbook
async def among_proxies():
    proxy = OutOfContext("one")
    found = [proxy[await effect("index")], await below(proxy), proxy[await effect("again")]]
    with proxy as same:
        found.append(same[await effect("inside")])
    async with proxy, OutOfContext("two") as two:
        found.append(two[await effect("inside two")])
    return found, await asyncio.gather(below(proxy), between(two))


def test_a_value_that_raises_whatever_it_is_asked_is_asked_for_nothing():
    plain = asyncio.run(among_proxies())
    assert same_everywhere(among_proxies) == Completed(plain)


class Classless(OutOfContext):
    @property
    def __class__(self):
        raise RuntimeError("out of context: class")


@playbook
async def with_a_classless_one():
    proxy = Classless("one")
    await effect("pause")
    try:
        return proxy["key"]
    except NotRestoredError as error:
        return str(error)


def test_what_does_not_even_tell_its_class_has_a_marker_in_its_place():
    store = Store()
    assert start(with_a_classless_one, store=store) == Completed(("one", "key"))
    said = resume(store.payloads[0]).value
    assert "proxy (" in said and "out of context: class" in said and "did not come back" in said


def test_what_does_not_even_tell_its_class_is_named_by_a_strict_agent():
    failed = run(Agent("a", persist=Store().persist, strict=True).start(with_a_classless_one, (), {}))
    assert "variable 'proxy'" in str(failed.error) and "out of context: class" in str(failed.error)
