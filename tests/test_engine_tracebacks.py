"""What a program prints of an error (`traceback.format_exc`, `logging.exception`) is what plain Python prints, also in the
process that it goes on in."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import kill_everywhere, load  # noqa: E402

HEAD = """
import asyncio, logging, traceback
from playbooks_worker import playbook

async def effect(value):
    await asyncio.sleep(0)
    return value

async def boom(depth=2):
    await asyncio.sleep(0)
    if depth:
        return await boom(depth - 1)
    raise ValueError("x")

def printed(error=None):
    return traceback.format_exc() if error is None else "".join(traceback.format_exception(error))

@playbook
async def inner():
    await effect(1)
    await boom()

@playbook
async def misses(key):
    await effect(key)
    return {}[key]
"""
PROGRAMS = {
    "in handlers, before and after their awaits": """
@playbook
async def case():
    said = []
    try:
        await inner()
    except ValueError as error:
        said.append(printed())
        await effect(2)
        said.append(printed())
        try:
            raise KeyError(3) from error
        except KeyError as missed:
            said.append(printed())
            await effect(3)
            kept = missed
            said.append(printed())
    await effect(4)
    return [*said, printed(kept)]
""",
    "in the exits of managers": """
class Telling:
    def __init__(self, said):
        self.said = said
    def __enter__(self): ...
    def __exit__(self, kind, error, trace):
        self.said.append(printed(error))
    async def __aenter__(self): ...
    async def __aexit__(self, kind, error, trace):
        await effect(1)
        self.said.append(printed(error))

@playbook
async def case():
    said = []
    try:
        async with Telling(said):
            with Telling(said):
                await inner()
    except ValueError:
        said.append(printed())
    return said
""",
    "behind a finally with awaits": """
@playbook
async def tidies():
    try:
        await inner()
    finally:
        await effect(2)
        await effect(3)

@playbook
async def case():
    try:
        await tidies()
    except ValueError:
        return [printed()]
""",
    "of tasks": """
@playbook
async def case():
    said = []
    for error in await asyncio.gather(misses("a"), return_exceptions=True):
        await effect(1)
        said.append(printed(error))
    task = asyncio.create_task(misses("b"))
    try:
        await task
    except KeyError:
        await effect(1)
        said.append(printed())
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(misses("c"))
    except* KeyError as errors:
        said.append(printed(errors))
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(10)
    except TimeoutError:
        await effect(1)
        said.append(printed())
    return said
""",
    "raised again": """
@playbook
async def again():
    try:
        await inner()
    except ValueError:
        await effect(1)
        raise

@playbook
async def case():
    try:
        await again()
    except ValueError as error:
        await effect(1)
        try:
            raise error
        except ValueError:
            return [printed()]
""",
    "of many lines": """
@playbook
async def case():
    try:
        await inner(
        ), 1 / len(
            []
        )
    except (ValueError, ZeroDivisionError):
        await effect(1)
        return [printed()]
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_error_is_printed_as_in_plain_python_wherever_the_agent_goes_on(name, tmp_path):
    module = load(f"printing_{list(PROGRAMS).index(name)}", HEAD + PROGRAMS[name], tmp_path)
    plain = asyncio.run(module.case())
    assert plain and all("Traceback" in one for one in plain)
    whole, resumed = kill_everywhere(module.case)
    assert whole.value == plain
    for number, outcome in resumed:
        assert outcome.value == plain, f"killed at {number}: {outcome}"


def test_an_endless_recursion_is_kept_as_its_innermost_hundred_places(tmp_path):
    text = """
def deep(n):
    return deep(n + 1)

@playbook
async def case():
    try:
        deep(0)
    except RecursionError as error:
        await effect(1)
        return len(traceback.extract_tb(error.__traceback__))
"""
    module = load("printing_deep", HEAD + text, tmp_path)
    whole, resumed = kill_everywhere(module.case)
    assert whole.value > 500
    assert [outcome.value for _, outcome in resumed] == [100]
