"""What a life needs of the home of state for its agent's letters: a part of `contracts.Coordination`, so that a folder of
files can do it, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from playbooks_providers.contracts import Events, Inboxes, Orders, Parking, People
from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.letters import Delivered, Gap, Ordered, Poke, Standing, Unread
from playbooks_providers.model import AgentView, Created, Done, Entry, Exists, Gone, Lock, StartRecord, Status, Ticket
from playbooks_worker.engine import Outgoing, Question


class Home(Inboxes, Parking, Orders, People, Events, Protocol):
    """Inboxes, parking, orders, events, who asks people, and how agents are found, started and woken."""

    async def create(self, start: StartRecord) -> Created | Exists: ...

    async def enqueue(self, ticket: Ticket) -> None: ...

    async def describe(self, agent: AgentId) -> AgentView | None: ...


class Finishing(Home, Protocol):
    """A home that ends agents for their owners."""

    async def finish(
        self, lock: Lock, status: Status, final: Entry, *, read: int | None = None
    ) -> Done | Unread | Gone: ...


Local: TypeAlias = Callable[[SessionId, Poke], bool]
"""Tells an agent in this process that there is something for it; False: it is not in that session, or not here."""

Heard: TypeAlias = Callable[[AgentId, Outgoing], None]
Asked: TypeAlias = Callable[[AgentId, Sequence[Question]], None]


def nobody(session: SessionId, poke: Poke) -> bool:
    return False


def no_standing(agent: AgentId) -> Standing | None:
    return None


@dataclass(frozen=True, slots=True)
class Post:
    """Where the agents of one session write to one another. ``local`` tells one of the same session that there is mail for
    it; False: it is not here. ``stands`` says of one that lives in it where it stands, without asking the home. For people
    who watch: ``heard`` is told each letter when an agent's receiver accepts it, ``asked`` the questions to people that an
    agent waits for, whenever they change."""

    home: Home
    local: Callable[[Poke], bool] = lambda poke: False
    stands: Callable[[AgentId], Standing | None] = no_standing
    heard: Heard | None = None
    asked: Asked | None = None


async def heard_of(home: Home, poke: Poke, said: Delivered | Ordered, local: Local = nobody) -> None:
    """What follows when an agent has got a letter or an order: one that is ready is enqueued, one that runs is told with
    *poke*. May be repeated."""
    if said.ticket is not None:
        await home.enqueue(said.ticket)
    if said.session is not None and not local(said.session, poke):
        await home.poke(said.session, poke)


def series_name(agent: str, series: int) -> str:
    """The sender of an agent's letters of one series (engine/talk/mailbox.py), which no agent's id looks like."""
    return f"{agent}#{series}" if series else agent


def sender_of(name: str) -> str:
    """The agent that a letter is from."""
    return name.partition("#")[0]


def why_not(answer: Gap | Gone) -> str:
    """For people: a letter was not delivered."""
    return "it is another agent by now" if isinstance(answer, Gap) else "it has ended, or is another agent by now"
