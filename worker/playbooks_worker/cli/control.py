"""`playbooksctl cancel, terminate, pause, unpause, delete`: what people want of an agent, whatever it does.

On workers, or in a folder, run by another process or by none."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Exit, Output, exit_of

if TYPE_CHECKING:
    from pathlib import Path

    from playbooks_providers.model import AgentView, Order, OrderKind
    from playbooks_worker.cli.connect import AnyHome

_LETS_GO_S = 5.0
_TAKES_S = 1.0
_SOON_S = 0.05
_PAST = {"cancel": "cancelled", "pause": "paused", "terminate": "terminated"}

Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Kept with the agent, and in the logs.")]


def cancel(
    agent_id: options.AgentId,
    why: Why = "a person has cancelled it",
    within: Annotated[
        float | None,
        typer.Option(
            "--within", metavar="SECONDS", min=0, help="End it after this time if it has not ended by itself."
        ),
    ] = None,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Cancel an agent and its children.

    AgentCancelled is raised at the await that each has reached, and their `finally` blocks run, wherever they are."""
    with Output(json) as out:
        from playbooks_providers.model import OrderKind

        deadline_ms = None if within is None else round((time.time() + within) * 1000)
        asyncio.run(_order(out, agent_id, OrderKind.CANCEL, why, deadline_ms, storage_path, redis_url))


def pause(
    agent_id: options.AgentId,
    why: Why = "a person has paused it",
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Stop an agent at its next checkpoint, until `unpause`.

    Nothing is done twice. Its timers and deadlines run on, its letters wait for it."""
    with Output(json) as out:
        from playbooks_providers.model import OrderKind

        asyncio.run(_order(out, agent_id, OrderKind.PAUSE, why, None, storage_path, redis_url))


async def _order(
    out: Output,
    agent: str,
    kind: OrderKind,
    why: str,
    deadline_ms: int | None,
    storage_path: Path | None,
    redis_url: str | None,
) -> None:
    from playbooks_providers.model import Gone, Order, Status
    from playbooks_worker.cli.connect import home_of, known
    from playbooks_worker.host.giving import give

    async with home_of(storage_path, redis_url) as home:
        before = await known(home, agent)
        said = await give(home.coordination, before.agent, Order(secrets.token_hex(8), kind, why, deadline_ms))
        if isinstance(said, Gone):
            raise _refused(before, _why_not(await home.coordination.wanted(before.agent), kind))
        command = await nobody_runs(home, before) if said.status is Status.READY else ""
    if out.as_json:
        out.json({"agent_id": agent, "order": kind.value, "was": before.status.value, "status": said.status.value})
    elif said.status is Status.PAUSED:
        out.say(f"agent {agent} is paused")
    else:
        out.say(f"agent {agent} is told to {kind.value}")
        out.note(
            f"Nobody runs it: it is {_PAST[kind.value]} when it goes on: {command}" if command else home.see(agent)
        )


def unpause(
    agent_id: options.AgentId,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Let a paused agent go on where it stands, or one that is about to be paused."""
    with Output(json) as out:
        asyncio.run(_unpause(out, agent_id, storage_path, redis_url))


async def _unpause(out: Output, agent: str, storage_path: Path | None, redis_url: str | None) -> None:
    from playbooks_providers.model import Status
    from playbooks_worker.cli.connect import home_of, known

    async with home_of(storage_path, redis_url) as home:
        before = await known(home, agent)
        give_up = time.monotonic() + _LETS_GO_S
        while not await _paused_no_longer(home, before):  # it was paused, or died, between the look and the deed
            if time.monotonic() > give_up:
                raise _refused(before, "it was changed meanwhile")
            await asyncio.sleep(_SOON_S)
            before = await known(home, agent)
        command = await nobody_runs(home, before)
    now = Status.READY if before.status is Status.PAUSED else before.status
    _done(out, before, now, f"agent {agent} is paused no longer" if command else f"agent {agent} goes on")
    if command:
        out.note(f"Nobody runs it: {command}")


async def _paused_no_longer(home: AnyHome, before: AgentView) -> bool:
    """False: it is not what it was."""
    from playbooks_providers.model import FINAL, Choice, Done, OrderKind, Status
    from playbooks_worker.cli.retry import goes_on

    agent, order = before.agent, before.order
    if before.status is Status.PAUSED:
        return await goes_on(home, before, Choice.RESUME)
    if order is not None and order.kind is OrderKind.PAUSE and before.status not in FINAL:
        return await home.coordination.withdraw(agent, order) == Done()
    aside = exit_of(before.status) is not None and before.status not in (Status.COMPLETED, Status.CANCELLED)
    hint = f"Let it go on all the same: playbooksctl retry {agent}{home.there()}" if aside else ""
    raise CommandError(f"agent {agent} is {before.status}, not paused", hint=hint, facts=_facts(before))


def terminate(
    agent_id: options.AgentId,
    why: Why = "a person has terminated it",
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """End an agent at once, as cancelled.

    No statement of it runs any more, not even a `finally`; its children go on. (`cancel` is the gentle way.)"""
    with Output(json) as out:
        asyncio.run(_terminate(out, agent_id, why, storage_path, redis_url))


async def _terminate(out: Output, agent: str, why: str, storage_path: Path | None, redis_url: str | None) -> None:
    from playbooks_worker.cli.connect import home_of, known

    async with home_of(storage_path, redis_url) as home:
        before = await known(home, agent)
        if not await _end(home, before, why):
            raise _refused(before, "there is nothing to terminate")
    _done(out, before, "cancelled", f"agent {agent} was {before.status} and is cancelled")


async def _end(home: AnyHome, view: AgentView, why: str) -> bool:
    """Terminate it, and tell who waits for it; a worker does so if this process dies, or has no key. False: it has ended."""
    from playbooks_providers.errors import AgentLocked
    from playbooks_providers.model import Gone, Order, OrderKind
    from playbooks_worker.host.ending import terminated
    from playbooks_worker.host.giving import give

    order = Order(secrets.token_hex(8), OrderKind.TERMINATE, why)
    if isinstance(await give(home.coordination, view.agent, order), Gone):
        return False
    give_up = time.monotonic() + _LETS_GO_S
    while home.sealer is not None:
        try:
            await terminated(home.coordination, home.checkpoints, home.sealer, view.start, view.birth, why)
            break
        except AgentLocked as locked:  # in a folder: the process that runs it is told, and does the same
            if time.monotonic() > give_up:
                raise CommandError(
                    f"agent {view.agent} is to end, and nothing that it still does is kept",
                    Exit.SET_ASIDE,
                    hint=f"It has ended when {locked.holder} does, or looks up",
                    facts=_facts(view),
                ) from locked
            await asyncio.sleep(_SOON_S)
    return True


def delete(
    agent_id: options.AgentId,
    yes: Annotated[bool, typer.Option("--yes", help="Also when it has not ended.")] = False,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Forget everything about an agent.

    Its state, its history, its mail and its result are gone."""
    with Output(json) as out:
        asyncio.run(_delete(out, agent_id, yes, storage_path, redis_url))


async def _delete(out: Output, agent: str, yes: bool, storage_path: Path | None, redis_url: str | None) -> None:
    from playbooks_providers.model import FINAL
    from playbooks_worker.cli.connect import home_of, known, signing

    async with home_of(storage_path, redis_url) as home:
        before = await known(home, agent)
        if before.status not in FINAL and not yes:
            raise CommandError(
                f"agent {agent} is {before.status}: all its work would be lost",
                hint=f"Delete it all the same: playbooksctl delete {agent} --yes{home.there()}",
                facts=_facts(before),
            )
        if before.status not in FINAL:
            signing(home)  # whoever asked it is told now, or never
            await _end(home, before, "a person has deleted it")
        await home.coordination.delete(before.agent)
    _done(out, before, None, f"agent {agent} was {before.status} and is deleted")


async def nobody_runs(home: AnyHome, view: AgentView) -> str:
    """Of an agent in a folder that is ready: the command by which it goes on, when no process takes it soon."""
    from playbooks_providers.model import Status

    give_up = time.monotonic() + _TAKES_S
    while home.folder is not None:
        stands = await home.coordination.standing(view.agent)
        if stands is None or stands.status is not Status.READY:
            break
        if time.monotonic() > give_up:
            return home.goes_on(view)
        await asyncio.sleep(_SOON_S)
    return ""


def _why_not(stands: Order | None, kind: OrderKind) -> str:
    if stands is not None and stands.kind is not kind:
        return f"it is to be {_PAST[stands.kind.value]}"
    return f"it cannot be {_PAST[kind.value]}"


def _facts(view: AgentView) -> dict[str, object]:
    return {"agent_id": view.agent, "status": view.status.value}


def _refused(view: AgentView, why: str) -> CommandError:
    return CommandError(f"agent {view.agent} is {view.status}: {why}", facts=_facts(view))


def _done(out: Output, before: AgentView, status: str | None, said: str) -> None:
    if out.as_json:
        out.json({"agent_id": before.agent, "was": before.status.value, "status": status})
    else:
        out.say(said)
