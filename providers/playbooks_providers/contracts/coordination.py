"""The contract of a home whose agents are run by many: sessions, queues, timers. A part of `contracts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from playbooks_providers.contracts.agents import Home
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.loads import Loads, Swept
from playbooks_providers.model import Gone, Minted, ProgramInfo, SessionInfo, Ticket


class Coordination(Home, Loads, Protocol):
    """A home whose agents are run by many: sessions, queues, timers, and what its coordinator does."""

    async def wake(self, agent: AgentId, fence: int, by: SessionId | None) -> Minted | Gone:
        """Make an orphan (running under *fence* in session *by*) or a due agent (*by* None) ready under a new fence.

        An agent that is ready already, under a newer fence, answers with its ticket: whoever woke it may have died before
        the ticket was enqueued. Ready under *fence* itself, its ticket was read by *by* and not opened: it is minted anew,
        or a session that was only frozen could open it after it was acknowledged in its name, and hold an agent that
        nobody finds. Any other agent that moved on is `Gone`."""

    # --- the ready queue ----------------------------------------------------------------------------------------
    async def read(self, session: SessionId, queues: Sequence[str], *, limit: int, wait_s: float) -> Sequence[Ticket]:
        """Up to *limit* tickets, now pending at *session*; waits up to *wait_s* for the first.

        What waits in lanes is taken by priority (`lanes`); among equals each of several queues has its turn. A queue that
        has a cap (`Loads.set_cap`) gives no ticket while so many of it are pending, in all its lanes, at anybody."""

    async def pending(self, session: SessionId, queues: Sequence[str]) -> Sequence[Ticket]:
        """The tickets that *session* has read and not acknowledged: exactly the agents that it holds."""

    async def acknowledge(self, session: SessionId, ticket: Ticket) -> None:
        """The last step of holding an agent: the ticket is done with and leaves the queue."""

    async def recover(self, session: SessionId) -> Sequence[Ticket]:
        """Give the tickets of a dead *session* to others: wake, enqueue, acknowledge each; then forget the consumer.

        Any number of recoverers may do this at once. Answers the tickets that were enqueued anew."""

    async def ownerless(self) -> Sequence[SessionId]:
        """Sessions that hold tickets in some queue but no longer exist (their removal was cut short)."""

    # --- sessions -----------------------------------------------------------------------------------------------
    async def register(self, info: SessionInfo) -> None:
        """Open a session. A session id is used once and never again."""

    async def beat(self, sessions: Sequence[SessionId]) -> tuple[frozenset[SessionId], float | None]:
        """Count one heartbeat for each session that still exists; answers (the refused ones, the published timeout)."""

    async def sessions(self) -> dict[SessionId, int]:
        """Every session and its count of heartbeats."""

    async def bury(self, session: SessionId, beats: int | None) -> bool:
        """Remove the session if its count is still *beats* (None: unconditionally, by its own supervisor).

        True: the session does not exist now. False: it has beaten since, and lives."""

    async def publish_timeout(self, seconds: float) -> None: ...

    # --- the coordinator ----------------------------------------------------------------------------------------
    async def lead(self, nonce: Nonce, lease_s: float) -> bool:
        """Take or renew the leader's lease; True while it is mine."""

    async def resign(self, nonce: Nonce) -> None: ...

    async def leader(self) -> Nonce | None: ...

    async def fire_due(self, *, limit: int) -> Sequence[Ticket]:
        """Wake and enqueue the agents whose delay is over, by the store's clock. Answers the tickets."""

    async def sweep(self, cursor: str, *, limit: int) -> Swept:
        """One bounded step of a slow round over all agents, for what a client or a lost node left half done.

        Looks at about *limit* agents from *cursor* on ("" begins a round). An agent that has been ready for some seconds
        and whose ticket is not in its queue is enqueued (its creator died between `create` and `enqueue`). All that it
        came by are counted: a whole round is a census.
        """

    # --- programs -----------------------------------------------------------------------------------------------
    async def publish(self, session: SessionId, programs: Sequence[ProgramInfo]) -> None:
        """Say which programs *session* hosts; forgotten with the session."""

    async def programs(self) -> Sequence[ProgramInfo]:
        """The programs that live sessions host."""

    # --- life ---------------------------------------------------------------------------------------------------
    async def ping(self) -> None:
        """Raises `Unreachable` when the store does not answer."""

    async def close(self) -> None: ...
