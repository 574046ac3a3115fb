"""`playbooksctl queue`: one queue, and how many of its agents may run at once on all workers together."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Exit, Output
from playbooks_worker.cli.scale import facts_of, of_queue, table

_NONE = "none"


def queue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A program's own queue has the program's name.")],
    max_agents: Annotated[
        str | None,
        typer.Option(
            "--max-agents",
            metavar="N",
            help="So many of its agents run at once, on all workers together; 0 holds the queue, `none` takes it away.",
        ),
    ] = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Show a queue; say how many of its agents run at once at most.

    Workers obey within seconds. Those that run already go on; a parked agent does not count."""
    with Output(json) as out:
        said = None if max_agents is None else _number(max_agents)
        told = asyncio.run(_queue(name, max_agents is not None, said, redis_url))
        if out.as_json:
            out.json(told)
        elif max_agents is None:
            out.show(table([told]))
        else:
            _tell(out, told, said)


def _tell(out: Output, told: dict[str, Any], most: int | None) -> None:
    name = told["queue"]
    if most is None:
        out.say(f"queue {name}: as many agents at once as workers have slots")
        return
    if most == 0:
        out.say(f"queue {name}: held, no agent of it is taken")
        out.note(f"Let it go on: playbooksctl queue {name} --max-agents {_NONE}")
    else:
        out.say(f"queue {name}: at most {most} {'agent' if most == 1 else 'agents'} at once, on all workers together")
    if not told["ready"] and not told["running"] and not told["capacity"]:
        out.note("No live worker takes from it, and no agent waits in it: is that its name?")
    elif told["running"] > most:
        out.note(f"{told['running']} run now, and go on: playbooksctl queue {name}")


def _number(said: str) -> int | None:
    if said == _NONE:
        return None
    if not said.isascii() or not said.isdigit():
        raise CommandError(f"--max-agents {said}: a number, or `{_NONE}`", Exit.USAGE, kind="UsageError")
    return int(said)


async def _queue(name: str, change: bool, most: int | None, redis_url: str | None) -> dict[str, Any]:
    from playbooks_providers.lanes import queue_name
    from playbooks_worker.cli.connect import redis_home

    async with redis_home(redis_url) as home:
        if change:
            await home.coordination.set_cap(queue_name(name), most)
        return facts_of(await of_queue(home, name))
