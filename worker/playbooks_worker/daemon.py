"""The command `playbooks-worker`: settings, logs, signals, and the supervisor's connection. Wiring, no rules.

A supervisor runs no user code and never imports a program: its executors do, and one that cannot say so (`Broken`) ends
the worker with one line if no executor ever could.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path
from typing import Annotated

import structlog
import typer
from pydantic import SecretStr

from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Sealer
from playbooks_providers.errors import ConfigError, ProviderError, Unreachable
from playbooks_providers.lanes import queue_name
from playbooks_providers.logs import AskedFormat, LogFormat, chosen, configure
from playbooks_providers.redis import connect, wait_for
from playbooks_providers.service import Notifier, Probes, Pulse, Surface, open_surface, say_build
from playbooks_providers.settings import (
    Settings,
    check,
    encryption_keys,
    load_settings,
    settings_table,
    signing_key,
    weakness,
)
from playbooks_worker.channel import Orders
from playbooks_worker.manual import WorkerManual
from playbooks_worker.seat import Staff
from playbooks_worker.supervisor import BrokenProgram, Supervisor
from playbooks_worker.tracing import check_installed

REFUSED = 1
USAGE = 2
SECONDS_A_DAY = 86400.0

_log = structlog.get_logger()

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(name="playbooks-worker", cls=WorkerManual)
def work(  # noqa: PLR0913 - the options of a command
    programs: Annotated[list[str] | None, typer.Argument(metavar="PROGRAM")] = None,
    queue: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Take agents from it; repeatable [the programs' names].")
    ] = None,
    processes: Annotated[int | None, typer.Option(metavar="N", help="Executor processes [1].")] = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", help="Agents at once per executor [50].")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="QUEUE=N", help="Of it at most N at once per executor; repeatable.")
    ] = None,
    redis_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The Redis server (else PLAYBOOKS_REDIS__URL, playbooks.toml).")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What people call this worker [host-pid].")] = None,
    group: Annotated[
        str | None, typer.Option(metavar="NAME", help="The workers that are scaled together with this one [main].")
    ] = None,
    drain_timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds that agents have to reach a checkpoint on SIGTERM [25].")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Show /livez, /readyz and /metrics there, or `off` [127.0.0.1:9464]."),
    ] = None,
    otel: Annotated[
        bool | None, typer.Option("--otel", help="Send traces of agents to where OTEL_EXPORTER_OTLP_ENDPOINT says.")
    ] = None,
    log_format: Annotated[
        AskedFormat,
        typer.Option(
            metavar="FORMAT", help="Events on stderr: console, json, or auto: console in a terminal, else json."
        ),
    ] = "auto",
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show all settings and where each was said; exit.")
    ] = False,
    check_config: Annotated[
        bool, typer.Option("--check-config", help="Check the settings, say what is wrong; exit.")
    ] = False,
) -> None:
    """Run the agents of PROGRAM... with others of its kind, on one Redis.

    SIGTERM drains: each agent is handed over at its next checkpoint. A second signal stops at once.
    """
    try:
        if not programs and not (print_config or check_config):
            raise ConfigError("no program: playbooks-worker PROGRAM..., each a .py file or an importable module")
        flags: dict[str, dict[str, object]] = {
            "redis": {"url": redis_url},
            "worker": {
                "group": group,
                "processes": processes,
                "concurrency": concurrency,
                "drain_timeout_s": drain_timeout,
                "http": http,
                "limits": limits_of(limit),
                "otel": otel,
            },
        }
        settings = load_settings(flags, Path.cwd())
        if print_config:
            typer.echo(settings_table(settings))
            return
        if not settings.durability.enabled:
            raise ConfigError(
                f"durability.enabled = false ({settings.sources.get('durability.enabled')}): a worker's agents go on "
                "elsewhere, and that they can from their checkpoints alone; only `playbooksctl run` does without them"
            )
        key = signing_key(settings)
        if key is None:
            raise ConfigError(
                "no signing key: set PLAYBOOKS_DURABILITY__SIGNING_KEY (or durability.signing_key_file) to the same "
                "secret for all workers and coordinators; `openssl rand -hex 32` makes one"
            )
        check(settings)
        Sealer.of(key.get_secret_value(), encryption_keys(settings))  # what encrypts is there, or says what to install
        queues = [queue_name(one) for one in queue or []]
        if settings.worker.otel:
            check_installed()
        if check_config:
            asyncio.run(connect(settings.redis.url, prefix=settings.redis.prefix).close())  # sends nothing
            return
        called = name or f"{socket.gethostname()}-{os.getpid()}"
        configure(chosen(log_format), stdlib=[""], worker=called, pid=os.getpid())
        if (weak := weakness(key)) is not None:
            _log.warning("weak signing key", reason=weak)
        staff = staff_of(settings, called, key, programs=programs or [], queues=queues, log_format=chosen(log_format))
        surface = open_surface(
            settings.worker.http_address, asked_for="worker.http" in settings.sources, option="--http"
        )
        code = asyncio.run(supervise(settings, staff, surface))
    except (ConfigError, BrokenProgram) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(USAGE) from error
    except ProviderError as error:
        typer.echo(f"error: a worker cannot work there: {error}", err=True)
        raise typer.Exit(REFUSED) from error
    raise typer.Exit(code)


def limits_of(said: list[str] | None) -> dict[str, str] | None:
    """What `--limit` says, by queue. Raises `ConfigError`."""
    if not said:
        return None
    for one in said:
        if not re.fullmatch(r"[^=]+=[1-9]\d*", one):
            raise ConfigError(f"--limit {one}: use QUEUE=N, with N at least 1")
    return {queue_name(queue): number for queue, _, number in (one.partition("=") for one in said)}


def staff_of(
    settings: Settings, name: str, key: SecretStr, *, programs: list[str], queues: list[str], log_format: LogFormat
) -> Staff:
    """What the supervisor and its executors are told."""
    orders = Orders(
        worker=name,
        programs=programs,
        queues=queues,
        concurrency=settings.worker.concurrency,
        limits=settings.worker.limits,
        redis_url=settings.redis.url,
        redis_prefix=settings.redis.prefix,
        signing_key=key.get_secret_value(),
        encryption_keys=encryption_keys(settings),
        wait=settings.durability.wait,
        wait_replicas=settings.durability.wait_replicas,
        keep_last_n=settings.durability.keep_last_n,
        strict=settings.durability.strict,
        retention_s=settings.durability.keep_finished_days * SECONDS_A_DAY,
        drain_timeout_s=settings.worker.drain_timeout_s,
        log_format=log_format,
        max_bytes=settings.durability.max_checkpoint_bytes,
        park_after_s=settings.worker.park_after_s,
        inbox_limit=settings.worker.inbox_limit,
        keep_events=settings.worker.keep_events,
        keep_when_parked=settings.worker.keep_when_parked,
        otel=settings.worker.otel,
    )
    return Staff(
        name=name,
        group=settings.worker.group,
        processes=settings.worker.processes,
        orders=orders,
        heartbeat_s=settings.worker.heartbeat_s,
        session_timeout_s=settings.coordinator.session_timeout_s,
        drain_timeout_s=settings.worker.drain_timeout_s,
        stall_timeout_s=settings.worker.stall_timeout_s,
    )


async def supervise(settings: Settings, staff: Staff, surface: Surface) -> int:
    """Run the worker until a signal has ended it. Answers the exit code."""
    durability = settings.durability
    wait = wait_for(durability.wait, durability.wait_replicas)
    home = connect(settings.redis.url, prefix=settings.redis.prefix, wait=wait)
    try:
        await home.check()
    except Unreachable:
        pass  # it waits for Redis, as always; what is wrong with that is advice, when it answers
    except ProviderError:
        surface.close()
        await home.close()
        raise
    supervisor = Supervisor(staff, home.coordination, SystemClock())
    received: list[signal.Signals] = []

    notifier = Notifier(
        os.environ,
        started=lambda: supervisor.started,
        unready=supervisor.unready,
        ending=lambda: supervisor.ending,
    )

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1:
            supervisor.drain()
        else:
            supervisor.stop_at_once()
        notifier.tell()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    _log.info(
        "worker started",
        redis=str(home.server.address),
        programs=staff.orders.programs,
        group=staff.group,
        processes=staff.processes,
        concurrency=staff.orders.concurrency,
    )
    pulse = Pulse("supervisor", also=notifier.tell)
    say_build("worker")
    surface.serve(Probes(pulse, supervisor.unready), "worker")
    advice = asyncio.create_task(home.advise(lambda finding: _log.warning("redis setting", advice=finding)))
    beating = asyncio.create_task(pulse.beat_forever())
    try:
        in_order = await supervisor.run()
    finally:
        advice.cancel()
        beating.cancel()
        surface.close()
        await home.close()
    _log.info("worker ended", in_order=in_order)
    if len(received) > 1:
        return 128 + received[-1]
    return 0 if in_order else 1


def main() -> None:
    app()


if __name__ == "__main__":
    main()
