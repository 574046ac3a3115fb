"""What people and parents want of an agent while it lives here: pause it, cancel it (`contracts.Orders`).

Between `parking` and `life`. An order stands in the home until it is obeyed: a pause by setting the agent aside, a cancel
by the checkpoint in which it was raised, one with a deadline by the agent's end. So it survives every owner; whoever takes
the agent is told again, and an agent with a deadline is not parked (`contracts.Parking`).
"""

from __future__ import annotations

import asyncio

import structlog

from playbooks_providers.model import Order, OrderKind
from playbooks_worker.engine import Mailing
from playbooks_worker.host.giving import give
from playbooks_worker.host.outcome import HandedOver, LockLost, Paused
from playbooks_worker.host.parking import Parking
from playbooks_worker.host.patience import patiently

_SOON_S = 0.05
_log = structlog.get_logger()


class Obeying(Parking):
    """`look_for_orders` after a poke; `_obey` what the lock says."""

    _order: Order | None = None  # that was raised, or is being obeyed
    _reported = ""
    _asking: asyncio.Task[None] | None = None
    _asked_again = False
    _deadline: asyncio.TimerHandle | None = None
    _leaving: HandedOver | Paused | None = None

    def look_for_orders(self) -> None:
        """Somebody may want something of the agent."""
        self._asked_again = True
        if self.courier is not None and self._asking is None:
            self._asking = self.courier.begin(self._look_for_orders())

    def _something_came(self) -> None:
        super()._something_came()
        self.look_for_orders()

    async def _look_for_orders(self) -> None:
        assert self.courier is not None
        home, agent = self.courier.home, self.lock.agent
        order = None
        while self._asked_again:
            self._asked_again = False
            order = await patiently(lambda: home.wanted(agent), "look for orders")
        self._asking = None
        if order is not None:
            self._obey(order)

    def _obey(self, order: Order) -> None:
        if self._order is not None and self._order.id == order.id:
            return
        agent, courier = self._agent, self.courier
        if agent is None or courier is None or self._over is not None:
            return
        self._order = order
        self._tell(f"agent is to {order.kind}", order.why)
        if order.kind is OrderKind.TERMINATE:  # its lock is over: somebody else tells who waits for it
            courier.begin(self._lose(order.why))
            return
        if order.kind is OrderKind.PAUSE:
            self._leaving = self._leaving or Paused(order.why)
            agent.stop_at_checkpoint(f"paused: {order.why}")
            self._leave_if_idle()
            return
        if order.deadline_ms is not None:
            left_s = max(0.0, (order.deadline_ms - self._around.now_ms()) / 1000)
            self._deadline = asyncio.get_running_loop().call_later(left_s, self._out_of_time, order)
        agent.cancel(order.id, order.why, None if order.deadline_ms is None else order.deadline_ms / 1000)

    def _tell(self, event: str, reason: str) -> None:
        lock, newest = self.lock, self.newest
        told = {} if newest is None else {"checkpoint": str(newest.id)}
        _log.info(event, agent=lock.agent, session=lock.session, fence=lock.fence, **told, reason=reason)

    def _leave_if_idle(self) -> None:
        """One that waits has no checkpoint ahead, at which it could leave: it takes one now."""
        agent, courier = self._agent, self.courier
        if agent is None or courier is None or agent.dead:
            return
        if agent.is_idle():
            courier.begin(agent.settle())
        else:
            asyncio.get_running_loop().call_later(_SOON_S, self._leave_if_idle)

    # --- what follows ----------------------------------------------------------------------------------------------
    def _follow(self, mailing: Mailing) -> None:
        """A checkpoint with *mailing* is durable."""
        courier, order = self.courier, self._order
        if courier is None:
            return
        courier.follow(mailing)
        if order is None or order.deadline_ms is not None:
            return
        if mailing.order != self._reported and order.id == mailing.order:
            self._reported = mailing.order
            courier.begin(self._obeyed(order))

    async def _obeyed(self, order: Order) -> None:
        assert self.courier is not None
        home = self.courier.home
        await patiently(lambda: home.obeyed(self.lock, order), "report an order")

    def _out_of_time(self, order: Order) -> None:
        if self.courier is not None and self._over is None:
            self.courier.begin(self._terminate(order))

    async def _terminate(self, order: Order) -> None:
        courier = self.courier
        assert courier is not None
        why = f"{order.why}; it had not ended by the deadline"
        self._tell("agent is to terminate", why)
        await give(courier.home, self.lock.agent, Order(f"{order.id}:deadline", OrderKind.TERMINATE, why))
        await self._lose(why)

    async def _lose(self, why: str) -> None:
        self._over = self._over or LockLost(why)
        if self._agent is not None:
            await self._agent.stop(why)

    def no_more_parking(self) -> None:
        super().no_more_parking()
        if self._deadline is not None:
            self._deadline.cancel()
