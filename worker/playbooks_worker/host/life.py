"""One owner's time with an agent: from its lock to an outcome. The same for `run` (filesystem) and executors (Redis).

It fetches the checkpoint the lock says to go on from, verifies it, and gives its payload to the engine; or starts the
agent from its start record. `persisting` makes the engine's moments into checkpoints. It does not know which store, which
session or which queue; what an outcome means for the agent's status is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from playbooks_providers.envelope import Header, Opened, open_start
from playbooks_providers.errors import BadCheckpoint, BadStart
from playbooks_providers.letters import Poke
from playbooks_providers.model import Choice, Lock, OrderKind, Status
from playbooks_worker import engine
from playbooks_worker.engine import Agent
from playbooks_worker.host import changed
from playbooks_worker.host.courier import Courier
from playbooks_worker.host.farewell import value_of
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.obeying import Obeying
from playbooks_worker.host.opening import newest_that_opens, open_checkpoint
from playbooks_worker.host.outcome import Blocked, Ended, HandedOver, LockLost, Outcome, Parked, Paused
from playbooks_worker.host.post import Post
from playbooks_worker.host.surroundings import Surroundings

_log = structlog.get_logger()
_ENDS = {"completed": Status.COMPLETED, "failed": Status.FAILED, "cancelled": Status.CANCELLED}


class EntryPoint(Protocol):
    """The playbook that an agent started with, as `Program.playbook` gives it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Life(Obeying):
    """Call `live` once; the other methods from the same event loop, whenever.

    *progress* is called with the header of each checkpoint when it is durable, *begun* with that of this owner's first.
    *numbered_after*: the number of the agent's newest checkpoint when the lock resumes from an older one (`run --resume
    --at`); new ones count on from it. *post*: where agents write to one another.
    """

    def __init__(
        self,
        lock: Lock,
        entry: EntryPoint,
        around: Surroundings,
        gate: Gate,
        *,
        progress: Callable[[Header], None] | None = None,
        begun: Callable[[Header], None] | None = None,
        numbered_after: int = 0,
        post: Post | None = None,
    ) -> None:
        super().__init__(lock, around, gate, progress, begun)
        if post is not None:
            self.courier = Courier(
                lock,
                post,
                around.sealer,
                now_ms=around.now_ms,
                limit=around.inbox_limit,
                keep_events=around.keep_events,
                idle=self.begun_to_wait,
                locked=self._set_aside,
            )
        self._entry = entry
        self._trace = around.tracer.life(lock) if around.tracer is not None else None
        self._numbered_after = numbered_after
        self._ending: asyncio.Task[None] | None = None

    # --- what the owner may do meanwhile --------------------------------------------------------------------------
    def hand_over(self, why: str) -> None:
        """Stop at the next checkpoint: nothing repeats elsewhere but what is in flight then."""
        if self._leaving is None:
            self._leaving = HandedOver(why, abandoned=False)
        if self._agent is not None:
            self._agent.stop_at_checkpoint(why)
            self._leave_if_idle()

    async def abandon(self, why: str) -> None:
        """Stop now, without a checkpoint; the lock is still ours. The effect in flight repeats elsewhere."""
        await self._end(HandedOver(why, abandoned=True))

    async def drop(self, why: str) -> None:
        """Stop now: the lock is not ours any more."""
        await self._end(LockLost(why))

    def freeze(self) -> None:
        """No effect starts until `thaw`. (Writes are held by the gate.)"""
        self._frozen = True
        if self._agent is not None:
            self._agent.freeze()

    def thaw(self) -> None:
        self._frozen = False
        if self._agent is not None and not self._held:
            self._agent.thaw()

    def stack(self) -> Sequence[tuple[str, int, str, int]]:
        """Where the agent stands now: (playbook id, line, statement, depth), outermost first."""
        return self._agent.stack() if self._agent is not None else []

    def poked(self, poke: Poke | None = None, *, mail_alone: bool = False) -> None:
        """There is something for the agent, perhaps: *mail_alone*, or an order."""
        if self.courier is not None:
            self.courier.poked(poke)
            if not mail_alone and (poke is None or poke.mail is None):
                self.look_for_orders()

    @property
    def lives(self) -> bool:
        """Whether it is here, has not ended, and is not about to leave."""
        agent = self._agent
        return agent is not None and not agent.dead and self._over is None and self._leaving is None

    @property
    def asks(self) -> bool:
        """Whether it waits for a person."""
        agent = self._agent
        return agent is not None and agent.mailbox is not None and bool(agent.mailbox.questions)

    @property
    def waits_for_others(self) -> bool:
        """Whether it waits for letters of other agents, and for nothing else."""
        agent = self._agent
        return agent is not None and agent.is_idle() and agent.wakes_at() is None and not self.asks

    # --- the life -------------------------------------------------------------------------------------------------
    async def live(self) -> Outcome:
        """Run the agent until it ends, blocks, or leaves. Raises only what is a bug of ours."""
        outcome: Outcome | None = None
        try:
            outcome = await self._told(await self._live())
            if isinstance(outcome, Ended) and self.courier is not None:
                outcome = await self._farewell(outcome, self.courier)
            return outcome
        finally:
            if self._trace is not None:
                self._trace.over(outcome)
            self.no_more_parking()
            if self.courier is not None:
                self.courier.close()

    async def _told(self, outcome: Outcome) -> Outcome:
        """What the agent told people is in its stream before the lock is given up."""
        if self.courier is None or isinstance(outcome, LockLost | Parked):
            return outcome
        return await self._unless_over(outcome, self.courier.begin(self.courier.told()))

    async def _farewell(self, ended: Ended, courier: Courier) -> Outcome:
        """Its parent knows before the agent is finished, or whoever finishes it tells it again."""
        value = value_of(ended.header, ended.status)
        return await self._unless_over(ended, courier.begin(courier.farewell(value)))

    async def _unless_over(self, outcome: Outcome, telling: asyncio.Task[None]) -> Outcome:
        """*outcome*, when that has been told; what this life has come to, when it was cut short."""
        await asyncio.wait([telling])
        return outcome if not telling.cancelled() else self._over or outcome

    async def _live(self) -> Outcome:
        found = await self._find() if self.lock.resume_from is not None else None
        if isinstance(found, Blocked):
            return found
        if found is not None:
            header, entry = found.header, found.chain[-1]
            self._last = entry
            self._history.resumed(found)
            if header.kind in _ENDS:  # the earlier owner died between its last write and saying so
                return Ended(_ENDS[header.kind], header, entry)
        await self._pass()
        wanted = self.lock.order
        if wanted is not None and wanted.kind is OrderKind.PAUSE:
            return Paused(wanted.why)
        left = self._over or self._leaving
        if left is not None:
            return left
        number = max(found.header.seq if found is not None else 0, self._numbered_after) + 1
        around = self._around
        self._agent = Agent(
            self.lock.agent,
            persist=self._persist,
            next_seq=number,
            strict=around.strict,
            max_bytes=around.max_bytes,
            observer=self._trace,
            summed=False,  # the envelope is signed
            world=self.courier,
        )
        self._agent.kept = around.kept
        if self.courier is not None:
            self.courier.agent = self._agent
        if wanted is not None:
            asyncio.get_running_loop().call_soon(self._obey, wanted)
        if found is not None:
            payload = found.payload
            accept = self.lock.choice is Choice.ACCEPT_CHANGED
            accepted = await changed.accepted(self._around.checkpoints, payload) if accept else None
            said = await self._agent.resume(payload, accepted)
        else:
            try:
                start = open_start(around.sealer, self.lock.start)
            except BadStart as bad:
                return Blocked(str(bad))
            said = await self._agent.start(self._entry, start.args, start.kwargs)
        if isinstance(said, engine.Blocked) and said.changes:
            told = await changed.told(self._around.checkpoints, said.changes)
            return Blocked("\n".join([said.why, *told]), elsewhere=True)
        return self._outcome(said)

    def _outcome(self, said: engine.Outcome) -> Outcome:
        match said:
            case engine.Completed() | engine.Failed() | engine.Cancelled():
                assert self._last is not None  # the engine persists the end before it says so
                header = self._around.sealer.read(self._last.header)
                return Ended(_ENDS[header.kind], header, self._last)
            case engine.Blocked():
                return Blocked(said.why, elsewhere=True)
            case engine.Stopped():
                return self._over or self._leaving or HandedOver(said.why, abandoned=True, unasked=True)

    def _set_aside(self, why: str) -> None:
        """It cannot go on here, and nothing of it is lost."""
        if self._over is None and self._agent is not None:
            _log.error("agent cannot go on here", agent=self.lock.agent, reason=why)
            self._ending = asyncio.get_running_loop().create_task(self._end(Blocked(why)))

    async def _end(self, outcome: HandedOver | LockLost | Blocked) -> None:
        if self._over is None:
            self._over = outcome
        self.no_more_parking()
        if self.courier is not None:
            self.courier.close()
        if self._waiter is not None:
            self._waiter.cancel()
        if self._agent is not None:
            await self._agent.stop(outcome.why)
        if self._saving is not None:  # nobody waits for it any more
            self._saving.cancel()

    # --- reading --------------------------------------------------------------------------------------------------
    async def _find(self) -> Opened | Blocked:
        agent, wanted = self.lock.agent, self.lock.resume_from
        assert wanted is not None
        around = self._around
        try:
            return await open_checkpoint(around.checkpoints, around.sealer, agent, wanted)
        except BadCheckpoint as bad:
            before = await newest_that_opens(around.checkpoints, around.sealer, agent, wanted)
            told = f"resume from checkpoint {before}, which opens" if before else "no checkpoint before it opens"
            return Blocked(f"{bad}; {told}", at=wanted, before=before)
