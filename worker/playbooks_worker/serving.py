"""An executor at work: what it does about each message of its supervisor.

It serves one session after another (`shift`), freezes when the session was not renewed in time, thaws when it was after
all, drops everything when it was refused, and drains. Knows neither Redis nor how this process was started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict

import structlog

from playbooks_providers import metrics
from playbooks_providers.errors import ProviderError
from playbooks_providers.ids import SessionId
from playbooks_providers.model import ProgramInfo
from playbooks_worker import engine
from playbooks_worker.channel import (
    Alive,
    Channel,
    Drain,
    Drained,
    Dropped,
    Message,
    Orders,
    Ready,
    Refused,
    Renewed,
    Serve,
)
from playbooks_worker.hold import Bench
from playbooks_worker.host.gate import Gate
from playbooks_worker.shift import Shift

ALIVE_EVERY_S = 1.0

_log = structlog.get_logger()


class Serving:
    """Call `serve` once."""

    def __init__(self, channel: Channel, orders: Orders, bench: Bench, gate: Gate) -> None:
        self._channel = channel
        self._orders = orders
        self._bench = bench
        self._gate = gate
        self._shift: Shift | None = None
        self._frozen = False
        self._alarm: asyncio.TimerHandle | None = None
        self._done = asyncio.Event()

    async def serve(self, said: AsyncIterator[Message], orphaned: Callable[[], None]) -> None:
        """Until drained. *orphaned* ends the process: it is called when the supervisor is gone."""
        async with asyncio.TaskGroup() as group:
            alive = group.create_task(self._say_alive())
            ears = group.create_task(self._listen(said, orphaned, group))
            self._channel.say(Ready([asdict(info) for info in self._hosted()]))
            await self._done.wait()
            alive.cancel()
            ears.cancel()
        self._channel.say(Drained(metrics.REGISTRY.take()))
        await self._channel.flush()

    async def _listen(
        self, said: AsyncIterator[Message], orphaned: Callable[[], None], group: asyncio.TaskGroup
    ) -> None:
        async for message in said:
            match message:
                case Serve(session, sent_at, timeout_s):
                    self._gate.renew(sent_at, timeout_s)
                    self._begin(session, group)
                case Renewed(session, sent_at, timeout_s):
                    if self._shift is not None and self._shift.session == session:
                        self._gate.renew(sent_at, timeout_s)
                        self._watch_deadline()
                case Refused(session):
                    await self._drop(session)
                case Drain(within_s):
                    group.create_task(self._drain(within_s))
                case _:
                    _log.error("message not understood", message=type(message).__name__)
        orphaned()

    def _hosted(self) -> list[ProgramInfo]:
        """Each program with each queue that its agents are taken from; by default the one of its own name."""
        programs = self._bench.programs.values()
        return [program.info(queue) for program in programs for queue in self._orders.queues or [program.name]]

    # --- a session ------------------------------------------------------------------------------------------------
    def _begin(self, session: SessionId, group: asyncio.TaskGroup) -> None:
        orders = self._orders
        queues = list(dict.fromkeys(info.queue for info in self._hosted()))
        if strange := sorted(orders.limits.keys() - queues):
            _log.warning("limits of queues that are not read here", limits=strange, queues=queues)
        self._shift = Shift(
            session,
            self._gate,
            self._bench,
            queues,
            concurrency=orders.concurrency,
            limits=orders.limits,
            drain_timeout_s=orders.drain_timeout_s,
        )
        self._frozen = False
        self._watch_deadline()
        group.create_task(self._shift.serve())
        group.create_task(self._keep_sources())
        _log.info("executor serving", session=session)

    async def _keep_sources(self) -> None:
        """What the playbooks here look like, for the day on which they were edited. Nobody waits for it."""
        checkpoints = self._bench.around.checkpoints
        try:
            await checkpoints.keep_sources(engine.kept_sources())
        except ProviderError as error:
            _log.warning(
                "the sources of playbooks were not kept: a later change of them shows no diff", reason=str(error)
            )

    async def _drop(self, session: SessionId) -> None:
        if self._shift is None or self._shift.session != session:
            return
        shift, self._shift = self._shift, None
        self._gate.close()
        if self._alarm is not None:
            self._alarm.cancel()
        _log.warning("session refused", session=session, agents_lost=shift.agents)
        await shift.drop("its session was refused: the agent goes on elsewhere")
        self._channel.say(Dropped(session))

    async def _drain(self, within_s: float) -> None:
        shift = self._shift
        if shift is not None:
            _log.info("executor draining", session=shift.session, agents=len(shift.agents), within_s=within_s)
            await shift.drain(within_s)
        await engine.close_resources()
        self._done.set()

    # --- freezing -------------------------------------------------------------------------------------------------
    def _watch_deadline(self) -> None:
        """(Again) ask for a call at the gate's deadline, and thaw if it moved past now."""
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_at(self._gate.deadline, self._check)
        self._check()

    def _check(self) -> None:
        shift, closed = self._shift, not self._gate.is_open
        if shift is None or closed == self._frozen:
            return
        self._frozen = closed
        if closed:
            shift.freeze()
            metrics.EXECUTOR_FREEZES.add()
            _log.warning(
                "executor frozen", session=shift.session, reason="session not renewed in time", agents=len(shift.agents)
            )
        else:
            shift.thaw()
            _log.info("executor thawed", session=shift.session)

    async def _say_alive(self) -> None:
        while True:
            shift = self._shift
            metrics.AGENTS_HELD.replace(shift.held_by_queue() if shift is not None else ())
            self._channel.say(Alive(metrics.REGISTRY.take()))
            asked_s = time.monotonic()
            await asyncio.sleep(ALIVE_EVERY_S)
            metrics.EVENT_LOOP_LAG.observe(max(0.0, time.monotonic() - asked_s - ALIVE_EVERY_S), "executor")
