"""Ordinary coroutines that are kept in locals and lists come back: made again where they had not ended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from harness import kill_everywhere, same_everywhere

from playbooks_worker import playbook
from playbooks_worker.engine import Completed, Failed


async def effect(n, *more, turns=1, **words):
    for _ in range(turns):
        await asyncio.sleep(0)
    return n + sum(more) + sum(words.values())


@playbook
async def leaf(n):
    return await effect(n) + await effect(n)


async def helper(n):
    await effect(1)
    return await leaf(n)


async def counts_down(n):
    while n:
        await asyncio.sleep(0)
        n -= 1
    return "zero"


@playbook
async def effects_in_a_list():
    coroutines = [effect(n, turns=n) for n in (1, 3, 5)]
    return await asyncio.gather(*coroutines), await effect(2)


@playbook
async def helpers_in_a_list():
    coroutines = [helper(n) for n in (1, 3, 5)]
    return await asyncio.gather(*coroutines), await effect(2)


@playbook
async def a_call_and_a_helper():
    both = leaf(2), helper(3)
    return await asyncio.gather(*both), await effect(2)


@playbook
async def made_early_and_awaited_late():
    cart = [1, 2, 3]
    late = effect(cart.pop(), 10, turns=2, more=100)
    before = await effect(5)
    return before, await late, cart, await effect(2)


@playbook
async def in_a_task_group():
    coroutines = {n: helper(n) for n in (1, 3)}
    async with asyncio.TaskGroup() as group:
        tasks = {n: group.create_task(coroutine) for n, coroutine in coroutines.items()}
    coroutines = None
    return {n: task.result() for n, task in tasks.items()}


@playbook
async def awaited_twice():
    once = effect(1)
    await once
    await effect(2)
    try:
        await once
    except RuntimeError as error:
        return str(error)


@playbook
async def with_other_parameters_by_now():
    counting = counts_down(3)
    return await asyncio.gather(counting, leaf(1))


@playbook
async def begun_by_others():
    counting = counts_down(3)
    return await asyncio.gather(leaf(1), asyncio.wait_for(begins(counting), 30))


async def begins(counting):
    return await counting


async def begins_all(*many, **named):
    return [await each for each in (*many[0], *named.values())]


@playbook
async def several_begun_by_others():
    many = [counts_down(n) for n in (1, 2)]
    last = counts_down(3)
    return await asyncio.gather(leaf(1), begins_all(many, last=last)), await effect(1)


@playbook
async def begins_in_its_await():
    counting = counts_down(3)
    return await begins(counting)


@playbook
async def begun_in_an_await():
    return await asyncio.gather(leaf(1), begins_in_its_await())


CASES = {
    effects_in_a_list: ([1, 3, 5], 2),
    helpers_in_a_list: ([2, 6, 10], 2),
    a_call_and_a_helper: ([4, 6], 2),
    made_early_and_awaited_late: (5, 113, [1, 2], 2),
    in_a_task_group: {1: 2, 3: 6},
    with_other_parameters_by_now: ["zero", 2],
    begun_by_others: [2, "zero"],
    several_begun_by_others: ([2, ["zero", "zero", "zero"]], 1),
    awaited_twice: "cannot reuse already awaited coroutine",
}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_coroutine_that_is_kept_across_awaits_is_as_before_after_every_crash(case):
    assert same_everywhere(case) == Completed(CASES[case])


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_coroutine_that_has_begun_and_changed_its_parameters_is_not_made_again_with_others():
    """Nobody knows any more what it was called with: the agent fails where it is needed, and goes on with nothing else."""
    expected, resumed = kill_everywhere(begun_in_an_await)
    assert expected == Completed([2, "zero"])
    assert all(outcome == expected or isinstance(outcome, Failed) for _, outcome in resumed)
    assert any("counting (coroutine)" in str(outcome) for _, outcome in resumed)
