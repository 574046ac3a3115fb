"""A folder as one home of state: all that its parts keep of `contracts.Coordination`, under one name.

For `run` and for commands with a storage path, which treat a folder and Redis alike. Nobody waits in a queue here, and no
session is registered: a ticket is told to whichever process runs agents of this folder, and an agent that waits is held by
such a process, so that it is never parked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from playbooks_providers.events import Event, EventPlace
from playbooks_providers.filesystem.agents import FilesystemAgents
from playbooks_providers.filesystem.checkpoints import FilesystemCheckpoints
from playbooks_providers.filesystem.events import FilesystemEvents
from playbooks_providers.filesystem.inboxes import FilesystemInboxes
from playbooks_providers.filesystem.orders import FilesystemOrders
from playbooks_providers.filesystem.pokes import Pokes
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Ordered, Parked, Poke, Standing, Unread
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
    Order,
    SessionInfo,
    Stale,
    StartRecord,
    Status,
    Taken,
    Ticket,
    Unwanted,
)


class Here(Protocol):
    """The agents of this process, for what need not be told by way of the folder."""

    async def takes(self, ticket: Ticket) -> bool: ...

    def told(self, poke: Poke) -> bool: ...


class FilesystemCoordination:
    """One folder. *checkpoints* are those of *store*. ``here`` is set by a process that runs agents."""

    here: Here | None = None

    def __init__(self, store: FilesystemStore, checkpoints: FilesystemCheckpoints) -> None:
        self._store = store
        self._agents = FilesystemAgents(store, checkpoints)
        pokes = Pokes(store.root)
        self.came, self._tell = pokes.came, pokes.tell
        self._inboxes = FilesystemInboxes(store, self._agents)
        self._events = FilesystemEvents(store)
        self._orders = FilesystemOrders(store, self._agents)

    @classmethod
    def open(cls, root: Path) -> tuple[FilesystemCoordination, FilesystemCheckpoints]:
        store = FilesystemStore(root)
        checkpoints = FilesystemCheckpoints(store)
        return cls(store, checkpoints), checkpoints

    # --- agents -----------------------------------------------------------------------------------------------------
    async def create(self, start: StartRecord) -> Created | Exists:
        return await self._agents.create(start)

    async def fork(self, start: StartRecord, entry: Entry) -> Created | Exists:
        return await self._agents.fork(start, entry)

    async def enqueue(self, ticket: Ticket) -> None:
        if self.here is None or not await self.here.takes(ticket):
            self._tell(ticket.agent)

    async def take(self, ticket: Ticket, session: SessionId, nonce: Nonce) -> Taken | Stale:
        return await self._agents.take(ticket, session, nonce)

    async def lock(self, agent: AgentId, *, at: int | None = None, choice: Choice = Choice.RESUME) -> Lock:
        """Own *agent*, in whatever status it is. Raises `AgentLocked`."""
        return await self._agents.lock(agent, at=at, choice=choice)

    async def begin_again(self, agent: AgentId, *, at: int | None, choice: Choice, read: int) -> Lock | Unread:
        """The same; *read* as in `retry`."""
        return await self._agents.begin_again(agent, at=at, choice=choice, read=read)

    async def release(self, lock: Lock, why: str, *, delay_s: float = 0.0, blameless: bool = True) -> Minted | Gone:
        return await self._agents.release(lock, why, delay_s=delay_s, blameless=blameless)

    async def finish(
        self, lock: Lock, status: Status, final: Entry, *, read: int | None = None
    ) -> Done | Unread | Gone:
        return await self._agents.finish(lock, status, final, read=read)

    async def stop(self, lock: Lock, status: Status, why: str) -> Done | Unwanted | Gone:
        return await self._agents.stop(lock, status, why)

    async def retry(
        self, agent: AgentId, fence: int, choice: Choice, *, read: int | None = None
    ) -> Minted | Unread | Gone:
        return await self._agents.retry(agent, fence, choice, read=read)

    async def describe(self, agent: AgentId) -> AgentView | None:
        return await self._agents.describe(agent)

    async def agents(self) -> Sequence[AgentId]:
        return await self._agents.agents()

    async def newest(self, program: str) -> AgentId | None:
        """The newest agent of *program* that a person has started and that has not ended, else the newest one."""
        return await self._agents.newest(program)

    async def standings(self) -> Mapping[AgentId, Standing]:
        return await self._agents.standings()

    async def session(self, session: SessionId) -> SessionInfo | None:
        return None  # where an agent runs is said by its view

    # --- letters ----------------------------------------------------------------------------------------------------
    async def standing(self, agent: AgentId) -> Standing | None:
        return await self._inboxes.standing(agent)

    async def deliver(
        self, receiver: AgentId, letter: Letter, *, limit: int, birth: int | None = None
    ) -> Delivered | Full | Gap | Gone:
        return await self._inboxes.deliver(receiver, letter, limit=limit, birth=birth)

    async def mail(self, agent: AgentId, after: int, *, limit: int) -> Sequence[Mail]:
        return await self._inboxes.mail(agent, after, limit=limit)

    async def forget_mail(self, lock: Lock, through: int) -> None:
        await self._inboxes.forget_mail(lock, through)

    async def park(
        self, lock: Lock, at: CheckpointId, cursor: int, wake_ms: int | None, *, keep: bool = False
    ) -> Parked | Unread | Gone:
        return Unread(lock.agent) if self._store.owns(lock.agent, lock.fence) else Gone(lock.agent)

    async def poke(self, session: SessionId, poke: Poke) -> None:
        if self.here is None or not self.here.told(poke):
            self._tell(poke.agent)

    async def pokes(self, session: SessionId, *, wait_s: float) -> Sequence[Poke]:
        return []  # they are for all processes that run agents of this folder: `came`

    # --- orders, people, events -------------------------------------------------------------------------------------
    async def order(self, agent: AgentId, order: Order) -> Ordered | Gone:
        return await self._orders.order(agent, order)

    async def wanted(self, agent: AgentId) -> Order | None:
        return await self._orders.wanted(agent)

    async def obeyed(self, lock: Lock, order: Order) -> None:
        await self._orders.obeyed(lock, order)

    async def withdraw(self, agent: AgentId, order: Order) -> Done | Gone:
        return await self._orders.withdraw(agent, order)

    async def terminate(self, agent: AgentId, why: str, *, read: int | None = None) -> Done | Unread | Gone:
        return await self._agents.terminate(agent, why, read=read)

    async def delete(self, agent: AgentId) -> Done | Gone:
        return await self._agents.delete(agent)

    async def asks(self, lock: Lock, asking: bool) -> None:
        """A folder has few agents: who looks for questions reads them all."""

    async def asking(self) -> Sequence[AgentId]:
        return await self._agents.agents()

    async def emit(self, lock: Lock, events: Sequence[Event], *, keep: int) -> Done | Gone:
        return await self._events.emit(lock, events, keep=keep)

    async def emitted(self, agent: AgentId, after: EventPlace, *, limit: int, wait_s: float = 0.0) -> Sequence[Event]:
        return await self._events.emitted(agent, after, limit=limit, wait_s=wait_s)
