"""Keeps a worker's executors running and their sessions renewed. Runs no user code, so it goes on whatever that does.

One seat per executor: spawn, wait until its programs are loaded, open a session for it, and when the kernel says that it
has ended, give its tickets to others before anything else (DESIGN 4.2), then fill the seat again. The `heart` renews the
sessions. Called by `daemon`; names no store and loads no program.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import structlog

from playbooks_providers import metrics
from playbooks_providers.clock import Clock
from playbooks_providers.contracts import Coordination
from playbooks_providers.errors import ProviderError
from playbooks_providers.ids import SessionId, new_session_id
from playbooks_providers.loads import Offer
from playbooks_providers.model import SessionInfo
from playbooks_worker.channel import Alive, Broken, Drain, Drained, Dropped, Ready, Refused, Serve
from playbooks_worker.child import Child
from playbooks_worker.heart import Heart
from playbooks_worker.host.patience import patiently
from playbooks_worker.seat import Seat, Staff

EXECUTOR = "playbooks_worker.executor"
SETTLED_S = 10.0
"""An executor that lived so long has started well: its seat's failures are forgotten."""
TRIES_TO_LOAD = 3
GRACE_S = 3.0
"""How long after its drain an executor may take to end, and the store to be told."""

_log = structlog.get_logger()


class BrokenProgram(Exception):
    """No executor can load the programs: one line for a person."""


class Supervisor:
    """Call `run` once; `drain` and `stop_at_once` from the same loop (a signal handler, say)."""

    def __init__(self, staff: Staff, coordination: Coordination, clock: Clock) -> None:
        self._staff = staff
        self._coordination = coordination
        self._clock = clock
        self._seats = [Seat(index) for index in range(staff.processes)]
        self._closing = asyncio.Event()
        self._served = False
        self._left_behind = False
        self._heart = Heart(staff, self._seats, coordination, clock, self._refused, self.drain)
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> bool:
        """Until told to end. True when no agent was left for the coordinator to find. Raises `BrokenProgram`, and
        `ProviderError` where the store answers, and refuses what a worker has to do."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                beating = group.create_task(self._heart.beat_forever())
                async with asyncio.TaskGroup() as seats:
                    for seat in self._seats:
                        seats.create_task(self._fill(seat))
                beating.cancel()
        except BaseExceptionGroup as errors:
            told, unforeseen = errors.split((BrokenProgram, ProviderError))
            if told is None or unforeseen is not None:
                raise
            raise _first(told) from None
        return not self._left_behind

    @property
    def started(self) -> bool:
        """An executor has loaded the programs."""
        return self._served

    @property
    def ending(self) -> bool:
        """It drains, or stops."""
        return self._closing.is_set()

    def unready(self) -> str:
        """Why this worker can take no agent now; empty when it can. Only looks: it is called from another thread."""
        if self._closing.is_set():
            return "the worker is draining"
        if all(seat.session is None for seat in self._seats):
            return "no session is registered"
        return self._heart.unready()

    # --- ending ---------------------------------------------------------------------------------------------------
    def drain(self) -> None:
        """Hand every agent over, at the latest after the drain timeout; then `run` returns."""
        if self._closing.is_set():
            return
        self._closing.set()
        _log.info("worker draining", within_s=self._staff.drain_timeout_s)
        if self._group is not None:
            self._group.create_task(self._offer_no_more())
        for seat in self._seats:
            self._end(seat)

    async def _offer_no_more(self) -> None:
        """Whoever counts capacity need not wait until the sessions are gone. Only a word; nothing hangs on it."""
        sessions = [seat.session for seat in self._seats if seat.session is not None]
        with contextlib.suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await self._coordination.ask_to_drain(sessions)

    def stop_at_once(self) -> None:
        """End the executors now. Their effects in flight repeat elsewhere."""
        self._closing.set()
        for seat in self._seats:
            if seat.child is not None:
                seat.child.kill()

    def _end(self, seat: Seat) -> None:
        child = seat.child
        if child is None or child.has_ended:
            return
        if seat.session is None:  # it holds nothing yet, or nothing any more
            seat.drained = True
            child.kill()
            return
        child.channel.say(Drain(self._staff.drain_timeout_s))
        asyncio.get_running_loop().call_later(self._staff.drain_timeout_s + GRACE_S, self._end_late, seat, child)

    def _end_late(self, seat: Seat, child: Child) -> None:
        if not child.has_ended and seat.child is child:
            _log.error("executor did not drain in time, ended", session=seat.session, executor=child.pid)
            child.kill()

    # --- a seat ---------------------------------------------------------------------------------------------------
    async def _fill(self, seat: Seat) -> None:
        failures = 0
        while not self._closing.is_set():
            seat.child = child = await Child.spawn(EXECUTOR)
            started = seat.heard_at = self._clock.monotonic()
            child.channel.say(self._staff.orders)
            talk = asyncio.create_task(self._talk(seat, child))
            if self._closing.is_set():
                self._end(seat)
            try:
                await asyncio.wait([talk, asyncio.ensure_future(child.ended())], return_when=asyncio.FIRST_COMPLETED)
                if talk.done() and not child.has_ended:  # it closed its channel: it is ending, or broken
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(child.ended(), GRACE_S)
            except asyncio.CancelledError:
                child.kill()
                raise
            finally:
                await self._leave(seat, child, talk)
            if self._closing.is_set():
                break
            failures = 0 if self._clock.monotonic() - started > SETTLED_S else failures + 1
            if failures >= TRIES_TO_LOAD and not self._served:
                raise BrokenProgram(f"{', '.join(self._staff.orders.programs)}: the process ends while loading it")
            if failures > 1:
                pause_s = min(30.0, 0.5 * 2.0 ** (failures - 2))
                _log.error("executor ends again and again", seat=seat.index, next_try_s=pause_s)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), pause_s)

    async def _leave(self, seat: Seat, child: Child, talk: asyncio.Task[None]) -> None:
        """The executor has ended, or must: its agents go on elsewhere, before anything else is done."""
        noticed_s = self._clock.monotonic()
        session = seat.session
        self._occupy(seat, None)  # renewed no more, however long its death takes
        child.kill()
        await child.ended()
        code = child.reap()
        if session is not None:
            await self._give_up(session, "executor_ended", noticed_s)
        if seat.renewal is not None:
            seat.renewal.cancel()
        try:
            await _finish(talk)
        finally:
            child.channel.close()
            seat.child = None
            metrics.REGISTRY.forget(seat.source)
            if seat.session is not None:  # opened while its executor was ending
                late = seat.session
                self._occupy(seat, None)
                await self._give_up(late, "executor_ended", noticed_s)
        if self._closing.is_set() and seat.drained:
            _log.info("executor drained", session=session, executor=child.pid)
        else:
            metrics.EXECUTOR_ENDS.add()
            _log.warning("executor ended", session=session, executor=child.pid, reason=_why_ended(code))

    def _occupy(self, seat: Seat, session: SessionId | None) -> None:
        """*seat* serves *session* from now on; None: no one."""
        seat.session = session
        metrics.SESSIONS.set(sum(one.session is not None for one in self._seats))
        metrics.WORKER_SLOTS.set(sum(one.slots for one in self._seats if one.session is not None))

    async def _give_up(self, session: SessionId, kind: str, noticed_s: float) -> None:
        """Everything that the session held goes to others; then the session itself."""

        async def both() -> None:
            tickets = await patiently(lambda: self._coordination.recover(session), "recover a session")
            if tickets:
                metrics.TAKEOVERS.add(kind, by=len(tickets))
                metrics.TAKEOVER_SECONDS.observe(self._clock.monotonic() - noticed_s, kind)
                agents = [ticket.agent for ticket in tickets]
                _log.info("agents given to others", session=session, agents=agents[:20], count=len(agents))
            await patiently(lambda: self._coordination.bury(session, None), "bury a session")

        if not self._closing.is_set():
            return await both()
        try:
            async with asyncio.timeout(GRACE_S):
                await both()
        except TimeoutError:
            self._left_behind = True
            _log.error("session left to the coordinator", session=session, reason="the store did not answer")

    # --- what it says ---------------------------------------------------------------------------------------------
    async def _talk(self, seat: Seat, child: Child) -> None:
        async for message in child.channel.heard():
            seat.heard_at = self._clock.monotonic()
            match message:
                case Ready():
                    seat.infos = message.infos()
                    self._served = True
                    await self._enrol(seat, child)
                case Broken(why):
                    if not self._served:
                        raise BrokenProgram(why)
                    _log.error("program broken", executor=child.pid, reason=why)
                case Alive(counted):
                    metrics.REGISTRY.absorb(counted, source=seat.source)
                case Dropped():
                    seat.dropped.set()
                case Drained(counted):
                    metrics.REGISTRY.absorb(counted, source=seat.source)
                    seat.drained = True
                    asyncio.get_running_loop().call_later(GRACE_S, self._end_late, seat, child)
                case _:
                    _log.error("message not understood", message=type(message).__name__)

    async def _enrol(self, seat: Seat, child: Child) -> None:
        """Open a new session for the executor in *seat*, and have it serve."""
        info = SessionInfo(
            session=new_session_id(),
            worker=self._staff.name,
            host=socket.gethostname(),
            pid=child.pid,
            build=" ".join(dict.fromkeys(f"{told.program}:{told.build}" for told in seat.infos)),
            started_ms=self._clock.now_ms(),
        )
        await patiently(lambda: self._coordination.register(info), "register a session", aloud=True)
        await patiently(lambda: self._coordination.publish(info.session, seat.infos), "publish programs")
        orders = self._staff.orders
        most = orders.concurrency
        queues = {told.queue: min(most, orders.limits.get(told.queue, most)) for told in seat.infos}
        offer = Offer(self._staff.group, min(most, sum(queues.values())), queues)
        await patiently(lambda: self._coordination.offer(info.session, offer), "offer its slots")
        seat.slots = offer.slots
        sent_at = self._clock.monotonic()
        refused, timeout_s = await patiently(lambda: self._coordination.beat([info.session]), "renew a session")
        if info.session in refused:
            return await self._enrol(seat, child)
        self._occupy(seat, info.session)
        self._heart.learn(timeout_s)
        child.channel.say(Serve(info.session, sent_at, self._heart.timeout_s))
        _log.info("session registered", session=info.session, executor=child.pid)
        if self._closing.is_set():
            self._end(seat)

    def _refused(self, seat: Seat) -> None:
        """The heart found the session of *seat* refused: its agents are lost here, and a new session begins."""
        child, session = seat.child, seat.session
        if child is None or session is None or self._group is None:
            return
        noticed_s = self._clock.monotonic()
        self._occupy(seat, None)
        seat.dropped.clear()
        _log.warning("session refused", session=session, executor=child.pid)
        child.channel.say(Refused(session))
        seat.renewal = self._group.create_task(self._replace(seat, child, session, noticed_s))

    async def _replace(self, seat: Seat, child: Child, session: SessionId, noticed_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(seat.dropped.wait(), self._heart.timeout_s)
        # what was read for the old session at the last instant is nobody's until the coordinator looks
        await self._give_up(session, "session_refused", noticed_s)
        await self._enrol(seat, child)


async def _finish(talk: asyncio.Task[None]) -> None:
    """Let it hear what was said before the end, then end it. Raises what it raised."""
    await asyncio.wait([talk], timeout=0.5)
    talk.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await talk


def _why_ended(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
