"""The contract of orders, kept in files: `order.json` of an agent, of which its present owner is told, and its next one.

What needs no statement of the agent is done here, under its OS lock; everything else stands until an owner has obeyed.
Whoever changes an order holds the lock of the inbox, as everybody does who tells an agent something from outside.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from playbooks_providers.errors import AgentLocked
from playbooks_providers.filesystem.agents import FilesystemAgents
from playbooks_providers.filesystem.files import translated, write_durably
from playbooks_providers.filesystem.records import Left, Wanted
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.letters import Ordered
from playbooks_providers.lifecycle import Step, after
from playbooks_providers.model import FINAL, Choice, Done, Gone, Lock, Minted, Order, OrderKind, Status, Ticket


class FilesystemOrders:
    """`contracts.Orders` over a `FilesystemStore`, but for what `FilesystemAgents` does at once: terminate, delete."""

    def __init__(self, store: FilesystemStore, agents: FilesystemAgents) -> None:
        self._store = store
        self._agents = agents

    async def order(self, agent: AgentId, order: Order) -> Ordered | Gone:
        # In a thread: an fsync takes milliseconds.
        return await asyncio.to_thread(self._order, agent, order)

    async def wanted(self, agent: AgentId) -> Order | None:
        with translated(self._store.folder(agent)):
            return self._store.wanted(agent).order

    async def obeyed(self, lock: Lock, order: Order) -> None:
        await asyncio.to_thread(self._obeyed, lock, order)

    async def withdraw(self, agent: AgentId, order: Order) -> Done | Gone:
        return await asyncio.to_thread(self._withdrawn, agent, order)

    def _order(self, agent: AgentId, order: Order) -> Ordered | Gone:
        while True:
            stands = self._agents.standing(agent)
            if stands is None or stands.status in FINAL:
                return Gone(agent)
            with translated(self._store.folder(agent)):
                with self._store.inbox(agent).locked():
                    answer = self._written(agent, order)
                if answer is None:
                    done = self._pause if order.kind is OrderKind.PAUSE else self._make_ready
                    answer = done(agent, order)
            if answer is not None:
                return answer

    def _written(self, agent: AgentId, order: Order) -> Ordered | Gone | None:
        """The order stands, or cannot; None: it is to be done now. The inbox is locked."""
        status, wanted = self._status(agent), self._store.wanted(agent)
        if status in FINAL:
            return Gone(agent)
        if wanted.obeyed == order.id:
            return self._ordered(agent)
        standing = wanted.order.kind if wanted.order is not None else None
        if order.kind is OrderKind.TERMINATE:
            owner = self._store.owner(agent)
            if wanted.order is None or wanted.order.id != order.id:
                self._stands(agent, order, wanted)
                self._store.set_owner(agent, replace(owner, fence=owner.fence + 1, attempts=0))  # its owner is out
            session = SessionId(owner.session) if status is Status.RUNNING else None
            return replace(self._ordered(agent), session=session)
        if standing is OrderKind.TERMINATE:
            return Gone(agent)
        if order.kind is OrderKind.CANCEL:
            if wanted.order != order:
                self._stands(agent, order, wanted)
            return None if after(status, Step.ORDER_CANCEL) is not None else self._ordered(agent)
        if standing is OrderKind.CANCEL:
            return Gone(agent)
        if status is Status.RUNNING:
            self._stands(agent, order, wanted)
        elif after(status, Step.ORDER_PAUSE) is not None:
            return None
        elif status is not Status.PAUSED:
            return Gone(agent)
        return self._ordered(agent)

    def _stands(self, agent: AgentId, order: Order, wanted: Wanted) -> None:
        write_durably(self._store.order_path(agent), replace(wanted, order=order).to_json())

    def _make_ready(self, agent: AgentId, order: Order) -> Ordered | Gone | None:
        """One that was set aside, so that somebody cancels it. None: it is not what it was."""
        again = self._agents.ready_again(agent, self._store.owner(agent).fence, Choice.RESUME)
        return self._ordered(agent) if isinstance(again, Minted) else None

    def _pause(self, agent: AgentId, order: Order) -> Ordered | Gone | None:
        """One that nobody runs. None: somebody does, or it is not what it was."""
        try:
            taken = self._store.take(agent, "", expected=self._store.owner(agent).fence)
        except AgentLocked:
            return None
        if taken is None:
            return None
        owner, _ = taken
        try:
            with self._store.inbox(agent).locked():
                wanted = self._store.wanted(agent)
                other = wanted.order is not None and wanted.order.kind is not OrderKind.PAUSE
                if other or self._store.owner(agent).fence != owner.fence:
                    return None
                self._stands(agent, order, wanted)
            aside = self._agents.set_aside(agent, Left(Status.PAUSED, order.why, owner.fence))
        finally:
            self._store.let_go(agent, owner.fence)
        return self._ordered(agent) if isinstance(aside, Done) else None

    def _obeyed(self, lock: Lock, order: Order) -> None:
        with translated(self._store.folder(lock.agent)), self._store.inbox(lock.agent).locked():
            wanted = self._store.wanted(lock.agent).order
            owns = self._store.owns(lock.agent, lock.fence) is not None
            if owns and wanted is not None and wanted.id == order.id:
                write_durably(self._store.order_path(lock.agent), Wanted(None, order.id).to_json())

    def _withdrawn(self, agent: AgentId, order: Order) -> Done | Gone:
        if self._status(agent) in FINAL:
            return Gone(agent)
        with translated(self._store.folder(agent)), self._store.inbox(agent).locked():
            wanted = self._store.wanted(agent)
            paused = self._status(agent) is Status.PAUSED  # and whoever did so may have died before it noted that
            if wanted.order is not None and wanted.order.id == order.id and not paused:
                write_durably(self._store.order_path(agent), Wanted(None, order.id).to_json())
                return Done()
            return Done() if wanted.obeyed == order.id and not paused else Gone(agent)

    def _status(self, agent: AgentId) -> Status:
        stands = self._agents.standing(agent)
        return Status.CANCELLED if stands is None else stands.status

    def _ordered(self, agent: AgentId) -> Ordered:
        status, owner = self._status(agent), self._store.owner(agent)
        ticket = Ticket(agent, owner.fence, self._agents.queue(agent)) if status is Status.READY else None
        return Ordered(status, ticket, SessionId(owner.session) if status is Status.RUNNING else None)
