"""`ContextVar`s that a program declares are part of its agents: each task has its own after a resume, too."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextvars import ContextVar
from pathlib import Path

import pytest

from playbooks_worker import durable, playbook
from playbooks_worker.engine import Completed, contextual

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, same_everywhere, start  # noqa: E402

TENANT: ContextVar[object] = ContextVar("tenant")
DEPTH: ContextVar[int] = ContextVar("depth", default=0)
OTHER: ContextVar[str] = ContextVar("other", default="not declared")


@pytest.fixture(autouse=True, scope="module")
def declared():
    """Here alone: other modules are tested in this process, too."""
    for variable in (TENANT, DEPTH):
        durable(variable)
    yield
    contextual.DECLARED.clear()


async def effect(value=None):
    await asyncio.sleep(0)
    return value


async def sets(value):
    await asyncio.sleep(0)
    DEPTH.set(value)


def both():
    return TENANT.get("nobody"), DEPTH.get()


@playbook
async def leaf(n):
    DEPTH.set(DEPTH.get() + n)
    await effect()
    return both()


@playbook
async def set_and_seen():
    found = [both()]
    TENANT.set(["acme"])
    await effect()
    found.append(both())
    await sets(3)
    found.append(both())
    found.append(await leaf(1))
    await effect()
    return [*found, both()]


@playbook
async def given_back():
    found = []
    outer = TENANT.set("outer")
    await effect()
    inner = TENANT.set("inner")
    try:
        await effect()
        found.append(both())
    finally:
        TENANT.reset(inner)
    found.append(both())
    await effect()
    TENANT.reset(outer)
    await effect()
    return [*found, both()]


@contextlib.contextmanager
def deeper():
    token = DEPTH.set(DEPTH.get() + 1)
    try:
        yield DEPTH.get()
    finally:
        DEPTH.reset(token)


class AsTenant:
    def __init__(self, name):
        self.name = f"{TENANT.get('')}/{name}"

    async def __aenter__(self):
        await asyncio.sleep(0)
        self.token = TENANT.set(self.name)
        return self

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)
        TENANT.reset(self.token)


@playbook
async def in_headers():
    found = []
    DEPTH.set(7)
    async with AsTenant("a"):
        with deeper():
            await effect()
            found.append(both())
            async with AsTenant("b") as tenant:
                DEPTH.set(20)
                await effect()
                found.append((both(), tenant.name))
            await effect()
            found.append(both())
        await effect()
        found.append(both())
    return [*found, both()]


async def notes(found, n):
    """A plain coroutine: it runs again from its start, as in the context that its task was made in."""
    found.append((n, both()))
    await effect()
    await effect()


@playbook
async def in_tasks():
    seen = []
    TENANT.set("first")
    one = asyncio.create_task(leaf(1))
    noting = asyncio.create_task(notes(seen, 1))
    TENANT.set("second")
    two = asyncio.create_task(leaf(2))
    async with asyncio.TaskGroup() as group:
        DEPTH.set(10)
        three = group.create_task(leaf(3))
        await effect()
    await effect()
    await noting
    both_ = await asyncio.gather(leaf(4), leaf(5))
    return [await one, await two, three.result(), both_, sorted(set(seen)), both()]


async def between():
    """What a playbook has left in the context is there when this runs again."""
    first = await leaf(1)
    await asyncio.sleep(0)
    second = await leaf(10)
    return first, second, both()


@playbook
async def in_time():
    """Under Python 3.11 in a task of its own, since then in this one."""
    found = await asyncio.wait_for(leaf(1), 30)
    await effect()
    return found, both(), await effect()


@playbook
async def below_plain_code():
    TENANT.set("below")
    return await between(), both()


@playbook
async def reset_in_a_header():
    token = TENANT.set("before")
    with deeper():
        await effect()
        TENANT.reset(token)
        with deeper():
            await effect()
            found = both()
        await effect()
    return found, both()


class Slowly:
    """Both ends take some turns, in which others are written; ``name`` is what it was made with."""

    def __init__(self):
        self.name = TENANT.get()

    async def __aenter__(self):
        self.entered = both()
        await pause()
        self.token = TENANT.set("inside")
        return self

    async def __aexit__(self, *raised):
        self.left = both()
        await pause()
        TENANT.reset(self.token)


async def pause():
    for _ in range(12):
        await asyncio.sleep(0)


async def looks():
    found = both()
    await pause()
    return found


@playbook
async def others_are_written():
    for _ in range(9):
        await effect()


@playbook
async def slowly():
    TENANT.set("one")
    found = [await looks()]
    TENANT.set("two")
    async with Slowly() as slow:
        found += [slow.name, slow.entered, both()]
        TENANT.set("three")
        DEPTH.set(4)
    return [*found, slow.left, both()]


class Shared:
    """One of a module, for all: what it has seen is the playbook's."""

    seen: list[object]

    async def __aenter__(self):
        before = both()
        await pause()
        return before

    async def __aexit__(self, *raised):
        await pause()

    def __enter__(self):
        return both()

    def __exit__(self, *raised):
        pass


SHARED = Shared()


@playbook
async def in_shared_headers():
    TENANT.set("one")
    async with SHARED as first:
        TENANT.set("two")
        with SHARED as second:
            TENANT.set("three")
            await pause()
            found = both()
        TENANT.set("four")
        async with SHARED as third:
            TENANT.set("five")
            await pause()
    return first, second, found, third, both()


@playbook
async def in_headers_beside_others():
    return await asyncio.gather(in_shared_headers(), *[others_are_written() for _ in range(2)], late())


@playbook
async def beside_others():
    return await asyncio.gather(slowly(), *[others_are_written() for _ in range(2)], late())


@playbook
async def late():
    await pause()
    await others_are_written()
    await others_are_written()


@pytest.mark.parametrize(
    "case",
    [
        set_and_seen,
        given_back,
        in_headers,
        in_tasks,
        in_time,
        below_plain_code,
        beside_others,
        in_headers_beside_others,
        reset_in_a_header,
    ],
    ids=lambda case: case.__name__,
)
def test_a_declared_variable_has_after_a_resume_the_value_that_its_task_had(case):
    assert isinstance(same_everywhere(case), Completed)


def test_what_is_not_declared_is_no_part_of_an_agent():
    """Given a variable that a library keeps, say, Then a checkpoint holds nothing of it."""
    store = Store()
    start(leaves_another, store=store)
    assert resume(store.payloads[-1]) == Completed("not declared")


@playbook
async def leaves_another():
    OTHER.set("set")
    await effect()
    return OTHER.get()


def test_two_durable_variables_of_one_name_in_a_module_are_refused():
    with pytest.raises(ValueError, match="two durable ContextVars named 'depth'"):
        durable(ContextVar("depth"))
    assert durable(DEPTH) is DEPTH
