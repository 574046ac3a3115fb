"""What programs with cancelled branches are made of: names of branches that are to be cancelled at a certain await, who
cancels them, and families of them.

A branch that is cancelled just anywhere ends as the order of the branches has it. So it waits for its cancellation, at any
await that the grammar has chosen, inside of whatever the program has around it there; who cancels it waits until it does.
"""

from __future__ import annotations

import asyncio

from fuzzing import chain
from sharing import State, effect, when
from waiting import Doomed

from playbooks_worker import playbook


def standing(dooms: list[Doomed]) -> bool:
    """All members of a family that have not ended wait to be cancelled."""
    return any(doom.stands for doom in dooms) and all(doom.stands or doom.ended for doom in dooms)


async def cancelled_by_effect(me, k, task, doom, why):
    """Plain code cancels, and does so again after a crash: who was cancelled then waits for that."""
    await when(lambda: task.done() or doom.stands or doom.told)
    task.cancel(why)
    await when(lambda: task.done() or not doom.stands)
    return await effect(me, (k, "has cancelled"), loose=True)


@playbook
async def cancelled_by(s: State, me, k, task, doom, why):
    """A playbook cancels, as often as the branch is to be."""
    while not task.done() and doom.left:
        await when(lambda: task.done() or doom.stands)
        task.cancel(why)
        await when(lambda: task.done() or not doom.stands)
    s.at(me, (k, "has cancelled"))
    return await effect(me, (k, "has cancelled"))


@playbook
async def member(s: State, doom, made, arguments):
    try:
        return await made(s, doom, *arguments)
    finally:
        doom.ended = True


@playbook
async def fails_among(s: State, me, k, dooms):
    """Fails when the others wait for it, or have ended."""
    await effect(me, (k, "first"))
    await when(lambda: all(doom.stands or doom.ended for doom in dooms))
    s.at(me, k)
    raise LookupError(k)


@playbook
async def family(s: State, me, k, dooms, made, arguments, how, fails):
    """Branches under one roof; who cancels it cancels them."""
    s.at(me, k)
    got = []
    try:
        if how == "gather":
            got = await asyncio.gather(*[member(s, doom, made, arguments) for doom in dooms])
        elif how == "exceptions":
            branches = [member(s, doom, made, arguments) for doom in dooms]
            got = await asyncio.gather(*branches, return_exceptions=True)
        elif how == "wait_for":
            got = [await asyncio.wait_for(member(s, dooms[0], made, arguments), 30)]
        elif how == "timeout":
            async with asyncio.timeout(30):
                got = await asyncio.gather(*[member(s, doom, made, arguments) for doom in dooms])
        elif how == "own":
            got = [await member(s, dooms[0], made, arguments)]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(member(s, doom, made, arguments)) for doom in dooms]
                if fails:
                    tasks.append(group.create_task(fails_among(s, (me, k), k, dooms)))
            got = [task.result() for task in tasks]
    except asyncio.CancelledError:
        s.at(me, (k, "cancelled"), owes=True)  # what a gather says depends on who has ended last
        await effect(me, (k, "tidies"))
        await when(lambda: all(doom.ended for doom in dooms))  # one that caught it goes on without its gather
        raise
    except BaseExceptionGroup as error:
        s.at(me, (k, "failed"), sorted(str(chain(each)) for each in error.exceptions))
        group = None
    finally:
        s.at(me, (k, "finally"), *[chain(r) if isinstance(r, BaseException) else r for r in got])
    await effect(me, (k, "after"))
    return len(got)
