"""`playbooksctl workers`: the sessions of live executors, the agents each holds, and the programs that can be submitted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from playbooks_worker.cli import options
from playbooks_worker.cli.output import Output
from playbooks_worker.cli.views import ago, table_of


def workers(redis_url: options.RedisUrl = None, json: options.Json = False) -> None:
    """List the live workers, and the programs they run."""
    with Output(json) as out:
        told, programs, caps = asyncio.run(_workers(redis_url))
        if out.as_json:
            out.json(told)
            return
        if not told:
            out.note("no live workers; start one: playbooks-worker PROGRAM.py")
            return
        _print(out, told)
        out.say("", "programs: " + (", ".join(sorted(programs)) or "none"))
        if caps:
            out.say(
                "at most at once, of a queue: " + ", ".join(f"{queue} {cap}" for queue, cap in sorted(caps.items()))
            )


async def _workers(redis_url: str | None) -> tuple[list[dict[str, Any]], set[str], Mapping[str, int]]:
    from playbooks_providers.lanes import lanes_of
    from playbooks_worker.cli.connect import redis_home

    async with redis_home(redis_url) as home:
        coordination = home.coordination
        programs = await coordination.programs()
        queues = sorted({info.queue for info in programs})
        offers = await coordination.offers()
        told = []
        for session, beats in (await coordination.sessions()).items():
            info = await coordination.session(session)
            if info is None:  # it ended between the two questions
                continue
            offer = offers.get(session)  # None: it is beginning
            held = await coordination.pending(session, lanes_of(queues)) if queues else []
            told.append(
                {
                    "worker": info.worker,
                    "host": info.host,
                    "pid": info.pid,
                    "session": session,
                    "group": offer.group if offer else None,
                    "slots": offer.slots if offer else 0,
                    "build": info.build,
                    "started_ms": info.started_ms,
                    "beats": beats,
                    "agents": sorted({ticket.agent for ticket in held}),
                }
            )
        caps = await coordination.caps()
    told.sort(key=lambda each: (each["worker"], each["started_ms"]))
    return told, {info.program for info in programs}, caps


def _print(out: Output, told: list[dict[str, Any]]) -> None:
    from rich.text import Text

    table = table_of(
        ("WORKER", "GROUP", "HOST", "PID", "SESSION", "AGENTS", "SLOTS", "UP"), right=("PID", "AGENTS", "SLOTS", "UP")
    )
    for each in told:
        table.add_row(
            Text(each["worker"]),
            Text(each["group"] or ""),
            Text(each["host"]),
            str(each["pid"]),
            Text(each["session"]),
            str(len(each["agents"])),
            str(each["slots"]),
            ago(each["started_ms"]),
        )
    out.show(table)
