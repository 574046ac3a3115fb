"""`playbooksctl dev`: everything on this machine for development: a Redis server, a coordinator, some workers.

They are processes; a process of `dev` that dies is reported and started again after a second, as a service manager would
(an executor is its supervisor's to replace). Agents never wait for that: another worker takes them over meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Exit, Output

if TYPE_CHECKING:
    from playbooks_providers.settings import Settings

# Take-over of a killed worker in about a second, instead of five; a stop that does not keep a person waiting; and several
# workers on one host have no one port.
DEV_SETTINGS = {
    "worker.heartbeat_s": 0.2,
    "coordinator.session_timeout_s": 1.0,
    "worker.drain_timeout_s": 5.0,
    "worker.http": "off",
    "coordinator.http": "off",
}


def dev(
    programs: Annotated[
        list[str], typer.Argument(metavar="PROGRAM", help="A `.py` file or an importable module; one or more.")
    ],
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="How many workers to start.")] = 2,
    redis_url: Annotated[
        str | None,
        typer.Option("--redis-url", metavar="URL", help="Use this server (or PLAYBOOKS_REDIS__URL) and start none."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Run a server, a coordinator and workers here, until Ctrl+C.

    Other commands started in this folder find them by themselves. Data stay in .playbooks/.
    """
    with Output(json) as out:
        for program in programs:
            if program.endswith(".py") and not Path(program).is_file():
                raise CommandError(f"no such file: {program}")
        out.finish(asyncio.run(_dev(out, programs, workers, redis_url)))


async def _dev(out: Output, programs: list[str], workers: int, redis_url: str | None) -> Exit:
    from playbooks_providers.settings import load_settings
    from playbooks_worker.cli.dev_folder import FOLDER, DevFolder
    from playbooks_worker.cli.dev_run import DevRun

    folder = DevFolder(Path(FOLDER).absolute())
    folder.lock()
    settings = load_settings({"redis": {"url": redis_url}}, Path.cwd(), dev_file=False)
    key_file, environment = _environment(out, folder.path, settings)
    # A server that was configured is used like one that was named: every other command would look for the agents there.
    server = settings.redis.url if "redis.url" in settings.sources else None
    try:
        return await DevRun(out, folder, key_file, environment).until_stopped(programs, workers, server)
    finally:
        folder.forget()


def _environment(out: Output, folder: Path, settings: Settings) -> tuple[Path | None, dict[str, str]]:
    """What the children are told. What a person set wins over dev's settings and key."""
    from playbooks_providers.settings import ensure_signing_key, signing_key, weakness

    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    for name, value in DEV_SETTINGS.items():
        if name not in settings.sources:
            section, _, key = name.upper().partition(".")
            environment[f"PLAYBOOKS_{section}__{key}"] = str(value)
    key_file = None
    configured = signing_key(settings)
    if configured is None:
        ensure_signing_key(folder)
        key_file = folder / ".signing_key"
        environment["PLAYBOOKS_DURABILITY__SIGNING_KEY_FILE"] = str(key_file)
    elif warning := weakness(configured):
        out.note(f"warning: {warning}")
    return key_file, environment
