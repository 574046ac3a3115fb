"""What an await in flight is made of is evaluated again after a kill; where that fails, the program handles it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from harness import Store, resume, run  # noqa: E402 - found beside the programs it runs

from playbooks_worker import playbook  # noqa: E402
from playbooks_worker.engine import Agent, Blocked, Completed  # noqa: E402

UP = asyncio.Event()
SAID: list[str] = []


async def effect(value):
    await asyncio.sleep(0)
    return value


async def long(value):
    for _ in range(40):
        await asyncio.sleep(0)
    return value


class Line:
    def post(self, value):
        if not UP.is_set():
            raise ConnectionError(value)
        return long(value)


class Lost(Line):
    def __reduce__(self):
        raise TypeError("nobody can save a live line")


@playbook
async def beside():
    """Its checkpoints are written while the other branch awaits."""
    for turn in range(4):
        await effect(turn)


@playbook
async def posting():
    line = Line()
    tries = []
    try:
        tries.append(await line.post(1))
    except ConnectionError as error:
        SAID.append("caught")
        tries.append((error.args, await effect("handled")))
    else:
        tries.append("posted")
    finally:
        SAID.append("finally")
    for turn in range(2):
        tries.append(await effect(turn))
    return tries


@playbook
async def posting_on_a_lost_line():
    line = Lost()
    try:
        return await line.post(1)
    except Exception as error:
        return type(error).__name__, await effect("handled")


@playbook
async def chosen(late):
    """The parts of an awaited expression that stand in scopes of their own."""
    scale, names = 2, ["a", "b"]
    seen = []

    def scaled(value):
        return value * scale

    async def each(made, *rest):
        return made() + sum([await late(value) for value in rest])

    seen.append(await each(lambda: scaled(3), *[value for value in range(len(names))], *{scale for _ in names}))
    scale = 5
    return seen, scaled(1), max([await each(lambda n=scale: scaled(n))], key=lambda found: -found)


@playbook
async def both(case, *args):
    _, found = await asyncio.gather(beside(), case(*args))
    return found


def killed_in_flight(case, *args, checkpoint=2):
    UP.set()
    SAID.clear()
    victim = Store(checkpoint)
    assert run(Agent("a", persist=victim.persist).start(both, (case, *args))) is None, "not killed"
    UP.clear()
    return resume(victim.payloads[-1])


def test_what_is_raised_where_an_await_is_begun_again_goes_to_its_handlers():
    handled = [((1,), "handled"), 0, 1]
    assert killed_in_flight(posting) == Completed(handled)
    assert SAID == ["caught", "finally"]


def test_what_was_lost_is_told_where_it_is_awaited_again():
    assert killed_in_flight(posting_on_a_lost_line) == Completed(("NotRestoredError", "handled"))


def test_a_failure_to_begin_again_is_raised_again_by_the_next_process():
    UP.set()
    victim = Store(2)
    assert run(Agent("a", persist=victim.persist).start(both, (posting,))) is None
    for number in range(1, 5):
        UP.clear()
        next_one = Store(number)
        outcome = run(Agent("a", persist=next_one.persist).resume(victim.payloads[-1]))
        if outcome is None:
            outcome = resume(next_one.payloads[-1])
        assert outcome == Completed([((1,), "handled"), 0, 1]), number


def test_lambdas_and_comprehensions_in_what_is_awaited_again_see_the_variables_of_the_playbook():
    UP.set()
    expected = asyncio.run(both(chosen, long))
    assert expected == ([6 + 0 + 1 + 2], 5, 25)
    for checkpoint in range(1, 4):
        assert killed_in_flight(chosen, long, checkpoint=checkpoint) == Completed(expected)


class Room:
    def __init__(self, name):
        if not UP.is_set():
            raise FileNotFoundError(name)

    def __reduce__(self):
        raise TypeError("nobody can save an open room")

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        return False

    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        return False


@playbook
async def in_a_room(name):
    try:
        with Room(name + "!"):
            return await effect(1), await effect(2)
    finally:
        SAID.append("finally")


@playbook
async def in_an_async_room(name):
    try:
        async with Room(name + "!") as room:
            return await effect(1), await effect(room is None)
    except FileNotFoundError:
        SAID.append("caught")


@pytest.mark.parametrize("case", [in_a_room, in_an_async_room])
def test_a_manager_that_cannot_be_made_again_blocks_the_agent_and_no_handler_sees_it(case):
    UP.set()
    victim = Store(1)
    assert run(Agent("a", persist=victim.persist).start(case, ("x",))) is None
    UP.clear()
    SAID.clear()
    outcome = resume(victim.payloads[-1])
    assert isinstance(outcome, Blocked) and SAID == []
    assert 'Room(name + "!")' in outcome.why and "cannot be entered again (FileNotFoundError: x!)" in outcome.why
    UP.set()
    assert isinstance(resume(victim.payloads[-1]), Completed)


@playbook
async def entering_with_a_debt():
    """What a timeout has interrupted is checkpointed as the next header is being entered, before anything starts in it."""
    try:
        async with asyncio.timeout(0):
            await long(1)
    except TimeoutError:
        pass
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(SAID.append, "closed")
        await effect(1)
    try:
        async with asyncio.timeout(0):
            await long(2)
    except TimeoutError:
        pass
    async with asyncio.TaskGroup() as group:
        group.create_task(beside())
        await effect(2)
    return "done"


def test_a_manager_saved_while_it_is_being_entered_comes_back_in_life_after_life():
    """Three lives in a row: killed as a header is being entered, and again inside it."""
    whole = Store()
    assert run(Agent("a", persist=whole.persist).start(entering_with_a_debt)) == Completed("done")
    for payload in whole.payloads:
        second = Store()
        assert run(Agent("a", persist=second.persist).resume(payload)) == Completed("done")
        for again in second.payloads:
            assert resume(again) == Completed("done")
