"""`playbooksctl runs`: the runs, each an agent with those that it has spawned, newest first."""

from __future__ import annotations

import asyncio
from typing import Any

from playbooks_worker.cli import options
from playbooks_worker.cli.output import Output
from playbooks_worker.cli.views import Record, ago, styled_status, table_of


def runs(
    storage_path: options.StoragePath = None, redis_url: options.RedisUrl = None, json: options.Json = False
) -> None:
    """List the runs: the agents that were started by a person, each with those that it has spawned."""
    with Output(json) as out:
        from playbooks_worker.cli.list import agents

        found = gathered(asyncio.run(agents(storage_path, redis_url)))
        if out.as_json:
            out.json(found)
        elif found:
            _print(out, found)
        else:
            out.note("no runs" + (f" in {storage_path}" if storage_path else ""))


def gathered(agents: list[Record]) -> list[Record]:
    """The runs of *agents*, newest first. One whose first agent is gone is named by its id alone."""
    from playbooks_providers.model import FINAL

    by_run: dict[str, list[Record]] = {}
    for told in agents:
        by_run.setdefault(told["run"], []).append(told)
    made: list[Record] = []
    for run, members in by_run.items():
        first: dict[str, Any] = next((one for one in members if one["agent_id"] == run), {})
        counts: dict[str, int] = {}
        for one in members:
            counts[one["status"]] = counts.get(one["status"], 0) + 1
        made.append(
            {
                "run": run,
                "program": first.get("program", members[0]["program"]),
                "status": first.get("status", "unknown"),
                "agents": len(members),
                "unfinished": sum(one["status"] not in FINAL for one in members),
                "by_status": counts,
                "created_ms": min(one["created_ms"] for one in members),
            }
        )
    return sorted(made, key=lambda one: -one["created_ms"])


def _print(out: Output, found: list[Record]) -> None:
    from rich.text import Text

    table = table_of(("RUN", "STATUS", "PROGRAM", "ENDED", "AGE"), right=("ENDED", "AGE"))
    for told in found:
        table.add_row(
            Text(told["run"]),
            styled_status(told["status"]),
            Text(told["program"]),
            f"{told['agents'] - told['unfinished']} of {told['agents']}",
            ago(told["created_ms"]),
        )
    out.show(table)
