"""The engine by itself: it asks for durability, and knows nothing of stores, files or processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed


@playbook
async def inner(n: int) -> int:
    return n + await asyncio.sleep(0, result=1)


@playbook
async def outer() -> list[int]:
    return [await inner(n) for n in (1, 2)]


def test_three_lines_drive_it():
    saved: list[bytes] = []
    ended = asyncio.run(Agent("a", persist=lambda moment, payload: saved.append(payload)).start(outer))
    again = asyncio.run(Agent("a", persist=lambda moment, payload: None).resume(saved[0]))

    assert ended == again == Completed([2, 3])


def test_it_brings_no_store_no_process_and_no_command_with_it():
    told = subprocess.run(
        [sys.executable, "-c", "import sys, playbooks_worker.engine; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    brought = {name.partition(".")[0] for name in told.stdout.split()}
    assert not brought & {"playbooks_providers", "playbooks_coordinator", "redis", "structlog", "typer", "rich"}
