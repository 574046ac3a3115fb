"""What a coordinator does: reads the counters at every tick, and, while it leads, carries out what `rules` plans.

Called by `daemon`, and by tests with any `Coordination`. It does not know which store that is, and never looks into an
agent: sessions, tickets and timers are all it sees. Its work is O(dead + due) and never O(agents) (a LAW of DESIGN 4.3).

Watching and acting are two tasks, so that the recovery of a large worker hides nobody else's death. A step that the store
interrupts is planned again: all of them are repeatable, by any number of coordinators at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from playbooks_coordinator import rules
from playbooks_coordinator.census import Census
from playbooks_coordinator.election import Election
from playbooks_providers import metrics
from playbooks_providers.clock import Clock
from playbooks_providers.contracts import Coordination
from playbooks_providers.errors import ProviderError
from playbooks_providers.ids import Nonce, SessionId
from playbooks_providers.model import Ticket

log = structlog.get_logger()

NAMED = 20  # ids in one event; the count is always whole
DUE_PER_TICK = 1000
SWEPT_PER_TICK = 100  # keys: a round over 100,000 agents takes about ten minutes, one over 1,000 some seconds


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds: the pause between two ticks, the silence that ends a session, the length of the leader's lease."""

    tick_s: float
    session_timeout_s: float
    lease_s: float


class Coordinator:
    """One coordinator, leader or standby, until its task is cancelled."""

    def __init__(self, coordination: Coordination, nonce: Nonce, timing: Timing, *, clock: Clock) -> None:
        self._coordination = coordination
        self._timing = timing
        self._clock = clock
        self.election = Election(coordination, nonce, lease_s=timing.lease_s, clock=clock)
        self._watch = rules.LOST
        self._read = asyncio.Event()
        self._tenure: rules.Tenure | None = None
        self._failures = 0
        self._census = Census()

    @property
    def leading(self) -> bool:
        return self.election.leading

    def unready(self) -> str:
        """Why it can watch over nobody now; empty when it can. Only looks: it is called from another thread."""
        answered_s = self._watch.answered_s
        if answered_s is None:
            return "Redis does not answer"
        ago_s = self._clock.monotonic() - answered_s
        if ago_s > self._timing.session_timeout_s:
            return f"Redis has not answered for {ago_s:.1f} s"
        return "Redis refuses this coordinator the lease (its log says why)" if self.election.refused else ""

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.election.run())
                tasks.create_task(self._keep_watch())
                tasks.create_task(self._serve())
        finally:
            await self.election.resign()

    # --- watching, in office or not ----------------------------------------------------------------------------------

    async def _keep_watch(self) -> None:
        pace_s = rules.pace_s(self._timing.tick_s, self._timing.session_timeout_s)
        while True:
            await self.look()
            await asyncio.sleep(rules.backoff_s(self._failures, pace_s) if self._failures else pace_s)

    async def look(self) -> None:
        """Read all counters once."""
        asked_s = self._clock.monotonic()
        try:
            beats = await self._coordination.sessions()
        except ProviderError as error:
            self._lose(error)
            return
        reading = rules.Reading(asked_s, self._clock.monotonic(), beats)
        metrics.TICK_SECONDS.observe(reading.answered_s - asked_s, "watch")
        self._watch = rules.observe(self._watch, reading, self._timing.session_timeout_s)
        if self._failures:
            log.info("store is back", failures=self._failures)
            self._failures = 0
        self._read.set()

    def _lose(self, error: ProviderError) -> None:
        self._failures += 1
        self._watch = rules.LOST
        if self._tenure is not None:
            self._tenure = rules.begin_again(self._tenure, self._clock.monotonic())
        if self._failures == 1:
            log.warning("store lost", reason=str(error), next="trying again until it answers")

    # --- in office ---------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        while True:
            await self._read.wait()
            self._read.clear()
            await self.act()

    async def act(self) -> None:
        """Do what is to be done after a reading; nothing for a standby."""
        if not self.election.leading:
            if self._tenure is not None:
                self._census.forget()
            self._tenure = None
            return
        began_s = self._clock.monotonic()
        try:
            await self._carry_out()
            metrics.TICK_SECONDS.observe(self._clock.monotonic() - began_s, "act")
        except ProviderError as error:
            if self._tenure is not None:
                self._tenure = rules.begin_again(self._tenure, self._clock.monotonic())
            log.warning("step cut short", reason=str(error), next="planned again at the next tick")

    async def _carry_out(self) -> None:
        store, timeout_s = self._coordination, self._timing.session_timeout_s
        if self._tenure is None:
            _, published_s = await store.beat([])
            self._tenure = rules.begin(self._clock.monotonic(), timeout_s, published_s)
        todo, self._tenure = rules.plan(self._tenure, self._watch, self._clock.monotonic(), timeout_s)
        self._watch = rules.noticed(self._watch)
        if todo.publish:
            await store.publish_timeout(timeout_s)
        for dead in todo.bury:
            if await store.bury(dead.session, dead.beats):
                log.warning("session buried", session=dead.session, silent_s=round(dead.silent_s, 3))
                await self._recover(dead.session, "session_silent", "its heartbeats ended", dead.silent_s)
        if todo.look_for_ownerless:
            for session in await store.ownerless():
                await self._recover(session, "session_ownerless", "its tickets had no session")
        due = await store.fire_due(limit=DUE_PER_TICK)
        metrics.AGENTS_WOKEN.add("timer", by=len(due))
        self._say("agents due", due)
        if todo.sweep:
            await self._sweep(self._tenure)
        if todo.count:
            self._census.tell(await store.load(), len(self._watch.pulses))

    async def _sweep(self, tenure: rules.Tenure) -> None:
        step = await self._coordination.sweep(tenure.cursor, limit=SWEPT_PER_TICK)
        begins, ends = not tenure.cursor, not step.cursor
        self._census.saw(step.seen, begins=begins, ends=ends, now_ms=self._clock.now_ms())
        self._tenure = rules.swept(tenure, step.cursor, self._clock.monotonic())
        metrics.TAKEOVERS.add("never_enqueued", by=len(step.tickets))
        self._say("agents enqueued", step.tickets, reason="created, and never enqueued")

    async def _recover(self, session: SessionId, kind: str, reason: str, silent_s: float = 0.0) -> None:
        began_s = self._clock.monotonic()
        tickets = await self._coordination.recover(session)
        if tickets:
            metrics.TAKEOVERS.add(kind, by=len(tickets))
            metrics.TAKEOVER_SECONDS.observe(silent_s + self._clock.monotonic() - began_s, kind)
        self._say("agents recovered", tickets, session=session, reason=reason)

    def _say(self, event: str, tickets: Sequence[Ticket], **facts: str) -> None:
        if tickets:
            log.info(event, count=len(tickets), agents=[ticket.agent for ticket in tickets[:NAMED]], **facts)
