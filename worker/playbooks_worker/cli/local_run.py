"""All agents of one run in this process, kept in a folder: lives beside each other, and who begins or ends one.

Called by `playbooksctl run`. What other processes want of these agents (an answer, an order) lies in the folder before they
poke it. A run is over when its first agent has ended and nothing more can happen: the others have ended, or wait for letters
that nobody will write. While its first agent is paused, it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from playbooks_providers.envelope import Header
from playbooks_providers.errors import AgentLocked
from playbooks_providers.filesystem import FilesystemCoordination
from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Poke
from playbooks_providers.model import AgentView, Done, Gone, Lock, Minted, OrderKind, Status, Ticket, Unwanted
from playbooks_worker.host.ending import finished, terminated
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Blocked, Ended, HandedOver, LockLost, Outcome, Parked, Paused, Terminated
from playbooks_worker.host.post import Asked, Heard, Post
from playbooks_worker.host.programs import Program, ProgramError, load
from playbooks_worker.host.surroundings import Surroundings

_LOOK_EVERY_S = 0.2
_LOOK_AT_ALL_EVERY_S = 5.0  # a poke may be lost
_SOON_S = 0.05
_log = structlog.get_logger()


@dataclass(slots=True)
class Telling:
    """What a person is told of a run, as it happens."""

    heard: Heard | None = None
    asked: Asked | None = None
    ended: Callable[[AgentId, Outcome], None] | None = None
    saved: Callable[[Header], None] | None = None  # checkpoints of the first agent
    stands: Callable[[Sequence[tuple[str, int, str, int]]], None] | None = None  # what it awaits, now and then


@dataclass
class LocalRun:
    """`begin` its agents, then `until_over`. For its home it is `filesystem.coordination.Here`."""

    home: FilesystemCoordination
    around: Surroundings
    gate: Gate
    first: AgentId
    programs: dict[str, Program]
    telling: Telling = field(default_factory=Telling)

    def __post_init__(self) -> None:
        self.lives: dict[AgentId, Life] = {}
        self.outcomes: dict[AgentId, Outcome] = {}
        self._tasks: dict[AgentId, asyncio.Task[None]] = {}
        self._again: set[AgentId] = set()  # to be looked at when what is done with it is done
        self._look_at_all_s = 0.0
        self.stopping = ""
        self.first_life: Life | None = None  # the newest one
        self.home.here = self

    # --- its agents --------------------------------------------------------------------------------------------------
    def begin(self, lock: Lock, entry: Any, *, numbered_after: int) -> None:
        """Let the agent live here; one that is to be terminated does not."""
        self.outcomes.pop(lock.agent, None)
        order = lock.order
        if order is not None and order.kind is OrderKind.TERMINATE:
            doing = self._conclude(lock, Terminated(order.why))
        else:
            post = Post(self.home, self.told, heard=self.telling.heard, asked=self.telling.asked)
            saved = self.telling.saved if lock.agent == self.first else None
            life = Life(lock, entry, self.around, self.gate, post=post, progress=saved, numbered_after=numbered_after)
            if lock.agent == self.first:
                self.first_life = life
            self.lives[lock.agent] = life
            doing = self._live(lock, life)
        self._tasks[lock.agent] = asyncio.get_running_loop().create_task(doing)

    async def go_on(self, view: AgentView) -> None:
        """Own an agent of the run and let it live here. One that cannot be loaded is set aside."""
        agent, start = view.start.agent, view.start
        try:
            lock = await self.home.lock(agent)
        except AgentLocked:  # a command does something with it, or another process runs it
            self._again.add(agent)
            return
        try:
            program = self.programs.get(start.program)
            if program is None:
                program = self.programs[start.program] = load(start.program)
            entry = program.playbook(start.entry)
        except ProgramError as broken:
            await self.home.stop(lock, Status.BLOCKED, str(broken))
            _log.error("agent blocked", agent=agent, reason=str(broken))
            return
        self.begin(lock, entry, numbered_after=view.last.seq if view.last else 0)

    async def _live(self, lock: Lock, life: Life) -> None:
        try:
            outcome = await life.live()
        except BaseException:
            await self.home.release(lock, "an error of the worker itself")
            raise
        finally:
            del self.lives[lock.agent]
        await self._conclude(lock, outcome)

    async def _conclude(self, lock: Lock, outcome: Outcome) -> None:
        answer: Done | Minted | Unwanted | Gone = Done()
        match outcome:
            case Ended():
                answer = await finished(self.home, self.around.sealer, lock, outcome)
            case Blocked(why):
                answer = await self.home.stop(lock, Status.BLOCKED, why)
            case Paused(why):
                answer = await self.home.stop(lock, Status.PAUSED, why)
            case HandedOver(why):
                answer = await self.home.release(lock, why)
            case Terminated(why):
                await self._terminated(lock, why)
            case LockLost() | Parked():
                answer = Gone(lock.agent)
        if isinstance(answer, Unwanted):  # a cancel has replaced the pause, or somebody has withdrawn it
            await self.home.release(lock, "it is to be paused no longer")
            self._again.add(lock.agent)
            return
        if isinstance(answer, Gone):
            outcome = await self._taken_away(lock)
        self.outcomes[lock.agent] = outcome
        if self.telling.ended is not None:
            self.telling.ended(lock.agent, outcome)

    async def _taken_away(self, lock: Lock) -> Outcome:
        """Somebody has minted a newer fence: it is to end, and does so here unless the one who wants it is quicker."""
        await self.home.release(lock, "a newer owner has it")
        order = await self.home.wanted(lock.agent)
        if order is not None and order.kind is OrderKind.TERMINATE:
            await self._terminated(lock, order.why)
            return Terminated(order.why)
        view = await self.home.describe(lock.agent)
        if view is None or view.status is Status.CANCELLED:
            return Terminated("it was deleted" if view is None else view.why)
        return LockLost("a newer owner has it")

    async def _terminated(self, lock: Lock, why: str) -> None:
        around = self.around
        while True:
            try:
                await terminated(self.home, around.checkpoints, around.sealer, lock.start, lock.birth, why)
                return
            except AgentLocked:  # the command that wants it does the same
                await asyncio.sleep(_SOON_S)

    # --- the run -----------------------------------------------------------------------------------------------------
    async def until_over(self, *, alone: bool = False) -> Outcome | None:
        """How the first agent ended, once nothing more can happen. *alone*: it had ended before. Raises what is a bug of
        ours."""
        while True:
            pending = [task for task in self._tasks.values() if not task.done()]
            if pending:
                await asyncio.wait(pending, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(_LOOK_EVERY_S)
            for task in [task for task in self._tasks.values() if task.done()]:
                task.result()
            if self.telling.stands is not None and self.first_life is not None:
                self.telling.stands(self.first_life.stack())
            await self._look()
            if self._is_over(alone):
                break
        await self.abandon("its run is over")
        return self.outcomes.get(self.first)

    def _is_over(self, alone: bool) -> bool:
        """Whether nothing more can happen: everybody who is left waits for letters alone."""
        first = self.outcomes.get(self.first)
        if alone or isinstance(first, Ended | Terminated):
            return all(life.waits_for_others for life in self.lives.values())
        return first is not None and not isinstance(first, Paused)

    async def _look(self) -> None:
        """What other processes have done: an answer, an order, an agent made ready."""
        told = self.home.came()
        now_s = asyncio.get_running_loop().time()
        if told is None or now_s >= self._look_at_all_s:
            self._look_at_all_s = now_s + _LOOK_AT_ALL_EVERY_S
            told = {agent for agent in self._tasks if not isinstance(self.outcomes.get(agent), Ended | Terminated)}
        told |= self._again
        self._again.clear()
        for agent in told:
            if not self.told(Poke(agent)):
                await self.takes(Ticket(agent, 0, ""))

    async def abandon(self, why: str) -> None:
        """Stop all that live here, at once and without a checkpoint."""
        self.stopping = why
        await asyncio.gather(*(life.abandon(why) for life in list(self.lives.values())))
        while pending := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(pending)

    # --- filesystem.coordination.Here --------------------------------------------------------------------------------
    async def takes(self, ticket: Ticket) -> bool:
        """Let an agent of the run live here that is ready. False: that is not for this process to do."""
        agent = ticket.agent
        task = self._tasks.get(agent)
        if task is not None and not task.done():
            if agent not in self.lives:
                self._again.add(agent)
            return True
        view = await self.home.describe(agent)
        if view is None or self.first not in (agent, view.start.run) or self.stopping:
            return False
        if view.status is Status.READY:
            await self.go_on(view)
        return True

    def told(self, poke: Poke) -> bool:
        life = self.lives.get(poke.agent)
        if life is not None:
            life.poked(poke)
        return life is not None
