"""`playbooksctl retry`: a person lets an agent on workers go on that was set aside or has failed, and says how."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.target import choice

if TYPE_CHECKING:
    from playbooks_providers.model import AgentView, Choice


def retry(
    agent_id: Annotated[str, typer.Argument(metavar="ID")],
    accept_changed: options.AcceptChanged = False,
    restart: options.Restart = False,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Let an agent go on that is blocked, paused, quarantined or failed: from its checkpoint, unless told otherwise.

    (An agent that `run` keeps in a folder: `playbooksctl run PROGRAM --resume ID`, with the same options.)
    """
    with Output(json) as out:
        chosen = choice(accept_changed, restart)
        asyncio.run(_retry(out, agent_id, chosen, redis_url))


async def _retry(out: Output, agent: str, chosen: Choice, redis_url: str | None) -> None:
    from playbooks_providers import ids
    from playbooks_providers.errors import UnknownAgent
    from playbooks_providers.model import Gone
    from playbooks_worker.cli.connect import redis_home

    wanted = ids.agent_id(agent)
    async with redis_home(redis_url) as home:
        coordination = home.coordination
        before = await coordination.describe(wanted)
        if before is None:
            raise UnknownAgent(agent)
        answer = await coordination.retry(before.agent, before.fence, chosen)
        if isinstance(answer, Gone):
            raise _refused(before)
        if answer.due_ms is None:
            await coordination.enqueue(answer.ticket)
    if out.as_json:
        out.json({"agent_id": before.agent, "status": "ready", "was": before.status.value, "choice": chosen.value})
    else:
        out.say(f"agent {before.agent} was {before.status} and is ready to go on")
        out.note(f"See it: playbooksctl wait {before.agent}")


def _refused(view: AgentView) -> CommandError:
    from playbooks_providers.model import FINAL

    ended = view.status in FINAL
    return CommandError(
        f"agent {view.agent} is {view.status}: there is nothing to retry",
        hint=f"Start it anew: playbooksctl submit {view.start.program}" if ended else "It goes on by itself.",
        facts={"agent_id": view.agent, "status": view.status.value},
    )
