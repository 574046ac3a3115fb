"""What generated programs are made of that are cancelled while they tidy up: an ordinary coroutine that goes on all
the same, playbooks around it, and who cancels it again each time that it waits.
"""

from __future__ import annotations

import asyncio
from typing import Any

from sharing import State, effect, when

from playbooks_worker import playbook


class Standing:
    """Whether who is to be cancelled waits for that, and when it was told last, in this process."""

    stands = False
    told: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # it will again, in the next process


async def tidies_up(me, k, times, at):
    """Told so often, it goes on; and is told so often again when it begins again."""
    told = []
    for _ in range(times):
        at.stands = True
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as error:
            told += error.args
            at.told = object()
    at.stands = False
    await effect(me, (k, "tidied up"), loose=True)
    return [*told, asyncio.current_task().cancelling()]


@playbook
async def has_tidied_up(s: State, me, k, times, at):
    told = await tidies_up(me, k, times, at)
    s.at(me, k, told)
    return [*told, await effect(me, (k, "goes on"), k)]


@playbook
async def awaits_a_task(s: State, me, k, times, at):
    """Who cancels it cancels that task."""
    task = asyncio.create_task(has_tidied_up(s, (me, "task"), k, times, at))
    told = await task
    s.at(me, k, told, task.cancelling(), asyncio.current_task().cancelling())
    return [*told, await effect(me, (k, "has awaited"), k)]


@playbook
async def insists(s: State, me, k, task, times, at):
    for n in range(times):
        await when(lambda: at.stands or task.done())
        before = at.told
        task.cancel(f"why{n}")
        await when(lambda: at.told is not before or task.done())
        if n % 2:
            await effect(me, (k, "insists", n), n)
    s.at(me, k, task.cancelling())
