"""`playbooksctl wait`: until an agent has ended or was set aside; its exit code is the agent's."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Exit, Output, exit_of
from playbooks_worker.cli.views import Record, announce_end, place, record

if TYPE_CHECKING:
    from playbooks_providers.model import AgentView
    from playbooks_worker.cli.connect import AnyHome

_POLL_FROM_S, _POLL_UP_TO_S = 0.05, 0.5
PATIENCE_S = 60.0  # with a Redis that answered before and does not any more


def wait(
    agent_id: options.AgentId,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="S", min=0, help="Give up after this many seconds (exit 124).")
    ] = None,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Wait for an agent to end, and print its result.

    Exits 0 when it completed, 1 when it failed, 3 when it is blocked, quarantined or cancelled.
    """
    with Output(json) as out:
        announce_end(out, asyncio.run(_wait(out, agent_id, timeout, storage_path, redis_url)))


async def _wait(
    out: Output, agent: str, timeout_s: float | None, storage_path: Path | None, redis_url: str | None
) -> Record:
    from playbooks_providers import ids
    from playbooks_providers.errors import UnknownAgent
    from playbooks_worker.cli.connect import home_of

    chosen = ids.agent_id(agent)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pause = _POLL_FROM_S
    async with home_of(storage_path, redis_url) as home:
        view = await home.coordination.describe(chosen)
        while True:
            if view is None:
                raise UnknownAgent(agent)
            if exit_of(view.status) is not None:
                return record(view, home.sealer)
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise _ran_out(home, view, timeout_s or 0)
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _POLL_UP_TO_S)
            view = await _look_again(out, home, view, deadline)


async def _look_again(out: Output, home: AnyHome, before: AgentView, deadline: float | None) -> AgentView | None:
    """The agent now. A server that answered before may be away for a while: that is no reason to give up at once."""
    from playbooks_providers.errors import Unreachable

    give_up = time.monotonic() + PATIENCE_S
    told = False
    while True:
        try:
            return await home.coordination.describe(before.agent)
        except Unreachable as error:
            now = time.monotonic()
            if now >= give_up:
                raise
            if deadline is not None and now >= deadline:
                return before
            if not told:
                out.note(f"{error}; trying again for {PATIENCE_S:.0f} s")
                told = True
            await asyncio.sleep(_POLL_UP_TO_S)


def _ran_out(home: AnyHome, view: AgentView, timeout_s: float) -> CommandError:
    from playbooks_providers.model import Status

    told = record(view, home.sealer)
    where = f", at {place(told)}" if place(told) else ""
    hint = f"It goes on; see: playbooksctl show {view.agent}{home.there()}"
    if view.status is Status.PAUSED:
        hint = f"Let it go on: playbooksctl unpause {view.agent}{home.there()}"
    elif view.status is Status.READY and home.folder is not None:
        hint = f"Nobody runs it: {home.goes_on(view)}"
    return CommandError(
        f"agent {view.agent} has not ended after {timeout_s:g} s: it is {told['status']}{where}",
        Exit.TIMED_OUT,
        hint=hint,
        facts=told,
    )
