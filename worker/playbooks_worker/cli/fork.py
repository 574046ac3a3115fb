"""`playbooksctl fork`: a new agent that goes on from a kept checkpoint of another one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output


def fork(
    agent_id: options.AgentId,
    at: Annotated[
        int | None, typer.Option("--at", metavar="N", min=1, help="From checkpoint N, not from the newest one.")
    ] = None,
    new_id: options.NewAgentId = None,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Make a new agent that goes on from a kept checkpoint of another one, with nothing to send and no children.

    What is in flight there happens again, for the new one. Awaiting a child that had not ended raises ChildFailed.
    """
    with Output(json) as out:
        asyncio.run(_fork(out, agent_id, at, new_id, storage_path, redis_url))


async def _fork(
    out: Output, agent: str, at: int | None, new_id: str | None, storage_path: Path | None, redis_url: str | None
) -> None:
    from playbooks_providers import ids
    from playbooks_providers.errors import UnknownCheckpoint
    from playbooks_providers.model import Created, Exists
    from playbooks_worker.cli.connect import home_of, known, signing
    from playbooks_worker.host.forking import fork_of

    async with home_of(storage_path, redis_url) as home:
        view = await known(home, agent)
        chosen = ids.agent_id(new_id) if new_id else ids.new_agent_id(view.start.program)
        now_ms = round(time.time() * 1000)
        try:
            start, entry = await fork_of(home.checkpoints, signing(home), view, chosen, at, now_ms)
        except UnknownCheckpoint as error:
            hint = "A parked or ended agent keeps its last alone, unless worker.keep_when_parked is set"
            raise CommandError(str(error), hint=hint, kind="UnknownCheckpoint", facts={"agent_id": agent}) from error
        answer = await home.coordination.fork(start, entry)
        if isinstance(answer, Created) and answer.ticket is not None:
            await home.coordination.enqueue(answer.ticket)
    if isinstance(answer, Exists) or not answer.fresh:
        raise CommandError(f"agent {chosen} exists already", hint="Choose another --agent-id")
    if out.as_json:
        out.json({"agent_id": chosen, "forked_from": agent, "checkpoint": entry.id.seq})
        return
    out.say(f"agent {chosen} goes on from checkpoint {entry.id.seq} of {agent}")
    if home.folder is None:
        out.note(home.see(chosen))
    else:
        out.note(f"Let it go on: {home.goes_on(replace(view, agent=chosen))}")
