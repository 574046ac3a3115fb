"""The contracts of what is said to agents, and what they say: letters, orders, questions, events. A part of `contracts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from playbooks_providers.events import Event, EventPlace
from playbooks_providers.ids import AgentId, CheckpointId, SessionId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Ordered, Parked, Poke, Standing, Unread
from playbooks_providers.model import Done, Gone, Lock, Order


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
