"""`playbooksctl drain` and `scale-hint`: how many workers there should be, for people, scripts and autoscalers."""

from __future__ import annotations

import asyncio
import difflib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Exit, Output
from playbooks_worker.cli.views import table_of

if TYPE_CHECKING:
    from playbooks_providers.ids import SessionId
    from playbooks_worker.cli.connect import Home

_POLL_S = 0.1


def drain(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="Its name, as `playbooksctl workers` shows it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has handed over all its agents.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long --wait waits.")
    ] = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Have a worker take no more agents, hand over those it holds, and end.

    The same as SIGTERM to its process, from anywhere. It learns of it with its next heartbeat."""
    with Output(json) as out:
        asyncio.run(_drain(out, worker, wait, timeout, redis_url))


async def _drain(out: Output, worker: str, wait: bool, timeout_s: float | None, redis_url: str | None) -> None:
    from playbooks_worker.cli.connect import redis_home

    async with redis_home(redis_url) as home:
        sessions, names = await _sessions_of(home, worker)
        if not sessions:
            raise _unknown(worker, names)
        await home.coordination.ask_to_drain(sessions)
        if not wait:
            if out.as_json:
                out.json({"worker": worker, "sessions": sessions, "drained": False})
            else:
                out.say(f"worker {worker} is told to drain ({_count(len(sessions), 'executor')})")
                out.note("See it: playbooksctl workers")
            return
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while left := (await _sessions_of(home, worker))[0]:
            await home.coordination.ask_to_drain(left)  # one may have been replaced just then
            if deadline is not None and time.monotonic() > deadline:
                raise CommandError(
                    f"worker {worker} still has {_count(len(left), 'executor')}",
                    Exit.TIMED_OUT,
                    hint="It goes on draining: playbooksctl workers",
                    facts={"worker": worker, "sessions": left, "drained": False},
                )
            await asyncio.sleep(_POLL_S)
    if out.as_json:
        out.json({"worker": worker, "sessions": sessions, "drained": True})
    else:
        out.say(f"worker {worker} has drained")


async def _sessions_of(home: Home, worker: str) -> tuple[list[SessionId], set[str]]:
    """Its live sessions, and the names of all workers."""
    found, names = [], set()
    for session in await home.coordination.sessions():
        info = await home.coordination.session(session)
        if info is not None:
            names.add(info.worker)
            if info.worker == worker:
                found.append(session)
    return sorted(found), names


def _unknown(worker: str, names: set[str]) -> CommandError:
    near = difflib.get_close_matches(worker, names, n=1)
    hint = f"Did you mean {near[0]}?" if near else "`playbooksctl workers` lists those that live"
    return CommandError(f"no live worker is called {worker}", Exit.USAGE, kind="UnknownWorker", hint=hint)


def scale_hint(
    queue: Annotated[str | None, typer.Option("--queue", metavar="NAME", help="This queue alone.")] = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Say for each queue how many agents can run, and how many could at once.

    HINT is RUNNABLE / CAPACITY: above 1 agents wait for workers, far below 1 workers wait for agents. With --json `hint` is
    null where agents wait and there is no worker at all."""
    with Output(json) as out:
        told = asyncio.run(_loads(queue, redis_url))
        if out.as_json:
            out.json(told)
            return
        if not told:
            out.note("no queues: nothing was submitted, and no worker is there; start one: playbooks-worker PROGRAM.py")
            return
        _print(out, told)


async def _loads(queue: str | None, redis_url: str | None) -> list[dict[str, Any]]:
    from playbooks_worker.cli.connect import redis_home

    async with redis_home(redis_url) as home:
        loads = [load for load in await home.coordination.loads() if queue in (None, load.queue)]
    if queue is not None and not loads:
        raise CommandError(f"there is no queue {queue}", kind="UnknownQueue", hint="playbooksctl scale-hint lists all")
    return [
        {
            "queue": load.queue,
            "ready": load.ready,
            "running": load.running,
            "runnable": load.runnable,
            "capacity": load.capacity,
            "hint": load.hint,
        }
        for load in loads
    ]


def _print(out: Output, told: list[dict[str, Any]]) -> None:
    from rich.text import Text

    table = table_of(("QUEUE", "READY", "RUNNING", "CAPACITY", "HINT"), right=("READY", "RUNNING", "CAPACITY", "HINT"))
    for each in told:
        hint = "no workers" if each["hint"] is None else f"{each['hint']:.2f}"
        table.add_row(Text(each["queue"]), str(each["ready"]), str(each["running"]), str(each["capacity"]), hint)
    out.show(table)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
