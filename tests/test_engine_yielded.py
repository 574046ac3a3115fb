"""What a generator's `with` yields is one thing to the generator and to the program, also where it is plain data and the
agent goes on in another process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import snippets  # noqa: E402
from harness import Store, resume, start  # noqa: E402

HEAD = """
import contextlib

@contextlib.contextmanager
def timed(name):
    told = {"name": name, "turns": 0}
    yield told
    told["took"] = told["turns"] + 1

@contextlib.asynccontextmanager
async def collected():
    items = []
    try:
        yield items
    finally:
        await asyncio.sleep(0)
        items.append("end")
        await asyncio.sleep(0)
        items.append(len(items))

@contextlib.contextmanager
def scope(outer):
    outer.setdefault("entered", 0)
    yield outer
    outer["left"] = True

class Live:
    def __reduce__(self):
        raise TypeError("live")
    async def get(self, n):
        return await effect(n, n)

@contextlib.asynccontextmanager
async def connected():
    told = {"live": Live(), "got": 0}
    yield told
    told["closed"] = True

KNOWN = {"known": []}

@contextlib.contextmanager
def registry():
    KNOWN["of this process"] = True
    yield KNOWN
"""
PROGRAMS = {
    "it is written to when the block has ended": """
        with timed("x") as told:
            alias = [told]
            told["turns"] += await effect("one", 1)
            told["turns"] += await effect("two", 10)
        return told["took"], alias[0] is told, sorted(told)
    """,
    "the program holds it by another name": """
        async with collected() as items:
            items.append(await effect("a"))
            kept, items = items, None
            kept.append(await effect("b"))
        await effect("after")
        return kept, items
    """,
    "one in the other": """
        with timed("x") as outer, timed("y") as inner:
            outer["inner"] = inner
            await effect("one")
            inner["turns"] += 1
        return outer["inner"] is inner, inner["took"], await effect("after")
    """,
    "it is the program's own": """
        mine = {}
        with scope(mine) as outer:
            outer["one"] = await effect("one")
        return outer is mine, sorted(mine), await effect("after")
    """,
    "the body is left by an error": """
        try:
            async with collected() as items:
                items.append(await effect("a"))
                raise ValueError
        except ValueError:
            return items, await effect("after")
    """,
    "what could not be saved of it": """
        async with connected() as told:
            told["got"] += await told["live"].get(1)
            told["got"] += await told["live"].get(2)
        del told["live"]
        return told
    """,
    "it belongs to the module": """
        with registry() as known:
            known["mine"] = await effect("one")
        return sorted(known), await effect("after")
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_data_that_a_generator_yields_is_shared_with_it_wherever_the_agent_goes_on(name, tmp_path):
    body = PROGRAMS[name].replace("\n        ", "\n    ")
    program = f"{HEAD}\n@playbook\nasync def case():\n    KNOWN.clear()\n{body}"
    assert snippets.same(program, tmp_path, whole=True)


def test_what_belongs_to_the_module_of_a_generator_is_not_written_to_when_it_ends(tmp_path):
    text = (
        HEAD
        + """
@playbook
async def case():
    with registry() as known:
        await effect("one")
        known["mine"] = True
        await effect("two")
"""
    )
    module = snippets.load(text, tmp_path, whole=True)
    victim = Store(2)
    start(module.case, store=victim)
    module.KNOWN.clear()  # another process
    assert isinstance(resume(victim.payloads[-1]), Completed)
    assert sorted(module.KNOWN) == ["of this process"]
