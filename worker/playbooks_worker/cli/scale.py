"""`playbooksctl drain` and `scale-hint`: how many workers there should be, for people, scripts and autoscalers."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Exit, Output
from playbooks_worker.cli.views import table_of

if TYPE_CHECKING:
    from rich.table import Table

    from playbooks_providers.ids import SessionId
    from playbooks_providers.loads import Load, QueueLoad, SystemLoad
    from playbooks_worker.cli.connect import RedisHome

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

    The same as SIGTERM to its process, from anywhere. It learns of it with its next heartbeat. (Kubernetes starts it again:
    delete its pod instead.)"""
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


async def _sessions_of(home: RedisHome, worker: str) -> tuple[list[SessionId], set[str]]:
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
    hint = _near(worker, names) or "`playbooksctl workers` lists those that live"
    return CommandError(f"no live worker is called {worker}", Exit.USAGE, kind="UnknownWorker", hint=hint)


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]}?" if near else ""


def scale_hint(
    group: Annotated[str | None, typer.Option("--group", metavar="NAME", help="This group of workers alone.")] = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Say how many agents can run, and how many could at once: by queue, by group of workers, and in all.

    HINT is RUNNABLE / SLOTS: above 1 agents wait for workers, far below 1 workers wait for agents. Runnable are those
    READY and RUNNING, up to MAX (`playbooksctl queue`): for who waits for that, workers need not be more. CAPACITY says how
    many of a queue workers take at once; a worker that reads several queues has its slots once. A queue that no worker reads
    is in the total alone. With --json `hint` is null where agents wait and there is no worker at all."""
    with Output(json) as out:
        load = asyncio.run(_load(redis_url))
        groups = {name: _facts(each) for name, each in load.groups.items()}
        if group is not None and group not in groups:
            hint = _near(group, groups) or "playbooksctl scale-hint lists all"
            raise CommandError(f"there is no live worker of group {group}", kind="UnknownGroup", hint=hint)
        if out.as_json and group is not None:
            out.json(groups[group])
        elif out.as_json:
            out.json(
                {"queues": [facts_of(each) for each in load.queues], "groups": groups, "total": _facts(load.total)}
            )
        elif group is not None:
            out.show(_table_of_groups([(group, groups[group])]))
        elif not load.queues:
            out.note("no queues: nothing was submitted, and no worker is there; start one: playbooks-worker PROGRAM.py")
        else:
            out.show(table([facts_of(each) for each in load.queues]))
            out.say("")
            out.show(_table_of_groups([*groups.items(), ("total", _facts(load.total))]))


async def _load(redis_url: str | None) -> SystemLoad:
    from playbooks_worker.cli.connect import redis_home

    async with redis_home(redis_url) as home:
        return await home.coordination.load()


async def of_queue(home: RedisHome, queue: str) -> QueueLoad:
    """The load of one queue. Raises `CommandError`."""
    loads = {load.queue: load for load in (await home.coordination.load()).queues}
    if queue not in loads:
        hint = _near(queue, loads) or "playbooksctl scale-hint lists all"
        raise CommandError(f"there is no queue {queue}", kind="UnknownQueue", hint=hint)
    return loads[queue]


def facts_of(load: QueueLoad) -> dict[str, Any]:
    return {
        "queue": load.queue,
        "ready": load.ready,
        "running": load.running,
        "max_agents": load.cap,
        "runnable": load.runnable,
        "capacity": load.capacity,
    }


def _facts(load: Load) -> dict[str, Any]:
    return {"runnable": load.runnable, "slots": load.slots, "hint": load.hint}


def table(told: Sequence[dict[str, Any]]) -> Table:
    """Of queues."""
    from rich.text import Text

    numbers = ("READY", "RUNNING", "MAX", "CAPACITY")
    shown = table_of(("QUEUE", *numbers), right=numbers)
    for each in told:
        most = "-" if each["max_agents"] is None else str(each["max_agents"])
        shown.add_row(Text(each["queue"]), str(each["ready"]), str(each["running"]), most, str(each["capacity"]))
    return shown


def _table_of_groups(told: Iterable[tuple[str, dict[str, Any]]]) -> Table:
    from rich.text import Text

    numbers = ("RUNNABLE", "SLOTS", "HINT")
    shown = table_of(("GROUP", *numbers), right=numbers)
    for name, each in told:
        hint = "no workers" if each["hint"] is None else f"{each['hint']:.2f}"
        shown.add_row(Text(name), str(each["runnable"]), str(each["slots"]), hint)
    return shown


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
