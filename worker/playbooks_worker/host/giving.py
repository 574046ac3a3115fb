"""Gives an agent an order, and makes sure that somebody hears of it. For commands, and for parents that are cancelled."""

from __future__ import annotations

from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Ordered, Poke
from playbooks_providers.model import Gone, Order
from playbooks_worker.host.patience import patiently
from playbooks_worker.host.post import Home, heard_of


async def give(home: Home, agent: AgentId, order: Order) -> Ordered | Gone:
    """May be repeated: an order is known by its id."""
    said = await patiently(lambda: home.order(agent, order), "order an agent")
    if isinstance(said, Ordered):
        ordered = said
        await patiently(lambda: heard_of(home, Poke(agent), ordered), "tell an agent of an order")
    return said
