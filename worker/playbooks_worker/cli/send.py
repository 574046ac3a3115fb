"""`playbooksctl send`: a person's message to an agent, which `receive` answers there like any other.

Each message is the only one of its sender (`person:NAME#…`), so that people number nothing; two of the same person may
overtake each other.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.views import given

_ONCE = 1  # its birth, and its number


def send(
    agent_id: Annotated[str, typer.Argument(metavar="AGENT", help="Whom it is for.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The message.")],
    sender: Annotated[
        str, typer.Option("--from", metavar="PERSON", help="Whom it is from: `person(PERSON)` there.")
    ] = "anyone",
    as_value: options.AsValue = False,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Send a message to an agent, which reads it with `receive`, whatever it does now."""
    with Output(json) as out:
        value = given(text, as_value=as_value)
        if not sender or sender != sender.strip() or "#" in sender:
            raise CommandError(f"--from takes a name without '#', not {sender!r}")
        asyncio.run(_send(out, agent_id, value, sender, storage_path, redis_url))


async def _send(
    out: Output, agent: str, value: Any, sender: str, storage_path: Path | None, redis_url: str | None
) -> None:
    from playbooks_providers.envelope import Body, seal_letter
    from playbooks_providers.letters import Delivered, Full
    from playbooks_providers.settings import load_settings
    from playbooks_worker.cli.connect import home_of, known, signing
    from playbooks_worker.cli.control import nobody_runs
    from playbooks_worker.host.answers import answered

    limit = load_settings({}, Path.cwd()).worker.inbox_limit
    async with home_of(storage_path, redis_url) as home:
        view = await known(home, agent)
        name = f"person:{sender}#{secrets.token_hex(6)}"
        letter = seal_letter(signing(home), view.agent, name, _ONCE, _ONCE, Body("message", "", value))
        said = await answered(home.coordination, view.agent, letter, birth=view.birth, limit=limit)
        facts = {"agent_id": agent, "status": view.status.value}
        if isinstance(said, Full):
            hint = f"Send it again when the agent has read some: playbooksctl show {agent}{home.there()}"
            raise CommandError(
                f"the inbox of agent {agent} has {limit} messages and takes no more", hint=hint, facts=facts
            )
        if not isinstance(said, Delivered):
            raise CommandError(f"agent {agent} is {view.status}: nobody would read the message", facts=facts)
        command = await nobody_runs(home, view)
    if out.as_json:
        out.json({**facts, "value": value})
        return
    out.say(f"sent to {agent}")
    if command:
        out.note(f"Nobody runs it: it reads the message when it goes on: {command}")
