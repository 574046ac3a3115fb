"""`playbooksctl retry`: a person lets an agent go on that was set aside or has failed, and says how."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.target import choice

if TYPE_CHECKING:
    from playbooks_providers.model import AgentView, Choice
    from playbooks_worker.cli.connect import AnyHome


def retry(
    agent_id: options.AgentId,
    accept_changed: options.AcceptChanged = False,
    restart: options.Restart = False,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Let an agent go on that is blocked, paused, quarantined or failed: from its checkpoint, unless told otherwise.

    (One in a folder that no process runs goes on with `playbooksctl run PROGRAM --resume ID`.)
    """
    with Output(json) as out:
        from playbooks_providers import ids

        chosen = choice(accept_changed, restart)
        ids.agent_id(agent_id)  # a slip of the fingers is told before a server is looked for
        asyncio.run(_retry(out, agent_id, chosen, storage_path, redis_url))


async def _retry(out: Output, agent: str, chosen: Choice, storage_path: Path | None, redis_url: str | None) -> None:
    from playbooks_worker.cli.connect import home_of, known
    from playbooks_worker.cli.control import nobody_runs

    async with home_of(storage_path, redis_url) as home:
        before = await known(home, agent)
        if not await goes_on(home, before, chosen):
            raise _refused(home, before)
        command = await nobody_runs(home, before)
    if out.as_json:
        out.json({"agent_id": before.agent, "status": "ready", "was": before.status.value, "choice": chosen.value})
    else:
        out.say(f"agent {before.agent} was {before.status} and is ready to go on")
        out.note(f"Nobody runs it: {command}" if command else home.see(before.agent))


async def goes_on(home: AnyHome, before: AgentView, chosen: Choice) -> bool:
    """False: there is nothing to go on with. May be repeated."""
    from playbooks_providers.letters import Unread
    from playbooks_providers.model import FINAL, Choice, Gone, Minted
    from playbooks_worker.cli.connect import signing

    async def again(read: int | None) -> Minted | Unread | Gone:
        return await home.coordination.retry(before.agent, before.fence, chosen, read=read)

    if chosen is Choice.RESTART and before.status not in FINAL:
        from playbooks_worker.host.ending import begins_again

        sealer = signing(home)  # who asked it is told now, or never
        answer = await begins_again(home.coordination, home.checkpoints, sealer, before.agent, before.birth, again)
    else:
        answer = await again(None)
    if not isinstance(answer, Minted):
        return False
    if answer.due_ms is None:
        await home.coordination.enqueue(answer.ticket)
    return True


def _refused(home: AnyHome, view: AgentView) -> CommandError:
    from playbooks_providers.model import FINAL, Status

    if view.status in FINAL:
        hint = f"Start it anew: {home.anew(view)}"
    else:
        ready = home.folder is not None and view.status is Status.READY
        hint = f"It goes on with: {home.goes_on(view)}" if ready else "It goes on by itself."
    return CommandError(
        f"agent {view.agent} is {view.status}: there is nothing to retry",
        hint=hint,
        facts={"agent_id": view.agent, "status": view.status.value},
    )
