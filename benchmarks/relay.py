"""The program that is killed: each effect says in a file that it began, when (`time.monotonic_ns`) and in which process."""

from __future__ import annotations

import asyncio
import os
import time

from playbooks_worker import playbook

PAUSE_S = 0.004


async def step(log: str, number: int) -> int:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{time.monotonic_ns()} {os.getpid()} {number}\n".encode())
    os.close(file)
    await asyncio.sleep(PAUSE_S)
    return number


@playbook
async def main(log: str) -> int:
    """Until somebody puts a file *log*.stop there."""
    number = 0
    while not os.path.exists(log + ".stop"):
        number = await step(log, number) + 1
    return number
