"""Agents of a folder whose doings other processes can see: they write into the file `log`. For tests/test_cli_folder.py."""

import asyncio
import time
from pathlib import Path

from playbooks_worker import AgentCancelled, ChildFailed, playbook, receive, sleep, spawn


@playbook
async def steps():
    for number in range(10_000):
        await step(number)


@playbook
async def step(number):
    await asyncio.sleep(0.02)
    return number


@playbook
async def guards():
    try:
        await sleep(1000)
    except AgentCancelled as cancelled:
        await note(f"cancelled: {cancelled.why}")
        raise
    finally:
        await note("tidied")


@playbook
async def family():
    child = await spawn(guards, agent_id="child")
    try:
        return await child
    except ChildFailed as error:
        return str(error)


@playbook
async def hears():
    message = await receive()
    return [message.sender, message.value]


@playbook
async def ignores():
    while True:
        try:
            await sleep(1000)
        except AgentCancelled:
            await note("not now")


@playbook
async def blocks():
    await note("blocks")
    _hold_the_loop()
    await step(1)
    await note("never")


@playbook
async def fails_once():
    await note("tried")
    if not Path("mended").exists():
        raise ValueError("the first time")
    return "the second time"


def _hold_the_loop():
    while not Path("let-go").exists():
        time.sleep(0.02)


async def note(text):
    await asyncio.sleep(0)
    with Path("log").open("a") as log:
        log.write(text + "\n")
