"""The program that is measured when agents talk: one asks, one answers; one sends, one counts."""

from __future__ import annotations

import time

from playbooks_worker import ask, playbook, receive, send, spawn


def now() -> float:
    return time.perf_counter()


@playbook
async def asks(rounds: int, queue: str) -> float:
    """Round trips a second: `ask` and `reply`, one at a time."""
    other = await spawn(answers, rounds + 1, queue=queue)
    await ask(other.agent_id, 0)
    began = now()
    for number in range(rounds):
        await ask(other.agent_id, number)
    return rounds / (now() - began)


@playbook
async def answers(rounds: int) -> None:
    for _ in range(rounds):
        message = await receive()
        await message.reply(message.value)


@playbook
async def sends(letters: int, queue: str) -> float:
    """Letters a second, one way, until the last one is received."""
    other = await spawn(counts, letters + 1, queue=queue)
    await send(other.agent_id, 0)
    began = now()
    for number in range(letters):
        await send(other.agent_id, number)
    await other
    return letters / (now() - began)


@playbook
async def counts(letters: int) -> None:
    for _ in range(letters):
        await receive()
