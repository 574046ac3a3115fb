"""The heartbeat of a worker: one request renews the sessions of all its executors that are alive, and each is told.

A session is not renewed while its executor is *stopped* (SIGSTOP, a frozen cgroup): its agents are stuck, and others must
be able to take them. A blocked event loop keeps its session; it is reported, and ended only on demand (DESIGN 4.2).
Called by the `supervisor`. (That no other call makes a heartbeat wait is the store's business.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from playbooks_providers import metrics
from playbooks_providers.clock import Clock
from playbooks_providers.contracts import Coordination
from playbooks_providers.errors import ProviderError
from playbooks_providers.ids import SessionId
from playbooks_providers.settings.invariants import BLOCKED_AFTER_S
from playbooks_worker.channel import Renewed
from playbooks_worker.seat import Seat, Staff

BEATS_PER_TIMEOUT = 5

_log = structlog.get_logger()


class Heart:
    """*refused* is called with each seat whose session the store no longer knows, *drain* when somebody wants that."""

    def __init__(
        self,
        staff: Staff,
        seats: Sequence[Seat],
        coordination: Coordination,
        clock: Clock,
        refused: Callable[[Seat], None],
        drain: Callable[[], None],
    ) -> None:
        self.timeout_s = staff.session_timeout_s
        self._staff = staff
        self._seats = seats
        self._coordination = coordination
        self._clock = clock
        self._refused = refused
        self._drain = drain
        self._away = False
        self._stopped: set[SessionId] = set()
        self._blocked: set[SessionId] = set()
        self._last_round = self._renewed_s = clock.monotonic()

    def learn(self, timeout_s: float | None) -> None:
        """What the coordinator published; until it has, the setting."""
        if timeout_s is not None:
            self.timeout_s = timeout_s

    def unready(self) -> str:
        """Why the sessions may be over; empty when they were renewed in time."""
        ago_s = self._clock.monotonic() - self._renewed_s
        if self._away or ago_s > self.timeout_s:
            return f"Redis has not answered a heartbeat for {ago_s:.1f} s"
        return ""

    async def beat_forever(self) -> None:
        while True:
            began = self._clock.monotonic()
            await self.beat()
            # five in a timeout, whoever sets it: the coordinator counts on it (docs/decisions/0004)
            every_s = min(self._staff.heartbeat_s, self.timeout_s / BEATS_PER_TIMEOUT)
            await asyncio.sleep(max(0.0, every_s - (self._clock.monotonic() - began)))

    async def beat(self) -> None:
        """One round."""
        self._look_for_blocked()
        seats = {seat.session: seat for seat in self._seats if seat.session is not None and seat.child is not None}
        self._stopped &= seats.keys()
        stopped_before = set(self._stopped)
        self._blocked &= seats.keys()
        running = [session for session, seat in seats.items() if not self._is_stopped(session, seat)]
        sent_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(self._staff.heartbeat_s, self.timeout_s)):
                refused, timeout_s = await self._coordination.beat(running) if running else (frozenset(), None)
                alive = await self._coordination.sessions() if self._stopped else {}
                draining = await self._coordination.draining() if running else frozenset()
        except (ProviderError, TimeoutError) as error:
            if not self._away:
                _log.warning("heartbeat failed", reason=str(error) or "no answer", sessions=running)
            self._away = True
            metrics.HEARTBEAT_FAILURES.add()
            return
        if self._away:
            _log.info("heartbeat goes on", sessions=running)
        self._away = False
        self._renewed_s = sent_at
        self.learn(timeout_s)
        for session in running:
            seat = seats[session]
            if seat.session != session or seat.child is None:
                continue  # it ended meanwhile
            if session in refused:
                metrics.SESSION_LOSSES.add()
                self._refused(seat)
            else:
                metrics.SESSION_RENEWALS.add()
                seat.child.channel.say(Renewed(session, sent_at, self.timeout_s))
        if not draining.isdisjoint(running):
            self._drain()
        # Not at the first sight: who stopped us may have stopped them, and wakes them in a moment.
        for session in (self._stopped & stopped_before) - alive.keys():
            self._end(seats[session], "stopped, and its session has lapsed")

    def _is_stopped(self, session: SessionId, seat: Seat) -> bool:
        assert seat.child is not None
        stopped = seat.child.is_stopped()
        if stopped and session not in self._stopped:
            _log.warning("executor stopped, session not renewed", session=session, executor=seat.child.pid)
            self._stopped.add(session)
        elif not stopped and session in self._stopped:
            _log.info("executor woken", session=session, executor=seat.child.pid)
            self._stopped.discard(session)
        return stopped

    def _look_for_blocked(self) -> None:
        now = self._clock.monotonic()
        asleep = now - self._last_round > 2 * self._staff.heartbeat_s + 1.0
        self._last_round = now
        for seat in self._seats:
            if seat.child is None or seat.session is None:
                continue
            if asleep:  # we were stopped ourselves: what they said is still to be read
                seat.heard_at = now
            silent_s = now - seat.heard_at
            if silent_s < BLOCKED_AFTER_S:
                if seat.session in self._blocked:
                    self._blocked.discard(seat.session)
                    _log.info("event loop turns again", session=seat.session, executor=seat.child.pid)
            elif seat.session not in self._stopped:
                if seat.session not in self._blocked:
                    self._blocked.add(seat.session)
                    _log.warning("event loop blocked", session=seat.session, executor=seat.child.pid, for_s=silent_s)
                if self._staff.stall_timeout_s is not None and silent_s > self._staff.stall_timeout_s:
                    self._end(seat, f"its event loop was blocked for {silent_s:.0f} s")

    def _end(self, seat: Seat, why: str) -> None:
        if seat.child is not None and not seat.child.has_ended:
            _log.error("executor ended by its supervisor", session=seat.session, executor=seat.child.pid, reason=why)
            seat.child.kill()
