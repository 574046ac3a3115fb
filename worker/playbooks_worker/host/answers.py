"""A person's answer as a letter: from the question itself, so that each has one, whoever sends how many."""

from __future__ import annotations

from typing import Any

from playbooks_providers.envelope import Body, Sealer, seal_letter
from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Poke
from playbooks_providers.model import Gone
from playbooks_worker.host.post import Home, heard_of

_ONCE = 1  # its birth, and its number
_NO_LIMIT = 1 << 30


def answer_letter(sealer: Sealer, agent: AgentId, question: str, value: Any) -> Letter:
    body = Body("reply", question, value)
    return seal_letter(sealer, agent, f"person:{question}", _ONCE, _ONCE, body, pressing=True)


async def answered(
    home: Home, agent: AgentId, letter: Letter, *, birth: int | None = None, limit: int = _NO_LIMIT
) -> Delivered | Full | Gap | Gone:
    """Deliver it, and wake or tell whoever waits. May be repeated."""
    said = await home.deliver(agent, letter, limit=limit, birth=birth)
    if isinstance(said, Delivered):
        await heard_of(home, Poke(agent), said)
    return said
