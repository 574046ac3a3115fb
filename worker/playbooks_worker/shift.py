"""One session's time in an executor: reads tickets, holds their agents, and gives all of them up in the end.

A session that was refused is over, with all that it held; the next one is another shift. Called by `serving`, which hears
from the supervisor what has become of the session. Knows neither processes nor programs.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import structlog

from playbooks_providers.errors import ProviderError
from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.lanes import lanes_of, queue_of
from playbooks_providers.letters import Poke, Standing
from playbooks_providers.model import Status, Ticket
from playbooks_worker.hold import Bench, Hold
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life

READ_WAIT_S = 2.0
AWAY_S = 0.2
FULL_WAIT_S = 0.2
"""While one of several queues is at its limit: when there is room again, it is to be read, too."""
READ_AT_ONCE = 8
"""A burst of tickets is shared with other executors that wait, instead of going to whoever reads first."""
DROP_WITHIN_S = 5.0
LOOK_EVERY_S = 5.0

_ON_TRIAL = "an agent that may kill its process needs this one alone"
_log = structlog.get_logger()


class Shift:
    """Call `serve` once, and `drain` or `drop` to end it."""

    def __init__(
        self,
        session: SessionId,
        gate: Gate,
        bench: Bench,
        queues: Sequence[str],
        *,
        concurrency: int,
        drain_timeout_s: float,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.session = session
        self.gate = gate
        self._draining = ""
        self._bench = bench
        self._queues = list(queues)
        self._concurrency = concurrency
        self._limits = limits or {}
        self._drain_timeout_s = drain_timeout_s
        self._holds: dict[Hold, asyncio.Task[None]] = {}
        self._alone: Hold | None = None
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._asked: asyncio.Future[Sequence[Ticket]] | None = None
        self._dropping = False

    # --- serving --------------------------------------------------------------------------------------------------
    async def serve(self) -> None:
        """Until `drain` or `drop` has ended it. Raises what a hold raised: a bug, which ends the process."""
        async with asyncio.TaskGroup() as group:
            self._reader = group.create_task(self._read(group))
            listening = group.create_task(self._listen())
            if self._draining or self._dropping:
                self._reader.cancel()
            await asyncio.wait([self._reader])
            while self._holds:  # they hear of their mail until the last of them is gone
                await self._change()
            listening.cancel()

    async def _read(self, group: asyncio.TaskGroup) -> None:
        again, away = False, False
        while True:
            await self._room()
            try:
                # After an outage, first what was read for us when the connection broke: nobody else is given it.
                reading = self._again() if again else self._next()
                self._asked = asyncio.ensure_future(reading)
                await asyncio.wait([self._asked])
                tickets = self._asked.result()
            except ProviderError as error:
                if not away:
                    _log.warning("store unavailable, cannot read tickets", session=self.session, reason=str(error))
                again = away = True
                await asyncio.sleep(AWAY_S)
                continue
            except asyncio.CancelledError:
                if self._draining or self._dropping or self._asked is None or not self._asked.cancelled():
                    raise  # the reader itself is ended
                again = True  # frozen
                continue
            finally:
                self._stop_asking()
            if away:
                _log.info("store available again", session=self.session)
            again = away = False
            self._start(tickets, group)

    async def _listen(self) -> None:
        """Pokes from everywhere for the agents that are held here. One that is lost costs a while, and no letter."""
        look_at = time.monotonic() + LOOK_EVERY_S
        while True:
            try:
                for poke in await self._bench.coordination.pokes(self.session, wait_s=READ_WAIT_S):
                    self._poke(poke)
                if time.monotonic() > look_at:  # a poke may be lost
                    look_at = time.monotonic() + LOOK_EVERY_S
                    for hold in self._holds:
                        self._poke(Poke(hold.ticket.agent))
            except ProviderError:
                await asyncio.sleep(AWAY_S)

    def _again(self) -> Coroutine[Any, Any, Sequence[Ticket]]:
        return self._bench.coordination.pending(self.session, lanes_of(self._queues))

    def _next(self) -> Coroutine[Any, Any, Sequence[Ticket]]:
        rooms = self._rooms()
        limit = min(self._concurrency - len(self._holds), READ_AT_ONCE, *rooms.values())
        wait_s = READ_WAIT_S if len(rooms) == len(self._queues) else FULL_WAIT_S
        return self._bench.coordination.read(self.session, lanes_of(list(rooms)), limit=limit, wait_s=wait_s)

    def _rooms(self) -> dict[str, int]:
        """The queues from which agents may be taken now, and how many of each."""
        held = Counter(queue_of(hold.ticket.queue) for hold in self._holds)
        rooms = {queue: self._limits.get(queue, self._concurrency) - held[queue] for queue in self._queues}
        return {queue: room for queue, room in rooms.items() if room > 0}

    def _stop_asking(self) -> None:
        """A session that may be given up must not be handed tickets: the store serves whoever asked first."""
        if self._asked is not None:
            self._asked.cancel()

    def _start(self, tickets: Sequence[Ticket], group: asyncio.TaskGroup) -> None:
        held = {(hold.ticket.queue, hold.ticket.entry) for hold in self._holds}
        for ticket in tickets:
            if (ticket.queue, ticket.entry) not in held:
                hold = Hold(ticket, self.session, self.gate, self._bench, self)
                self._holds[hold] = group.create_task(self._carry(hold), name=f"hold {ticket.agent}")

    async def _carry(self, hold: Hold) -> None:
        try:
            await hold.carry()
        except asyncio.CancelledError:
            if not self._dropping:
                raise
        finally:
            del self._holds[hold]
            self.no_longer_alone(hold)
            self._say_changed()

    async def _room(self) -> None:
        while self._alone is not None or self._is_full() or not self.gate.is_open:
            if not self.gate.is_open:
                await self.gate.wait_open()
            else:
                await self._change()

    def _is_full(self) -> bool:
        return len(self._holds) >= self._concurrency or not self._rooms()

    # --- one that needs a room of its own (see `trial`) -----------------------------------------------------------
    async def only(self, hold: Hold) -> bool:
        if self._alone is not None:
            return False
        self._alone = hold
        ticket, others = hold.ticket, len(self._holds) - 1
        _log.warning("agent runs alone", agent=ticket.agent, session=self.session, fence=ticket.fence, others=others)
        await self._empty(_ON_TRIAL, self._drain_timeout_s, but=hold)
        return True

    def leaving(self, hold: Hold) -> str:
        return self._draining or (_ON_TRIAL if self._alone not in (None, hold) else "")

    def stands(self, agent: AgentId) -> Standing | None:
        for life in self._lives_of(agent) if self.gate.is_open else ():
            if life.lives:
                return Standing(Status.RUNNING, life.lock.birth)
        return None

    def mail_for(self, poke: Poke) -> bool:
        return self._poke(poke, mail_alone=True)

    def _poke(self, poke: Poke, *, mail_alone: bool = False) -> bool:
        lives = self._lives_of(poke.agent)
        for life in lives:
            life.poked(poke, mail_alone=mail_alone)
        return bool(lives)

    def _lives_of(self, agent: AgentId) -> list[Life]:
        return [hold.life for hold in self._holds if hold.ticket.agent == agent and hold.life is not None]

    def no_longer_alone(self, hold: Hold) -> None:
        if self._alone is hold:
            self._alone = None
            self._say_changed()

    # --- ending ---------------------------------------------------------------------------------------------------
    async def drain(self, within_s: float) -> None:
        """Take no more, hand each agent over at its next checkpoint; after *within_s* without one."""
        self._draining = "the worker is draining"
        if self._reader is not None:
            self._reader.cancel()
        await self._empty(self._draining, within_s)

    async def drop(self, why: str) -> None:
        """The session is over: stop all agents, conclude nothing. Bounded, since user code may hold on to its tasks."""
        self._dropping = True
        if self._reader is not None:
            self._reader.cancel()
        tasks = list(self._holds.values())
        try:
            async with asyncio.timeout(DROP_WITHIN_S):
                await asyncio.gather(*(hold.drop(why) for hold in list(self._holds)))
                if tasks:
                    await asyncio.wait(tasks)
        except TimeoutError:
            _log.error("dropped agents have not let go of their tasks", session=self.session, agents=self.agents)
        for task in self._holds.values():  # waiting for the store to conclude, which nobody needs any more
            task.cancel()

    def freeze(self) -> None:
        self._stop_asking()
        for hold in self._holds:
            if hold.life is not None:
                hold.life.freeze()

    def thaw(self) -> None:
        for hold in self._holds:
            if hold.life is not None:
                hold.life.thaw()

    def held_by_queue(self) -> list[tuple[tuple[str, ...], float]]:
        """For the metrics: each queue, and how many of its agents are here."""
        held = Counter(queue_of(hold.ticket.queue) for hold in self._holds)
        return [((queue,), held[queue]) for queue in self._queues]

    @property
    def agents(self) -> list[str]:
        return [hold.ticket.agent for hold in self._holds]

    async def _empty(self, why: str, within_s: float, *, but: Hold | None = None) -> None:
        def others() -> list[Hold]:
            return [hold for hold in self._holds if hold is not but]

        told: set[Hold] = set()
        try:
            async with asyncio.timeout(within_s):
                while others():
                    for hold in others():
                        if hold.life is not None and hold not in told:
                            told.add(hold)
                            hold.hand_over(why)
                    await self._change()
        except TimeoutError:
            await asyncio.gather(*(hold.abandon(f"{why}; no checkpoint in {within_s:g} s") for hold in others()))
            while others():
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _say_changed(self) -> None:
        self._changed.set()
