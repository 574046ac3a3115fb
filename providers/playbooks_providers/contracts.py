"""The contracts that homes of state keep: *checkpoints*, *inboxes* and *coordination*. Law, before any implementation.

What every implementation promises, and `playbooks_providers.testing` checks:

* **Fenced.** An agent has one fence, a number that only grows. `Checkpoints.save` under a fence that is not the agent's
  newest answers `Lost` and changes nothing. The instant a transition mints the next fence, every earlier owner is out.
* **Atomic.** One `save` is one commit: wholly there or not at all, whatever is killed when. A torn or half-written
  checkpoint never hides the one before it. Each transition of `Coordination` is atomic on its agent.
* **Idempotent.** Every call may be repeated after an unknown outcome, with the same arguments, and gives the answer that
  it would have given the first time. `save` recognises its own earlier write by the lock's nonce.
* **Patient.** `save` returns only when the outcome is known. While the store is unreachable or full it waits and tries
  again (and says so in the log); it is cancelled by cancelling the task.
* **Blind.** Payloads are bytes. Nothing here unpickles, ever.

Reads raise `Unreachable` at once; callers decide how often to try again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from playbooks_providers.events import Event, EventPlace
from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Ordered, Parked, Poke, Standing, Unread
from playbooks_providers.loads import Loads, Swept
from playbooks_providers.model import (
    AgentView,
    Choice,
    Created,
    Done,
    Entry,
    Exists,
    Gone,
    Lock,
    Lost,
    Minted,
    Order,
    ProgramInfo,
    Saved,
    SessionInfo,
    Stale,
    StartRecord,
    Status,
    Taken,
    Ticket,
    Unwanted,
)


class Checkpoints(Protocol):
    """The history of each agent. Only the holder of the agent's lock writes; anybody reads."""

    def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Awaitable[Saved | Lost]:
        """Append *entry* (``entry.id.fence == lock.fence``, seq greater than the last), then forget all before *oldest*.

        Durable when it answers `Saved`. Raises `EntryTooLarge` for what the store can never take. At most one unacknowledged
        entry per agent may be under way. A coroutine will do; an `Answer` spares the task that it would need.
        """

    async def load(self, agent: AgentId, at: CheckpointId | None = None) -> Entry | None:
        """The checkpoint *at*, or the newest one; None when there is none. Nothing is verified here."""

    async def load_many(self, agent: AgentId, ids: Sequence[CheckpointId]) -> Sequence[Entry]:
        """Those of *ids* that are there, in any order, in one go: what a delta needs to be opened."""

    async def list(self, agent: AgentId) -> Sequence[Entry]:
        """The kept checkpoints, oldest first, with empty payloads (headers are enough to describe them)."""

    async def cleanup(self, lock: Lock, *, oldest: CheckpointId) -> None:
        """Forget the checkpoints before *oldest*."""

    async def delete(self, agent: AgentId) -> None:
        """Forget every checkpoint of *agent*. Idempotent."""

    async def keep_sources(self, sources: Mapping[str, str]) -> None:
        """Keep the texts of playbooks that checkpoints name by these fingerprints; once kept, for good. Idempotent.

        Nothing that goes wrong here may cost more than a diff: nobody signs them, and whoever reads one looks whether it
        has the fingerprint that it was kept under."""

    async def source(self, fingerprint: str) -> str | None:
        """The text kept under *fingerprint*, or None."""


class Inboxes(Protocol):
    """What agents, people and the system say to an agent: each letter accepted once, in its sender's order.

    A letter is in one of three places: in its sender's state until it is accepted, in the inbox, and in its receiver's
    state from the checkpoint on whose cursor covers its place. None is ever in no place.
    """

    async def standing(self, agent: AgentId) -> Standing | None:
        """Where *agent* stands now; None: there is none. Cheap: whoever writes a letter looks first."""

    async def deliver(
        self, receiver: AgentId, letter: Letter, *, limit: int, birth: int | None = None
    ) -> Delivered | Full | Gap | Gone:
        """Accept *letter*, behind all earlier ones of its sender. Its sender forgets it only after what follows is done.

        By the first rule that holds: no such agent, or *birth* is given and is not its birth: `Gone`. The letter's birth
        is smaller than the one known of this sender: `Gone`; greater: another sender of that name, from number 1 on. A
        number that was accepted before: `Delivered(fresh=False)`, whatever has become of the receiver. The receiver has
        ended: `Gone`. Any other number than the next: `Gap`. (Of a letter that is `once`, and of its sender, nothing was
        known and nothing is remembered.) *limit* letters are there already and this one is not
        pressing: `Full`.

        What is known of a sender may be forgotten when it has been silent for as long as finished agents are kept; any
        number of it is the next one then.

        A waiting receiver becomes ready. Whoever delivers enqueues the ticket and pokes the session that it is told; one
        that died before is made up for by the same letter again: a duplicate answers the ticket while the receiver is
        ready, and the session while it runs. One that was set aside keeps its mail until it goes on."""

    async def mail(self, agent: AgentId, after: int, *, limit: int) -> Sequence[Mail]:
        """Up to *limit* accepted letters whose place is greater than *after*, in the order of their places."""

    async def forget_mail(self, lock: Lock, through: int) -> None:
        """The letters up to place *through* are in a durable checkpoint of *lock*'s owner. From any other: nothing."""


class Parking(Protocol):
    """Agents that only wait, without an owner; and telling an owner that there is something for one of its agents."""

    async def park(
        self, lock: Lock, at: CheckpointId, cursor: int, wake_ms: int | None, *, keep: bool = False
    ) -> Parked | Unread | Gone:
        """Let the agent wait without an owner, for mail or until *wake_ms* (Unix time; None: for mail alone).

        *at* is its newest checkpoint, which is durable and says all that it waits for (another one: `ValueError`), and
        which has read the mail up to place *cursor*. `Unread` when there is mail beyond it, or an order. A parked agent
        keeps *at* and what that needs to be opened (with *keep* all its checkpoints), and is under a new fence. It is made
        ready by a letter, by an order, or when its time has come; the timer is armed here. Attempts start over.
        Asked for again, and by any former owner of an agent that waits: `Parked`; else `Gone`."""

    async def poke(self, session: SessionId, poke: Poke) -> None:
        """Tell *session* that there is something for an agent that it runs. May be lost, with its mail: never the only way
        to know."""

    async def pokes(self, session: SessionId, *, wait_s: float) -> Sequence[Poke]:
        """What *session* was poked with since it last asked, in order; waits up to *wait_s* for the first."""


class Orders(Protocol):
    """What people want of agents, and what they do to them without an owner's help.

    A ticket that waits and opens nothing any more leaves its queue, as far as it is found: it is no agent that could run."""

    async def order(self, agent: AgentId, order: Order) -> Ordered | Gone:
        """Want something of an agent. It stands until its owner has obeyed, through deaths and hand-overs.

        An agent that runs, or is ready, learns of it from its lock or from `wanted`. *Pause* of a ready or waiting one is
        done at once: nobody may take it, and its timer wakes nobody. *Cancel* makes one that waits or was set aside
        ready, so that somebody raises it in there. *Terminate* makes every one ready, under a new fence, so that its owner
        is out at once (*session* is that owner's), and somebody ends it and tells who waits for it. A newer order replaces
        an older one, but a pause never a cancel, and none of these a terminate. The order that was obeyed last is not given
        again (its ``id`` is known).

        `Gone`: unknown or ended; a pause of one that was set aside otherwise; anything less than what stands."""

    async def wanted(self, agent: AgentId) -> Order | None:
        """The order that stands now: what an owner asks after a poke."""

    async def obeyed(self, lock: Lock, order: Order) -> None:
        """The checkpoint is durable in which *order* is done (a pause is obeyed by `stop`). From any other: nothing."""

    async def withdraw(self, agent: AgentId, order: Order) -> Done | Gone:
        """Nobody wants *order*, a pause, any more, which the agent's owner has not obeyed yet: it is not given again.

        `Gone`: it does not stand. The agent is paused by now (then `retry` lets it go on), has ended, or is to be something
        else."""

    async def terminate(self, agent: AgentId, why: str, *, read: int | None = None) -> Done | Unread | Gone:
        """End an agent at once, as cancelled, under a new fence: no statement of it runs any more. *read* as in `finish`.

        It keeps its start record and *why*, as long as a finished agent is kept. `Gone`: unknown, completed or failed."""

    async def delete(self, agent: AgentId) -> Done | Gone:
        """Forget everything about an agent, in whatever status. `Gone` when there is none.

        For a day its fence is remembered, so that a new agent of that id has greater ones. Asked again: `Done`."""


class People(Protocol):
    """Which agents ask people something: an index, so that a person's inbox is read without reading all agents. It is
    derived: every owner says anew what its agent does. What is asked is in the header of the newest checkpoint."""

    async def asks(self, lock: Lock, asking: bool) -> None:
        """The agent of *lock*'s owner asks people something from now on, or nothing. What a later owner has said stays."""

    async def asking(self) -> Sequence[AgentId]:
        """The agents that ask, in no order, and perhaps some that have ended; none whose owner has said so is missing."""


class Events(Protocol):
    """What agents tell people: a bounded stream each, read from its beginning or as it grows. Gone with its agent."""

    async def emit(self, lock: Lock, events: Sequence[Event], *, keep: int) -> Done | Gone:
        """Append *events* of *lock*'s owner (all under its fence, numbers growing), those that are not there already.

        The newest *keep* stay, about; older ones go. `Gone`, and nothing is written: from anybody but the owner of an
        agent that runs. Not durable before the next checkpoint is: a power cut may take the last ones."""

    async def emitted(self, agent: AgentId, after: EventPlace, *, limit: int, wait_s: float = 0.0) -> Sequence[Event]:
        """Up to *limit* events behind *after* (`BEGINNING`: all), oldest first; waits up to *wait_s*, or some seconds, for
        the first."""


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
