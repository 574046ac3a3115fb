"""`playbooksctl list`: every agent, newest first; on Redis, or in a folder of `run`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from playbooks_worker.cli import options
from playbooks_worker.cli.output import Output
from playbooks_worker.cli.views import Record, ago, record

if TYPE_CHECKING:
    from playbooks_providers.envelope import Sealer
    from playbooks_providers.model import AgentView


def list_agents(
    storage_path: options.StoragePath = None, redis_url: options.RedisUrl = None, json: options.Json = False
) -> None:
    """List the agents, newest first."""
    with Output(json) as out:
        told = sorted(asyncio.run(agents(storage_path, redis_url)), key=lambda each: -each["created_ms"])
        if out.as_json:
            out.json(told)
        elif told:
            _print(out, told)
        else:
            out.note("no agents" + (f" in {storage_path}" if storage_path else ""))


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
    from rich.table import Table
    from rich.text import Text

    from playbooks_worker.cli.views import styled_status, waits_for

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    anybody_waits = any(told["status"] == "waiting" for told in agents)
    for heading in ("AGENT", "STATUS", "PROGRAM", "STEP", "AGE", *(("WAITS FOR",) if anybody_waits else ())):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("STEP", "AGE") else "left")
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
