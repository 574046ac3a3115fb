"""Agents that hold the same words wherever an agent can hold any: what tests/test_encryption.py looks for in stores."""

from __future__ import annotations

from datetime import timedelta

from playbooks_worker import agent_id, ask, emit, person, playbook, receive, send, spawn, step


@playbook
async def main(words: str) -> dict:
    """Ends when a person has answered."""
    kept = [f"{words} in a local variable"]
    emit(f"{words} told to people")
    child = await spawn(confidant, agent_id(), f"{words} given to a child", agent_id="child")
    await send(child.agent_id, f"{words} in a letter")
    answer = await receive(sender=child.agent_id)
    kept.append(answer.value)
    kept.append(await child)
    kept.append(await ask(person("boss"), f"{words} in a question"))
    return {"kept": kept, "again": f"{words} in a result"}


@playbook
async def confidant(parent: str, words: str) -> str:
    message = await receive()
    await send(parent, f"{words}, {message.value}")
    return f"{words}, {message.value}, in the result of a child"


@playbook
async def fails(words: str) -> None:
    try:
        await stumbles(words)
    except LookupError:
        pass
    raise ValueError(f"{words} in an error")


@step(retries=1, backoff=timedelta(seconds=0.01))
async def stumbles(words: str) -> None:
    raise LookupError(f"{words} in the error of an attempt")


@playbook
async def listens() -> str:
    message = await receive()
    return f"heard {message.value}"


@playbook
async def grows(words: str) -> int:
    """Its state grows until it is packed, and stored as deltas."""
    kept: list[str] = []
    for number in range(40):
        kept.append(await said(f"{words} {number} " * 20))
    await ask(person("boss"), "enough?")
    return len("".join(kept))


@step
async def said(text: str) -> str:
    return text
