"""`playbooksctl submit`: give the workers an agent to run, checked against what they say their programs accept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from playbooks_providers.lanes import Priority, lane, priority_of, queue_name, queue_of
from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.target import Target, arguments, target

if TYPE_CHECKING:
    from playbooks_providers.contracts import Coordination
    from playbooks_providers.model import ProgramInfo, StartRecord

WAIT_FOR_PROGRAM_S = 10.0
_POLL_S = 0.2


def submit(
    program: Annotated[
        str, typer.Argument(metavar="PROGRAM_NAME[:PLAYBOOK]", help="As `playbooksctl workers` lists it.")
    ],
    args: options.Arguments = None,
    agent_id: options.NewAgentId = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="The queue to wait in (else the program's own).")
    ] = None,
    priority: Annotated[
        Priority, typer.Option("--priority", help="Who waits in the same queue is taken in this order.")
    ] = Priority.NORMAL,
    entry: options.Entry = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Start an agent on the workers, and print its id.

    The same --agent-id with the same program, playbook and arguments prints it again and starts nothing.
    """
    with Output(json) as out:
        asyncio.run(
            _submit(
                out,
                _by_name(target(program, entry)),
                args,
                agent_id,
                lane(queue_name(queue) if queue else "", priority),
                redis_url,
            )
        )


def _by_name(asked: Target) -> Target:
    """Workers know ``examples/audit.py`` as `audit`; say it either way."""
    if asked.program.endswith(".py"):
        return Target(asked.program.rpartition("/")[2].removesuffix(".py"), asked.named)
    return asked


async def _submit(
    out: Output, asked: Target, args: str | None, agent: str | None, asked_lane: str, redis_url: str | None
) -> None:
    from playbooks_providers import ids
    from playbooks_providers.envelope import same_start, seal_start
    from playbooks_providers.model import Exists, StartRecord
    from playbooks_worker.cli.connect import redis_home

    positional, keywords = arguments(args)
    chosen = ids.agent_id(agent) if agent else ids.new_agent_id(asked.program)
    start = StartRecord(chosen, asked.program, asked.entry, positional, keywords, asked_lane, int(time.time() * 1000))
    async with redis_home(redis_url) as home:
        coordination = home.coordination
        start = seal_start(home.sealer, start)
        there = await coordination.describe(chosen) if agent else None
        if there is None:
            start = await _checked(out, coordination, start)
        elif same_start(home.sealer, there.start, start):
            start = there.start
        else:
            raise _taken(chosen, there.status.value, there.start)
        answer = await coordination.create(start)
        if isinstance(answer, Exists):
            raise _taken(chosen, answer.status.value, answer.start)
        if answer.ticket is not None:
            await coordination.enqueue(answer.ticket)
        view = await coordination.describe(chosen)
        held = (await coordination.caps()).get(queue_of(start.queue)) == 0
    status = view.status.value if view else "ready"
    if out.as_json:
        checkpoint = str(view.last) if view and view.last else None
        out.json(
            {
                "agent_id": chosen,
                "status": status,
                "program": start.program,
                "entry": start.entry,
                "queue": queue_of(start.queue),
                "priority": priority_of(start.queue).value,
                "fresh": answer.fresh,
                "checkpoint": checkpoint,
            }
        )
    else:
        out.say(chosen)
    if not answer.fresh:
        out.note(f"agent {chosen} was submitted before; it is {status}")
    if held and answer.ticket is not None:
        queue = queue_of(start.queue)
        go = f"playbooksctl queue {queue} --max-agents none"
        out.note(f"warning: queue {queue!r} is held, and no agent of it is taken until: {go}")


async def _checked(out: Output, coordination: Coordination, start: StartRecord) -> StartRecord:
    """*start* with its queue, when a live worker has the playbook and the arguments fit it."""
    import dataclasses

    known = await _programs(out, coordination, start.program)
    builds = [info for info in known if start.entry in info.signatures]
    if not builds:
        names = ", ".join(sorted({name for info in known for name in info.signatures}))
        raise CommandError(f"program {start.program} has no playbook {start.entry!r}; it has: {names or 'none'}")
    _check_arguments(builds, start)
    queues = sorted({info.queue for info in builds})
    queue = queue_of(start.queue)
    if queue and queue not in queues:
        out.note(
            f"warning: no live worker takes {start.program} from queue {queue!r} (they take it from "
            f"{', '.join(queues)}); the agent waits for one that does: playbooks-worker --queue {queue} ..."
        )
    return dataclasses.replace(start, queue=lane(queue or queues[0], priority_of(start.queue)))


def _check_arguments(builds: Sequence[ProgramInfo], start: StartRecord) -> None:
    """Builds may differ while a deploy rolls on: the arguments must fit one of them."""
    from playbooks_worker.host.signatures import ArgumentsError, bind

    for number, info in enumerate(builds, 1):
        try:
            return bind(start.entry, info.signatures[start.entry], start.args, start.kwargs)
        except ArgumentsError:
            if number == len(builds):
                raise


async def _programs(out: Output, coordination: Coordination, program: str) -> Sequence[ProgramInfo]:
    """What live workers say about *program*; waits for the first such worker."""
    deadline = time.monotonic() + WAIT_FOR_PROGRAM_S
    told = False
    while True:
        programs = await coordination.programs()
        if known := [info for info in programs if info.program == program]:
            return known
        if time.monotonic() >= deadline:
            names = ", ".join(sorted({info.program for info in programs}))
            raise CommandError(
                f"no live worker has a program {program!r}; known: {names or 'none'}",
                hint=f"Start one: playbooks-worker {program}.py (or `playbooksctl dev {program}.py`), "
                "or see `playbooksctl workers`.",
            )
        if not told:
            out.note(f"waiting up to {WAIT_FOR_PROGRAM_S:.0f} s for a worker that has {program!r} ...")
            told = True
        await asyncio.sleep(_POLL_S)


def _taken(agent: str, status: str, start: StartRecord) -> CommandError:
    return CommandError(
        f"agent {agent} exists already ({start.program}:{start.entry}, {status}) and was started with something else",
        hint="Choose another --agent-id, or none.",
        facts={"agent_id": agent, "status": status},
    )
