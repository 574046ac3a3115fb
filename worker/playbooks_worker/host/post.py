"""What a life needs of the home of state for its agent's letters: a part of `contracts.Coordination`, so that a folder of
files can do it, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from playbooks_providers.contracts import Events, Inboxes, Orders, Parking
from playbooks_providers.ids import AgentId
from playbooks_providers.model import AgentView, Created, Exists, StartRecord, Ticket
from playbooks_worker.engine import Outgoing, Question


class Home(Inboxes, Parking, Orders, Events, Protocol):
    """Inboxes, parking, orders, events, and how agents are found, started and woken."""

    async def create(self, start: StartRecord) -> Created | Exists: ...

    async def enqueue(self, ticket: Ticket) -> None: ...

    async def describe(self, agent: AgentId) -> AgentView | None: ...


Heard: TypeAlias = Callable[[AgentId, Outgoing], None]
Asked: TypeAlias = Callable[[AgentId, Sequence[Question]], None]


@dataclass(frozen=True, slots=True)
class Post:
    """Where the agents of one session write to one another. ``local`` tells one of the same session that there is mail for
    it; False: it is not here. For people who watch: ``heard`` is told each letter when an agent's receiver accepts it,
    ``asked`` the questions to people that an agent waits for, whenever they change."""

    home: Home
    local: Callable[[AgentId], bool] = lambda agent: False
    heard: Heard | None = None
    asked: Asked | None = None


def why_not(answer: object) -> str:
    """For people: a letter was not delivered."""
    return {"Gone": "it has ended, or is another agent by now", "Gap": "it is another agent by now"}.get(
        type(answer).__name__, type(answer).__name__
    )
