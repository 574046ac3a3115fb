"""What people want of agents, and who asks people, in memory: a part of `contracts.Coordination`, one step each."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Ordered, Unread
from playbooks_providers.lifecycle import Step, after
from playbooks_providers.memory.store import AgentRecord, MemoryStore
from playbooks_providers.model import FINAL, Done, Gone, Lock, Order, OrderKind, Status


class MemoryOrders:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def order(self, agent: AgentId, order: Order) -> Ordered | Gone:
        self._store.require()
        record = self._store.agents.get(agent)
        if record is None or record.status in FINAL:
            return Gone(agent)
        if record.obeyed == order.id:
            return _ordered(record)
        if order.kind is OrderKind.TERMINATE:
            if record.order is not None and record.order.id == order.id:
                return _ordered(record)
            session = record.session
            self._retract(record)
            ready = after(record.status, Step.ORDER_TERMINATE)
            assert ready is not None
            self._store.mint(record, ready)
            record.attempts, record.why, record.order = 0, "", order
            return Ordered(ready, record.ticket, session)
        if record.order is not None and record.order.kind is OrderKind.TERMINATE:
            return Gone(agent)
        if order.kind is OrderKind.CANCEL:
            record.order = order
            ready = after(record.status, Step.ORDER_CANCEL)
            if ready is not None:
                self._store.mint(record, ready)
                record.attempts, record.why = 0, ""
            return _ordered(record)
        if record.order is not None and record.order.kind is OrderKind.CANCEL:
            return Gone(agent)
        paused = after(record.status, Step.ORDER_PAUSE)
        if paused is not None:
            self._retract(record)
            self._store.mint(record, paused)
            record.why, record.order, record.obeyed = order.why, None, order.id
        elif record.status is Status.RUNNING:
            record.order = order
        elif record.status is not Status.PAUSED:
            return Gone(agent)
        return _ordered(record)

    async def wanted(self, agent: AgentId) -> Order | None:
        self._store.require()
        record = self._store.agents.get(agent)
        return None if record is None else record.order

    async def obeyed(self, lock: Lock, order: Order) -> None:
        self._store.require()
        record = self._store.agents.get(lock.agent)
        if (
            record is not None
            and record.fence == lock.fence
            and record.order is not None
            and record.order.id == order.id
        ):
            record.order, record.obeyed = None, order.id

    async def withdraw(self, agent: AgentId, order: Order) -> Done | Gone:
        self._store.require()
        record = self._store.agents.get(agent)
        if record is None or record.status in FINAL:
            return Gone(agent)
        if record.order is not None and record.order.id == order.id:
            record.order, record.obeyed = None, order.id
            return Done()
        return Done() if record.obeyed == order.id and record.status is not Status.PAUSED else Gone(agent)

    async def asks(self, lock: Lock, asking: bool) -> None:
        self._store.require()
        if self._store.asking.get(lock.agent, 0) <= lock.fence:
            if asking:
                self._store.asking[lock.agent] = lock.fence
            else:
                self._store.asking.pop(lock.agent, None)

    async def asking(self) -> Sequence[AgentId]:
        self._store.require()
        return list(self._store.asking)

    async def terminate(self, agent: AgentId, why: str, *, read: int | None = None) -> Done | Unread | Gone:
        self._store.require()
        record = self._store.agents.get(agent)
        if record is None:
            return Gone(agent)
        cancelled = after(record.status, Step.TERMINATE)
        if cancelled is None:
            return Done() if record.status is Status.CANCELLED else Gone(agent)
        if record.unread(read):
            return Unread(agent)
        self._retract(record)
        self._store.mint(record, cancelled)
        record.why, record.order, record.final, record.attempts = why, None, None, 0
        record.entries.clear()
        record.inbox.clear()
        return Done()

    async def delete(self, agent: AgentId) -> Done | Gone:
        self._store.require()
        record = self._store.agents.pop(agent, None)
        if record is not None:
            self._retract(record)
            self._store.deleted[agent] = record.fence
        return Done() if agent in self._store.deleted else Gone(agent)

    def _retract(self, record: AgentRecord) -> None:
        """Its ticket is about to open nothing any more."""
        ticket, waiting = record.ticket, self._store.queues.get(record.start.queue, [])
        waiting[:] = [one for one in waiting if (one.agent, one.fence) != (ticket.agent, ticket.fence)]


def _ordered(record: AgentRecord) -> Ordered:
    ticket = record.ticket if record.status is Status.READY else None
    return Ordered(record.status, ticket, record.session if record.status is Status.RUNNING else None)
