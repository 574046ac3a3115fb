"""A checkpoint that this program cannot go on from blocks the agent, with one line that says what to do; it never
crashes, and no handler of the program sees it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Blocked, Completed
from playbooks_worker.engine.payload import read, written
from playbooks_worker.engine.sinks import Pieces

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, load, resume, start, to_end  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

RAN: list[object] = []


class Manager:
    def __enter__(self):
        return self

    def __exit__(self, *raised):
        return True

    def __reduce__(self):
        raise TypeError("manager")


class Data:
    def __init__(self):
        self.values = list(range(20))


async def effect(name):
    await asyncio.sleep(0)
    return name


@playbook
async def inner(data):
    try:
        with Manager():
            for n in data.values[:3]:
                await effect(n)
    except BaseException as error:
        RAN.append(("handler", error))
        raise
    finally:
        RAN.append("finally")
    return data


@playbook
async def program():
    data = Data()
    try:
        found = await asyncio.gather(inner(data), inner(data), helper(data), return_exceptions=True)
        await effect("after")
        return len(found)
    except BaseException as error:
        RAN.append(("handler", error))
        raise


async def helper(data):
    try:
        return await inner(data)
    except Exception as error:
        RAN.append(("helper", error))


def payloads():
    store = Store()
    assert start(program, store=store) == Completed(3)
    return store.payloads


def blocked(payload):
    """Resume with everything that leaks found; answers why it is blocked."""

    async def main():
        outcome = await asyncio.wait_for(Agent("a", persist=Store().persist).resume(payload), 20)
        assert isinstance(outcome, Blocked | Completed), outcome
        return outcome.why if isinstance(outcome, Blocked) else None

    RAN.clear()
    why = to_end(main())
    if why is not None:
        assert not [one for one in RAN if one == "finally" or one[0] == "handler"], RAN
        assert "\n" not in why and "agent a" in why
    return why


def test_a_truncated_payload_blocks():
    payload = payloads()[2]
    for size in [0, 1, 3, 4, 10, *range(20, len(payload), 45), len(payload) - 1]:
        assert blocked(payload[:size]), f"cut at {size}"


def test_a_corrupt_payload_blocks_or_does_no_harm():
    payload = payloads()[2]
    for place in range(0, len(payload), 31):
        damaged = bytearray(payload)
        damaged[place] ^= 0x5A

        async def main(damaged=bytes(damaged)):
            return await asyncio.wait_for(Agent("a", persist=Store().persist).resume(damaged), 20)

        RAN.clear()
        asyncio.run(main())  # whatever comes, it comes as an outcome


def test_what_is_no_payload_blocks():
    for nothing in (b"", b"\0" * 100, b"not a payload at all", written([1, 2, 3], Pieces())):
        assert "checkpoint" in blocked(nothing)


# --- other programs ---

ORIGINAL = """
from playbooks_worker import playbook
import asyncio

async def effect(name):
    await asyncio.sleep(0)
    return name

class Kept:
    value = 1

def decorate(function):
    return lambda: function()

@playbook
async def leaf(kept):
    await effect("one")
    await effect("two")
    return kept.value

@playbook
async def main():
    kept = Kept()
    later = decorate(lambda: kept.value + 10)
    try:
        return await leaf(kept), later()
    except BaseException:
        kept.value = "handler"
        raise
"""


def module(source, folder):
    return load("blocked_program", source, folder)


@pytest.fixture
def saved(tmp_path):
    store = Store()
    assert start(module(ORIGINAL, tmp_path).main, store=store) == Completed((1, 11))
    yield store.payloads[0], tmp_path
    sys.modules.pop("blocked_program", None)


def test_the_same_program_loaded_anew_goes_on(saved):
    payload, folder = saved
    module("# a comment more\n" + ORIGINAL, folder)
    assert resume(payload) == Completed((1, 11))


def test_an_edited_playbook_blocks_and_is_named(saved):
    payload, folder = saved
    module(ORIGINAL.replace('await effect("two")', 'await effect("2")'), folder)
    why = blocked(payload)
    assert "blocked_program:leaf" in why and "edited" in why and "deploy" in why


def test_a_missing_playbook_blocks_and_is_named(saved):
    payload, folder = saved
    module(ORIGINAL.replace("async def leaf", "async def renamed").replace("await leaf", "await renamed"), folder)
    why = blocked(payload)
    assert "blocked_program:" in why and "deploy" in why


def test_a_missing_module_blocks_and_is_named(saved):
    payload, _ = saved
    del sys.modules["blocked_program"]
    why = blocked(payload)
    assert "blocked_program:" in why and "deploy" in why


def test_a_missing_function_blocks_and_is_named(saved):
    payload, folder = saved
    module(ORIGINAL.replace("    return lambda: function()", "    return function"), folder)
    why = blocked(payload)
    assert "decorate" in why and "deploy" in why


def test_another_version_of_the_engine_is_named(saved):
    payload, folder = saved
    module(ORIGINAL, folder)
    index, dumps = read(payload)
    for place, said in ((0, "format 99"), (1, "lowering 99")):
        newer = list(index)
        newer[place] = 99
        why = blocked(written(tuple(newer), Pieces([dumps])))
        assert said in why and "another version of the engine" in why
