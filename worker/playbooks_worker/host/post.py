"""What a life needs of the home of state for its agent's letters: a part of `contracts.Coordination`, so that a folder of
files can do it, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from playbooks_providers.contracts import Inboxes, Orders, Parking
from playbooks_providers.ids import AgentId
from playbooks_providers.model import AgentView, Created, Exists, StartRecord, Ticket


class Home(Inboxes, Parking, Orders, Protocol):
    """Inboxes, parking, orders, and how agents are found, started and woken."""

    async def create(self, start: StartRecord) -> Created | Exists: ...

    async def enqueue(self, ticket: Ticket) -> None: ...

    async def describe(self, agent: AgentId) -> AgentView | None: ...


@dataclass(frozen=True, slots=True)
class Post:
    """Where the agents of one session write to one another. ``local`` tells one of the same session that there may be
    something for it; False: it is not here."""

    home: Home
    local: Callable[[AgentId], bool] = lambda agent: False
