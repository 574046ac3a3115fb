"""`playbooksctl show`: one agent: where it stands, who runs it, which checkpoint it would go on from."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.views import (
    Record,
    ago,
    as_text,
    record,
    shown,
    stack_lines,
    styled_diff,
    styled_status,
    waits_for,
    waits_for_room,
    when,
)


def show(
    agent_id: options.AgentId,
    with_locals: Annotated[
        bool,
        typer.Option("--locals", help="With the variables of each frame: loads the program and its checkpoint here."),
    ] = False,
    program: Annotated[
        str | None, typer.Option("--program", metavar="PROGRAM", help="With --locals: the program's file or module.")
    ] = None,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Show one agent: its status, worker, checkpoint, call stack, and what it waits for."""
    with Output(json) as out:
        if program is not None and not with_locals:
            raise CommandError("--program goes with --locals, which loads it")
        told = asyncio.run(_one(agent_id, storage_path, redis_url, with_locals, program))
        if out.as_json:
            out.json(told)
        else:
            _print(out, told)


async def _one(
    agent: str, storage_path: options.StoragePath, redis_url: str | None, with_locals: bool, program: str | None
) -> Record:
    from playbooks_providers.lanes import queue_of
    from playbooks_providers.loads import Loads
    from playbooks_providers.model import Status
    from playbooks_worker.cli.connect import home_of, known

    async with home_of(storage_path, redis_url) as home:
        view = await known(home, agent)
        told = record(view, home.sealer)
        if view.session is not None:
            session = await home.coordination.session(view.session)
            told["worker"] = session.worker if session else None
            told["pid"] = session.pid if session else None
            told["host"] = session.host if session else None
        if view.status is Status.READY and isinstance(home.coordination, Loads):
            queue = queue_of(view.start.queue)
            told["waits_for"] = waits_for_room(queue, await home.coordination.load())
        if with_locals:
            from playbooks_worker.cli.locals import frames

            told["frames"] = await frames(home, view, program)
        return told


def _print(out: Output, told: Record) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, value: object, *, when: object = True) -> None:
        if when:
            table.add_row(name, value if isinstance(value, Text) else Text(str(value)))

    row("agent", told["agent_id"])
    row("status", styled_status(told["status"]))
    row("runs" if told["status"] == "running" else "why", told.get("why"), when=told.get("why"))
    row("changes", styled_diff(told.get("changes", [])), when=told.get("changes"))
    row("program", f"{told['program']}:{told['entry']}")
    row("parent", told["parent"], when=told["parent"])
    row("run", told["run"], when=told["run"] != told["agent_id"])
    row("waits for", told.get("waits_for") or waits_for(told), when=told.get("waits_for") or waits_for(told))
    row("wakes", when(told.get("wake_ms") or 0), when=told.get("wake_ms"))
    for asked in told.get("asks", []):
        row("asks", f"{asked['person']}: {as_text(asked['question'])}")
    row("mail", f"{told.get('mail')} not read yet", when=told.get("mail"))
    if order := told.get("order"):
        row("order", f"{order['kind']}: {order['why']}")
    row("queue", told["queue"], when=told["queue"])
    row("priority", told["priority"], when=told["priority"] != "normal")
    row("worker", f"{told.get('worker')} (pid {told.get('pid')} on {told.get('host')})", when=told.get("worker"))
    row("session", told["session"], when=told["session"])
    row("fence", told["fence"])
    age = f", {ago(told['time_ms'])} ago" if "time_ms" in told else ""
    row("checkpoint", f"{told['checkpoint']} (number {told['seq']}{age})" if told["checkpoint"] else "none yet")
    row("signature", "not checked: no signing key here", when=told.get("verified") is False)
    row("unreadable", told.get("unreadable"), when=told.get("unreadable"))
    frames = told.get("frames")
    if frames:
        from playbooks_worker.cli.locals import lines

        row("frames", lines(frames))
    row("stack", "\n".join(stack_lines(told.get("stack", []))), when=told.get("stack") and not frames)
    row("result", shown(told.get("result")), when="result" in told)
    if error := told.get("error"):
        row("error", f"{error['type']}: {error['message']}", when=not told.get("why"))
        row("traceback", told.get("traceback", "").rstrip("\n"), when=told.get("traceback"))
    out.show(table)
