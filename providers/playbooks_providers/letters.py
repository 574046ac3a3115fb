"""What agents say to each other, as the homes of state see it: numbered letters, their places, and what is answered.

Letters are made by the worker's host and kept by every home, blind like everything here: a body is bytes that the host has
sealed. `contracts.Inboxes` is the law of how they move; the answers to parking and to orders are here, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.model import Status, Ticket


@dataclass(frozen=True, slots=True)
class Letter:
    """One thing sent to an agent: a message, a question, an answer, or that a child has ended.

    ``sender`` is an agent's id, ``person:<name>``, or any other name that needs an order of its own. ``birth`` tells two
    senders of one name apart: the greater is the later one. ``number`` counts this sender's letters to this receiver, from
    1. ``pressing`` passes a full inbox: that a child has ended. ``once``: the only letter of its sender, ever, which its
    receiver's own state knows again: the inbox accepts it whenever it comes, and remembers nothing of its sender.
    """

    sender: str
    birth: int
    number: int
    body: bytes
    pressing: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted letter. ``place``: the receiver's own count of what it has accepted, from 1, never used twice."""

    place: int
    sender: str
    birth: int
    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """Accepted, now (``fresh``, at *place*) or before. *ticket* must be enqueued; *session* runs the receiver and should be
    poked."""

    fresh: bool
    ticket: Ticket | None = None
    session: SessionId | None = None
    place: int = 0


@dataclass(frozen=True, slots=True)
class Poke:
    """There is something for *agent*. Perhaps it is *mail*, as the inbox of the agent with *birth* has it: then whoever has
    read all that is before its place need not ask for it."""

    agent: AgentId
    birth: int = 0
    mail: Mail | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an agent is in its life, and which of those of its id it is."""

    status: Status
    birth: int


@dataclass(frozen=True, slots=True)
class Full:
    """The inbox has no room: nothing was accepted. The same letter again, later."""

    agent: AgentId


@dataclass(frozen=True, slots=True)
class Gap:
    """Not accepted: of this sender, number *expected* comes next."""

    agent: AgentId
    expected: int


@dataclass(frozen=True, slots=True)
class Parked:
    """The agent waits, and its owner is out: nothing of it may stay in memory."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Not parked: there is mail beyond its cursor, or an order. Its owner goes on and looks."""

    agent: AgentId


@dataclass(frozen=True, slots=True)
class Ordered:
    """The order stands (or is done: a pause of an agent that nobody ran). *status* is that of now.

    *ticket* must be enqueued; *session* runs the agent, or has until now, and should be poked."""

    status: Status
    ticket: Ticket | None = None
    session: SessionId | None = None
