"""The `__context__` of an error that a task brings to a playbook: what plain Python says was being handled."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import pytest
from fuzzing import chain
from harness import same_everywhere

from playbooks_worker import playbook
from playbooks_worker.engine import Completed


class Err(Exception):
    pass


async def effect(value=None):
    await asyncio.sleep(0)
    return value


async def plainly(operation):
    """A plain coroutine between a playbook and what it awaits."""
    return await operation


async def while_handling(operation):
    """A plain coroutine that handles an error of its own."""
    try:
        raise Err("helper")
    except Err:
        return await operation


class Door:
    """Waits where it is left, and fails there."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        await asyncio.create_task(breaks("door"))


@playbook
async def breaks(name):
    """What it raises has a context of its own."""
    try:
        await effect()
        raise KeyError(name)
    except KeyError as error:
        await effect()
        raise Err(name) from error


@playbook
async def awaits(way, name):
    await effect()
    return await way(name)


@playbook
async def looks(seen, way, name):
    """Catches what was thrown into it, where it handles nothing itself."""
    try:
        await way(name)
    except Err as error:
        seen.append(chain(error))
        await effect()
        raise


@playbook
async def wraps(way, name):
    try:
        await way(name)
    except Err as error:
        raise Err("wrapped", name) from error


@playbook
async def tidies(way, name):
    """Waits before it lets the error go on."""
    try:
        await way(name)
    except Err:
        await effect()
        raise


@playbook
async def handles_itself(way, name):
    try:
        raise Err("inner")
    except Err:
        await way(name)


@playbook
async def leaves_a_door(way, name):
    async with Door():
        await effect()


async def direct(name):
    await breaks(name)


def in_a_task(name):
    return asyncio.create_task(breaks(name))


def gathered(name):
    return asyncio.gather(effect(), breaks(name), effect())


def beneath_a_helper(name):
    return plainly(asyncio.gather(breaks(name)))


def beneath_a_handling_helper(name):
    return while_handling(asyncio.create_task(breaks(name)))


def beneath_a_playbook(name):
    return awaits(in_a_task, name)


def beneath_a_playbook_of_a_helper(name):
    return plainly(awaits(gathered, name))


def beneath_a_playbook_of_a_handling_helper(name):
    return while_handling(awaits(gathered, name))


def wrapped(name):
    return wraps(in_a_task, name)


def tidied(name):
    return tidies(in_a_task, name)


def handled_twice(name):
    return handles_itself(in_a_task, name)


def handled_below_a_playbook(name):
    return awaits(handled_twice, name)


def at_a_door(name):
    return leaves_a_door(None, name)


def at_once(name):
    return breaks(name)


WAYS = [
    at_a_door,
    at_once,
    beneath_a_handling_helper,
    beneath_a_helper,
    beneath_a_playbook,
    beneath_a_playbook_of_a_handling_helper,
    beneath_a_playbook_of_a_helper,
    direct,
    gathered,
    handled_below_a_playbook,
    handled_twice,
    in_a_task,
    tidied,
    wrapped,
]


@playbook
async def in_a_handler(way):
    """The error comes while another is handled; before and after an await in its own handler; then out of a handler."""
    seen = []
    try:
        await breaks("first")
    except Err as first:
        try:
            await way("second")
        except Err as second:
            seen.append(chain(second))
            await effect()
            seen.append((chain(second), second.__context__ is first))
    try:
        raise Err("nothing handled any more")
    except Err as third:
        seen.append(chain(third))
    return seen


@playbook
async def in_a_finally(way):
    seen = []
    try:
        try:
            await breaks("first")
        finally:
            await way("second")
    except Err as second:
        seen.append(chain(second))
        await effect()
    return seen


@playbook
async def caught_below(way):
    seen = []
    try:
        await breaks("first")
    except Err:
        try:
            await looks(seen, way, "second")
        except Err as second:
            seen.append(chain(second))
            await effect()
    return seen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("program", [in_a_handler, in_a_finally, caught_below])
def test_an_error_that_a_task_brings_has_the_context_that_plain_python_gives_it(program, way):
    """Seed 31971. Given a playbook that awaits a failing task, directly or through others, while it handles an error, When
    it runs in an agent, killed at any await or not, Then the second error has the context that it has in plain Python."""
    expected = asyncio.run(program(way))
    assert same_everywhere(program, way) == Completed(expected)


def fails_to_close():
    try:
        yield
    finally:
        raise Err("closing")


async def closes_a_generator():
    await asyncio.sleep(0)
    generator = fails_to_close()
    next(generator)
    generator.close()


@playbook
async def beneath():
    await closes_a_generator()


@playbook
async def handles_what_came_of_a_close():
    seen = []
    for operation in (closes_a_generator, beneath, lambda: asyncio.create_task(closes_a_generator())):
        try:
            await operation()
        except Err as error:
            seen.append((await effect(repr(error)), repr(error.__context__)))
    return seen


def test_an_error_that_came_of_closing_a_generator_is_the_programs():
    """Given an effect in which a generator fails as it is closed (a response, say, that is not read to its end), Then the
    playbook handles that: the process does not end."""
    assert same_everywhere(handles_what_came_of_a_close) == Completed([("Err('closing')", "GeneratorExit()")] * 3)
