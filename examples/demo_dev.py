"""`playbooksctl dev` and other commands as the demo runs them: as processes, in the demo's own folder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import audit

PROGRAM = Path(audit.__file__).resolve()
CLI = [sys.executable, "-m", "playbooks_worker.cli"]
PATIENCE_S = 60.0  # for any one thing to happen


class DemoFailed(Exception):
    """Something else happened than was to be shown."""


@asynccontextmanager
async def dev(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """`playbooksctl dev` while the demo lasts; yields what its dev.json says once its workers are ready."""
    with (folder / "dev.log").open("wb") as log:
        words = [*CLI, "dev", "--json", str(PROGRAM)]
        process = await asyncio.create_subprocess_exec(
            *words, cwd=folder, env=environment(folder), stdout=asyncio.subprocess.PIPE, stderr=log
        )
        try:
            assert process.stdout is not None
            ready = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
            if not ready:
                raise DemoFailed("`playbooksctl dev` did not start")
            told: dict[str, Any] = json.loads(ready)
            if "redis_url" not in told:
                raise DemoFailed("`playbooksctl dev` did not start: " + told["error"]["message"])
            yield told
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
                try:
                    await asyncio.wait_for(process.wait(), PATIENCE_S)
                except TimeoutError:
                    process.kill()


def environment(folder: Path) -> dict[str, str]:
    """This demo kills, so never on a Redis that somebody has configured."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PLAYBOOKS_")}
    ours["XDG_CONFIG_HOME"] = str(folder)
    # The stream is read as it grows: this many may be written before the reader gets its turn on a busy machine.
    ours["PLAYBOOKS_DURABILITY__KEEP_LAST_N"] = "1000"
    return ours


def workers(told: dict[str, Any]) -> dict[str, int]:
    """The workers' supervisors that dev.json names, and their process ids."""
    return {name: pid for name, pid in told["processes"].items() if name.startswith("worker-")}


async def playbooksctl(folder: Path, *words: str) -> dict[str, Any]:
    """What the command's last line says; it finds `dev` by the folder it runs in."""
    process = await asyncio.create_subprocess_exec(
        *CLI,
        *words,
        "--json",
        cwd=folder,
        env=environment(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    lines = out.decode().splitlines()
    if not lines:
        raise DemoFailed(f"playbooksctl {words[0]} exited with {process.returncode}: {err.decode().strip()}")
    told: dict[str, Any] = json.loads(lines[-1])
    return told
