"""All agents of one run in this process, kept in a folder: lives beside each other, and the other half of their home.

`FilesystemAgents` and `FilesystemInboxes` say what is durable; who is told of a letter, and who begins to live, is said
here. Called by `playbooksctl run`. A run is over when its first agent has ended and nothing more can happen: the others have
ended, or wait for letters that nobody will write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from playbooks_providers.events import Event, EventPlace
from playbooks_providers.filesystem import FilesystemAgents, FilesystemEvents, FilesystemInboxes
from playbooks_providers.ids import AgentId, CheckpointId, SessionId
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Ordered, Parked, Poke, Standing, Unread
from playbooks_providers.model import (
    FINAL,
    AgentView,
    Created,
    Done,
    Entry,
    Exists,
    Gone,
    Lock,
    Order,
    StartRecord,
    Status,
    Ticket,
)
from playbooks_worker.host.ending import finished
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Blocked, Ended, HandedOver, LockLost, Outcome, Paused, Terminated
from playbooks_worker.host.outcome import Parked as Rests
from playbooks_worker.host.post import Asked, Heard, Post
from playbooks_worker.host.programs import Program, ProgramError, load
from playbooks_worker.host.surroundings import Surroundings

_LOOK_EVERY_S = 0.2
_log = structlog.get_logger()


@dataclass(slots=True)
class Telling:
    """What a person is told of a run, as it happens."""

    heard: Heard | None = None
    asked: Asked | None = None
    ended: Callable[[AgentId, Outcome], None] | None = None


@dataclass
class LocalRun:
    """`begin` its agents, then `until_over`. A `post.Home` for their couriers."""

    agents: FilesystemAgents
    inboxes: FilesystemInboxes
    events: FilesystemEvents
    around: Surroundings
    gate: Gate
    first: AgentId
    programs: dict[str, Program]
    telling: Telling = field(default_factory=Telling)

    def __post_init__(self) -> None:
        self.lives: dict[AgentId, Life] = {}
        self.outcomes: dict[AgentId, Outcome] = {}
        self._tasks: dict[AgentId, asyncio.Task[None]] = {}
        self.stopping = ""

    # --- its agents --------------------------------------------------------------------------------------------------
    def begin(self, lock: Lock, entry: Any, **options: Any) -> Life:
        """Let the agent live here."""
        post = Post(self, self.mail_for, heard=self.telling.heard, asked=self.telling.asked)
        life = Life(lock, entry, self.around, self.gate, post=post, **options)
        self.lives[lock.agent] = life
        self._tasks[lock.agent] = asyncio.get_running_loop().create_task(self._live(lock, life))
        return life

    async def _live(self, lock: Lock, life: Life) -> None:
        try:
            outcome = await life.live()
        except BaseException:
            await self.agents.release(lock, "an error of the worker itself")
            raise
        finally:
            del self.lives[lock.agent]
        match outcome:
            case Ended():
                await finished(self, self.around.sealer, lock, outcome)
            case Blocked(why):
                await self.agents.stop(lock, Status.BLOCKED, why)
            case Paused(why):
                await self.agents.stop(lock, Status.PAUSED, why)
            case HandedOver(why):
                await self.agents.release(lock, why)
            case LockLost() | Rests() | Terminated():
                pass
        self.outcomes[lock.agent] = outcome
        if self.telling.ended is not None:
            self.telling.ended(lock.agent, outcome)

    async def until_over(self) -> Outcome:
        """How the first agent ended, once nothing more can happen. Raises what is a bug of ours."""
        first = self.first
        while True:
            pending = [task for task in self._tasks.values() if not task.done()]
            if pending:
                await asyncio.wait(pending, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self._tasks.values() if task.done()]:
                task.result()
            if first in self.outcomes and (not isinstance(self.outcomes[first], Ended) or self._is_quiet()):
                break
            self._look_for_mail()
        await self.abandon("its run is over")
        return self.outcomes[first]

    def _is_quiet(self) -> bool:
        """Whether everybody who is left waits for letters alone."""
        return all(life.waits_for_others for life in self.lives.values())

    def _look_for_mail(self) -> None:
        """Letters that come from another process: a person's answer."""
        for life in list(self.lives.values()):
            if life.asks:
                life.poked(mail_alone=True)

    async def abandon(self, why: str) -> None:
        """Stop all that live here, at once and without a checkpoint."""
        self.stopping = why
        await asyncio.gather(*(life.abandon(why) for life in list(self.lives.values())))
        while pending := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(pending)

    def mail_for(self, poke: Poke) -> bool:
        life = self.lives.get(poke.agent)
        if life is not None:
            life.poked(poke, mail_alone=True)
        return life is not None

    # --- post.Home ---------------------------------------------------------------------------------------------------
    async def create(self, start: StartRecord) -> Created | Exists:
        answer = await self.agents.create(start)
        return Created(Ticket(start.agent, 0, start.queue), answer.fresh) if isinstance(answer, Created) else answer

    async def enqueue(self, ticket: Ticket) -> None:
        """Let an agent that was spawned live here, unless it does or has ended."""
        view = await self.agents.describe(ticket.agent)
        if view is None or ticket.agent in self._tasks or view.status in FINAL or self.stopping:
            return
        await self.go_on(view)

    async def go_on(self, view: AgentView, **options: Any) -> None:
        """Own an agent of the run and let it live here. One that cannot be loaded is set aside."""
        agent, start = view.start.agent, view.start
        lock = await self.agents.lock(agent)
        try:
            program = self.programs.get(start.program)
            if program is None:
                program = self.programs[start.program] = load(start.program)
            entry = program.playbook(start.entry)
        except ProgramError as broken:
            await self.agents.stop(lock, Status.BLOCKED, str(broken))
            _log.error("agent blocked", agent=agent, reason=str(broken))
            return
        self.begin(lock, entry, **options)

    async def finish(
        self, lock: Lock, status: Status, final: Entry, *, read: int | None = None
    ) -> Done | Unread | Gone:
        return await self.agents.finish(lock, status, final, read=read)

    async def describe(self, agent: AgentId) -> AgentView | None:
        return await self.agents.describe(agent)

    async def standing(self, agent: AgentId) -> Standing | None:
        return self.agents.standing(agent)

    async def deliver(
        self, receiver: AgentId, letter: Letter, *, limit: int, birth: int | None = None
    ) -> Delivered | Full | Gap | Gone:
        answer = await self.inboxes.deliver(receiver, letter, limit=limit, birth=birth)
        if isinstance(answer, Delivered):
            self.mail_for(Poke(receiver))
        return answer

    async def mail(self, agent: AgentId, after: int, *, limit: int) -> Sequence[Mail]:
        return await self.inboxes.mail(agent, after, limit=limit)

    async def emit(self, lock: Lock, events: Sequence[Event], *, keep: int) -> Done | Gone:
        return await self.events.emit(lock, events, keep=keep)

    async def emitted(self, agent: AgentId, after: EventPlace, *, limit: int, wait_s: float = 0.0) -> Sequence[Event]:
        return await self.events.emitted(agent, after, limit=limit, wait_s=wait_s)

    async def forget_mail(self, lock: Lock, through: int) -> None:
        await self.inboxes.forget_mail(lock, through)

    # Nobody else could hold an agent of a folder: it waits here. What people want of it, they do here (Ctrl+C).
    async def park(
        self, lock: Lock, at: CheckpointId, cursor: int, wake_ms: int | None, *, keep: bool = False
    ) -> Parked | Unread | Gone:
        return Unread(lock.agent)

    async def poke(self, session: SessionId, poke: Poke) -> None:
        self.mail_for(poke)

    async def pokes(self, session: SessionId, *, wait_s: float) -> Sequence[Poke]:
        return []

    async def order(self, agent: AgentId, order: Order) -> Ordered | Gone:
        """Of a parent to its child, from its outbox: until the child's own state says so, the parent's does."""
        life = self.lives.get(agent)
        if life is None:
            return Gone(agent)
        await life.obey(order)
        return Ordered(Status.RUNNING)

    async def wanted(self, agent: AgentId) -> Order | None:
        return None

    async def obeyed(self, lock: Lock, order: Order) -> None:
        """Its own state says so, and nothing else here does."""

    async def terminate(self, agent: AgentId, why: str, *, read: int | None = None) -> Done | Unread | Gone:
        return Gone(agent)  # nobody here gives an order a deadline

    async def asks(self, lock: Lock, asking: bool) -> None:
        """A folder has few agents: who looks for questions reads them all."""

    async def asking(self) -> Sequence[AgentId]:
        return await self.agents.agents()

    async def delete(self, agent: AgentId) -> Done | Gone:
        return await self.agents.delete(agent)
