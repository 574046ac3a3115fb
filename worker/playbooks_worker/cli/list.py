"""`playbooksctl list`: every agent, newest first; on Redis, or in a folder of `run`."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.views import Record, ago, record, table_of

if TYPE_CHECKING:
    from playbooks_providers.envelope import Sealer
    from playbooks_providers.model import AgentView, Status


def list_agents(
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help="Only these: running, waiting, failed, ... (again for more)."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="At most so many; 0: all. Further ones are counted.")
    ] = 100,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """List the agents, newest first."""
    with Output(json) as out:
        wanted = _statuses(status or [])
        told, further = asyncio.run(_newest(wanted, limit, storage_path, redis_url))
        if out.as_json:
            out.json(told)
        elif told:
            _print(out, told)
        else:
            kind = f" that are {' or '.join(sorted(wanted))}" if wanted else ""
            out.note(f"no agents{kind}" + (f" in {storage_path}" if storage_path else ""))
        if further:
            out.note(f"older ones, not shown: {further:,} (--limit 0 shows all, --status STATUS some)")


def _statuses(given: list[str]) -> set[Status]:
    from playbooks_providers.model import Status

    for one in given:
        if one not in list(Status):
            near = difflib.get_close_matches(one, list(Status), n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(Status)}"
            raise CommandError(f"--status {one}: no agent has such a status", hint=hint)
    return {Status(one) for one in given}


async def _newest(
    wanted: set[Status], limit: int, storage_path: options.StoragePath, redis_url: str | None
) -> tuple[list[Record], int]:
    """The newest agents, and how many more there are. Only those that are shown are described."""
    from playbooks_worker.cli.connect import described, home_of

    async with home_of(storage_path, redis_url) as home:
        standings = await home.coordination.standings()
        chosen = [agent for agent, stands in standings.items() if not wanted or stands.status in wanted]
        chosen.sort(key=lambda agent: (-standings[agent].birth, agent))
        shown = chosen[:limit] if limit else chosen
        views = await described(home, shown)
        views.sort(key=lambda view: -view.start.created_ms)
        return [_told(view, home.sealer) for view in views], len(chosen) - len(shown)


async def agents(storage_path: options.StoragePath, redis_url: str | None) -> list[Record]:
    """All agents, as records, in no order."""
    from playbooks_worker.cli.connect import all_known, home_of

    async with home_of(storage_path, redis_url) as home:
        return [_told(view, home.sealer) for view in await all_known(home)]


def _told(view: AgentView, sealer: Sealer | None) -> Record:
    from playbooks_providers.errors import ProviderError, Unreachable

    try:
        return record(view, sealer)
    except Unreachable:
        raise
    except ProviderError as error:  # one bad agent must not hide the others
        return {**record(view, None), "unreadable": str(error)}


def _print(out: Output, agents: list[Record]) -> None:
    from rich.text import Text

    from playbooks_worker.cli.views import styled_status, waits_for

    anybody_waits = any(told["status"] == "waiting" for told in agents)
    table = table_of(
        ("AGENT", "STATUS", "PROGRAM", "STEP", "AGE", *(("WAITS FOR",) if anybody_waits else ())), right=("STEP", "AGE")
    )
    for told in agents:
        program = told["program"] if told["entry"] == "main" else f"{told['program']}:{told['entry']}"
        table.add_row(
            Text(told["agent_id"]),
            styled_status(told["status"]),
            Text(program),
            str(told["seq"]),
            ago(told["created_ms"]),
            *([Text(waits_for(told))] if anybody_waits else []),
        )
    out.show(table)
