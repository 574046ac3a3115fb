"""The command `playbooks-coordinator`: settings, logs, signals, and the one place of this package that names a store.

Start as many as you like, anywhere: one leads, the others watch with it and take over. A coordinator keeps nothing that a
restart could lose. It never opens a checkpoint; that it asks for the signing key all the same is so that a deployment
without one fails here and now, and not in its workers at the first agent.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import structlog
import typer

from playbooks_coordinator.duty import Coordinator, Timing
from playbooks_coordinator.manual import CoordinatorManual
from playbooks_providers.clock import SystemClock
from playbooks_providers.errors import ConfigError
from playbooks_providers.ids import new_nonce
from playbooks_providers.logs import AskedFormat, chosen, configure
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.service import Notifier, Probes, Pulse, Surface, open_surface, say_build
from playbooks_providers.settings import (
    CoordinatorSettings,
    Settings,
    check,
    load_settings,
    settings_table,
    signing_key,
    weakness,
)

log = structlog.get_logger()

USAGE = 2

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(name="playbooks-coordinator", cls=CoordinatorManual)
def coordinate(
    redis_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The Redis server (else PLAYBOOKS_REDIS__URL, playbooks.toml).")
    ] = None,
    session_timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds without a heartbeat that end a worker's session [5].")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Show /livez, /readyz and /metrics there, or `off` [127.0.0.1:9465]."),
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
    """Watch over the workers: bury sessions that end, give their agents to others, wake agents that are due.

    Run one or several; one leads and the others stand by. SIGTERM ends it in order, a second one at once.
    """
    try:
        settings = load_settings(
            {
                "redis": {"url": redis_url},
                "coordinator": {"session_timeout_s": session_timeout, "http": http},
            },
            Path.cwd(),
        )
        if print_config:
            typer.echo(settings_table(settings))
            return
        key = signing_key(settings)
        if key is None:
            raise ConfigError(
                "no signing key: set PLAYBOOKS_DURABILITY__SIGNING_KEY (or durability.signing_key_file) to the same "
                "secret for all workers and coordinators; `openssl rand -hex 32` makes one"
            )
        check(settings)
        if check_config:
            asyncio.run(connect(settings.redis.url, prefix=settings.redis.prefix).close())  # sends nothing
            return
        configure(chosen(log_format), stdlib=[""], pid=os.getpid())
        if (weak := weakness(key)) is not None:
            log.warning("weak signing key", reason=weak)
        surface = open_surface(
            settings.coordinator.http_address, asked_for="coordinator.http" in settings.sources, option="--http"
        )
        code = asyncio.run(_until_signalled(settings, surface))
    except ConfigError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(USAGE) from error
    raise typer.Exit(code)


async def _until_signalled(settings: Settings, surface: Surface) -> int:
    """Run. Answers the exit code; raises `ConfigError` for a URL that cannot be used."""
    home = connect(settings.redis.url, prefix=settings.redis.prefix)
    coordinator = _coordinator(home, settings.coordinator)
    received: list[signal.Signals] = []

    def unready() -> str:
        return "stopping" if received else coordinator.unready()

    notifier = Notifier(os.environ, started=lambda: True, unready=unready, ending=lambda: bool(received))
    pulse = Pulse("coordinator", also=notifier.tell)
    say_build("coordinator")
    surface.serve(Probes(pulse, unready), "coordinator")
    running = asyncio.create_task(_run(home, coordinator, pulse))

    def end(number: signal.Signals) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        log.info("stopping", signal=number.name)
        notifier.tell()
        running.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await running
    except asyncio.CancelledError:
        pass  # by `end`, and nobody else
    finally:
        surface.close()
        await home.close()
    return 128 + signal.SIGINT if received[:1] == [signal.SIGINT] else 0


def _coordinator(home: RedisHome, settings: CoordinatorSettings) -> Coordinator:
    # The lease is as long as a session's timeout: an operator's patience with a dead worker and a dead leader is one.
    timing = Timing(settings.tick_s, settings.session_timeout_s, lease_s=settings.session_timeout_s)
    log.info("coordinator started", redis=str(home.server.address), **asdict(timing))
    return Coordinator(home.coordination, new_nonce(), timing, clock=SystemClock())


async def _run(home: RedisHome, coordinator: Coordinator, pulse: Pulse) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(coordinator.run())
        tasks.create_task(pulse.beat_forever())
        tasks.create_task(home.advise(lambda finding: log.warning("redis setting", advice=finding)))


def main() -> None:
    app()


if __name__ == "__main__":
    main()
