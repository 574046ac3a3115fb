"""What people want of agents, and do to them, in Redis. The rules are in the scripts' headers.

A part of `contracts.Coordination`. Nothing here needs an owner or waits for one.
"""

from __future__ import annotations

import hashlib

from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.letters import Ordered, Unread
from playbooks_providers.model import Done, Gone, Lock, Order, Status, Ticket
from playbooks_providers.redis import state
from playbooks_providers.redis.agents import Agents
from playbooks_providers.redis.scripts import script

_TOMBSTONE_MS = 24 * 3600 * 1000


class Orders(Agents):
    async def order(self, agent: AgentId, order: Order) -> Ordered | Gone:
        keys = self._keys.agent(agent)
        answer = await self._server.run(
            script("order"),
            [keys.meta, keys.checkpoints, keys.state],
            [order.kind.value, _name(order), order.to_json(), order.why],
        )
        if answer[0] == b"gone":
            return Gone(agent)
        await self._settle(agent)
        status, fence, queue, session, timer, stale = answer
        await self._disarm(agent, timer)
        await self._retract(agent, stale, queue)
        return Ordered(
            Status(status.decode()),
            ticket=Ticket(agent, int(fence), queue.decode()) if fence else None,
            session=SessionId(session.decode()) if session else None,
        )

    async def wanted(self, agent: AgentId) -> Order | None:
        # An agent with an order is never folded, so this is small
        found = dict(state.parse(await self._server.command("GET", self._keys.agent(agent).state) or b""))
        return Order.from_json(found["order"]) if "order" in found else None

    async def obeyed(self, lock: Lock, order: Order) -> None:
        keys = self._keys.agent(lock.agent)
        await self._server.run(script("obeyed"), [keys.meta, keys.state], [lock.fence, _name(order)])
        await self._settle(lock.agent)

    async def withdraw(self, agent: AgentId, order: Order) -> Done | Gone:
        keys = self._keys.agent(agent)
        answer = await self._server.run(script("withdraw"), [keys.meta, keys.state], [_name(order)])
        await self._settle(agent)
        return Done() if answer == b"done" else Gone(agent)

    async def terminate(self, agent: AgentId, why: str, *, read: int | None = None) -> Done | Unread | Gone:
        return await self._end("terminate", agent, [why, round(self._retention_s * 1000), "" if read is None else read])

    async def delete(self, agent: AgentId) -> Done | Gone:
        answer = await self._end("delete", agent, [_TOMBSTONE_MS])
        assert not isinstance(answer, Unread)
        return answer

    async def _end(self, name: str, agent: AgentId, args: list[str | bytes | int]) -> Done | Unread | Gone:
        keys = self._keys.agent(agent)
        all_keys = [keys.meta, keys.checkpoints, keys.state, keys.inbox, keys.events]
        await self._asks_nobody(agent)
        answer = await self._server.run(script(name), all_keys, args)
        if answer[0] == b"gone":
            return Gone(agent)
        if answer[0] == b"unread":
            return Unread(agent)
        await self._settle(agent)
        _, timer, stale, queue = answer
        await self._disarm(agent, timer)
        await self._retract(agent, stale, queue)
        return Done()


def _name(order: Order) -> str:
    """Kind and id; an id that is too long for a value of the hash stands there hashed."""
    id = order.id.encode()
    return f"{order.kind.value}:{order.id if len(id) <= 40 else hashlib.sha256(id).hexdigest()[:40]}"
