"""The contract of who may run which agent, and all that a home of state without queues keeps. A part of `contracts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from playbooks_providers.contracts.talking import Events, Inboxes, Orders, Parking, People
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.letters import Standing, Unread
from playbooks_providers.model import (
    AgentView,
    Choice,
    Created,
    Done,
    Entry,
    Exists,
    Gone,
    Lock,
    Minted,
    SessionInfo,
    Stale,
    StartRecord,
    Status,
    Taken,
    Ticket,
    Unwanted,
)


class Agents(Protocol):
    """Who may run which agent. Transitions are DESIGN 4.6, one atomic step each; the shells obey `lifecycle`."""

    async def create(self, start: StartRecord) -> Created | Exists:
        """Store the start record and mint the first fence. The same origin again: the ticket while it is ready."""

    async def fork(self, start: StartRecord, entry: Entry) -> Created | Exists:
        """As `create`, but the agent goes on from *entry*: sealed for it, whole, under fence 1, which no owner ever has."""

    async def enqueue(self, ticket: Ticket) -> None:
        """Put *ticket* into its queue. A second copy is harmless: it is refused when taken."""

    async def take(self, ticket: Ticket, session: SessionId, nonce: Nonce) -> Taken | Stale:
        """Open *ticket*: ready and fence equal → running. The same session and nonce again: the same lock again."""

    async def release(self, lock: Lock, why: str, *, delay_s: float = 0.0, blameless: bool = True) -> Minted | Gone:
        """Hand the agent over: mint its next fence. With a delay it waits until due, armed in the timers here.

        ``blameless`` gives the attempt back (a hand-over is not a death)."""

    async def finish(
        self, lock: Lock, status: Status, final: Entry, *, read: int | None = None
    ) -> Done | Unread | Gone:
        """End the agent (completed, failed, cancelled). *final* has the signed header that holds result or error.

        *read*: the place up to which its mail was looked through for questions, whose askers know; `Unread`, and nothing
        has changed, when there is mail beyond it. (None: nobody looks.)

        The start record and *final* stay readable (`describe`) until the agent's retention ends. Of its mail a failed
        agent keeps what is unread; every other one nothing but the memory of what it has accepted."""

    async def stop(self, lock: Lock, status: Status, why: str) -> Done | Unwanted | Gone:
        """Set the agent aside (blocked, paused, quarantined); its checkpoints are kept. A pause that was ordered is done,
        and *why* is then what that says.

        `Unwanted`, and nothing has changed: it was to be paused, and no pause stands. That was withdrawn, or a cancel has
        replaced it, while its owner was about to obey."""

    async def retry(
        self, agent: AgentId, fence: int, choice: Choice, *, read: int | None = None
    ) -> Minted | Unread | Gone:
        """Let an agent go on that was set aside or has failed, and whose fence is still *fence*: mint its next one.

        It goes on from its newest checkpoint that holds state (with `Choice.RESTART` from its start record), under
        *choice*, which every owner is told until one of them has written a checkpoint. Attempts start over. An agent that
        is ready or waiting under a newer fence answers with its ticket; any other one is `Gone`.

        A restarted agent is another one under the same id: it gets a new birth, and the mail of the one before, and what
        was known of its senders, is forgotten. *read* is for that, as in `finish`."""

    async def describe(self, agent: AgentId) -> AgentView | None:
        """What is known about *agent*, with the newest header (the final one when it has ended)."""

    async def agents(self) -> Sequence[AgentId]:
        """All agents, in no order. Slow; for people only."""

    async def standings(self) -> Mapping[AgentId, Standing]:
        """The same with where each stands: a tenth of what it takes to describe them all."""

    async def session(self, session: SessionId) -> SessionInfo | None:
        """Who serves *session*; None where that is not known, or sessions are not registered."""


class Home(Agents, Inboxes, Parking, Orders, People, Events, Protocol):
    """All that agents and people need of a home of state, whoever sees to it that agents are run.

    In a home without the rest of `Coordination` (a folder) a ticket's fence is not the next owner's: taking mints that.
    Who is enqueued, or was created, is taken by whoever runs agents there, and an agent is never parked."""
