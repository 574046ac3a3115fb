"""A frame that waits while others checkpoint: what it is made of is looked at anew whenever that can have changed."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine.outcomes import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, start  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

COMPLETED = []
CLIENTS = []


@pytest.fixture(autouse=True)
def reset():
    COMPLETED.clear()
    CLIENTS.clear()


async def effect(name, turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)
    COMPLETED.append(name)
    return name


@playbook
async def ticks(count):
    for n in range(count):
        await effect(("tick", n))


# --- a plain coroutine that calls a playbook after others have checkpointed ---


@playbook
async def two_steps():
    return await effect("first"), await effect("second", turns=30)


async def calls_later():
    await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    return await two_steps()


@playbook
async def waits_for_a_helper():
    return await calls_later()


@playbook
async def a_call_begins_below_a_waiting_frame():
    return await asyncio.gather(waits_for_a_helper(), ticks(25))


def test_a_call_made_below_a_frame_that_waits_already_is_found_again():
    store = Store()
    expected = start(a_call_begins_below_a_waiting_frame, store=store)
    assert isinstance(expected, Completed)
    written = []  # what had completed by each checkpoint
    for number in range(1, len(store.payloads) + 1):
        COMPLETED.clear()
        start(a_call_begins_below_a_waiting_frame, store=Store(number))
        written.append("first" in COMPLETED)
    assert False in written and True in written
    for number, payload in enumerate(store.payloads):
        COMPLETED.clear()
        assert resume(payload) == expected
        assert ("first" in COMPLETED) is not written[number], number


# --- a temporary that can be saved at first ---


class Client:
    def __init__(self):
        self.lock = None
        CLIENTS.append(self)

    async def post(self):
        await effect("posted", turns=30)
        return "reply"


@playbook
async def posts():
    return await Client().post()


@playbook
async def locks_it():
    await effect("looked")
    await effect("looked again")
    CLIENTS[0].lock = threading.Lock()
    await ticks(3)


@playbook
async def a_part_that_cannot_be_saved_any_more():
    return await asyncio.gather(posts(), locks_it())


def test_a_part_of_an_awaited_expression_that_cannot_be_saved_any_more_is_made_again():
    assert start(a_part_that_cannot_be_saved_any_more) == Completed(["reply", None])
