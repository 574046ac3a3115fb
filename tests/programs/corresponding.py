"""A worker in a random world of agents that write to each other: what the owner of such an agent does, one call at a time.

The agent's whole state is one JSON checkpoint: how far it has read, what it has got, what it still has to send. Used by
letters_world.py, which says who does something next, and looks whether it may.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId
from playbooks_providers.letters import Delivered, Full, Letter, Ordered, Unread
from playbooks_providers.model import (
    Choice,
    Entry,
    Gone,
    Lock,
    Lost,
    Minted,
    Order,
    OrderKind,
    SessionInfo,
    Status,
    Taken,
    Ticket,
    Unwanted,
)
from playbooks_providers.redis import RedisHome

if TYPE_CHECKING:
    from letters_world import World

AGENTS = [AgentId(f"agent-{number}") for number in range(3)]
LETTERS = 4  # from each to each other
ROOM = 3  # letters in an inbox
LARGE = "x" * 70_000  # the first agent's state is not folded


class Broken(AssertionError):
    """Something that was promised did not hold."""


class Died(Exception):
    """A process ended here."""


def fused(home: RedisHome) -> dict[str, int | None]:
    """How many more calls to Redis this home may make before its process dies (None: any number)."""
    fuse: dict[str, int | None] = {"left": None}

    def burning(call: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def burn(*args: Any, **kwargs: Any) -> Any:
            if fuse["left"] is not None:
                if fuse["left"] == 0:
                    raise Died
                fuse["left"] -= 1
            return await call(*args, **kwargs)

        return burn

    for name in ("run", "run_many", "command", "quick", "quick_command"):
        setattr(home.server, name, burning(getattr(home.server, name)))
    return fuse


@dataclass
class Held:
    """What an owner has in its hands: its lock, the state that is durable, and what was accepted since."""

    ticket: Ticket
    lock: Lock
    state: dict[str, Any]
    accepted: list[list[Any]] = field(default_factory=list)


class Worker:
    def __init__(self, world: World, home: RedisHome) -> None:
        self.world = world
        self.home = home
        self.fuse = fused(home)
        self.session = SessionId("none")
        self.unopened: list[Ticket] = []
        self.held: dict[AgentId, Held] = {}

    async def be_born(self) -> None:
        self.session = SessionId(f"s{next(self.world.names)}")
        await self.home.coordination.register(SessionInfo(self.session, "w", "h", 1, "b", 1))

    async def die(self) -> None:
        dead, self.held, self.unopened, self.fuse["left"] = self.session, {}, [], None
        self.world.seen["deaths"] += 1
        self.world.dead.append(dead)
        await self.be_born()

    async def take(self) -> None:
        if not self.unopened:
            self.unopened += await self.home.coordination.read(self.session, ["q"], limit=1, wait_s=0)
            return
        ticket = self.unopened.pop()
        taken = await self.home.coordination.take(ticket, self.session, Nonce(f"n{next(self.world.names)}"))
        if not isinstance(taken, Taken):
            return await self.home.coordination.acknowledge(self.session, ticket)
        lock, newest = taken.lock, await self.home.checkpoints.load(ticket.agent)
        id = None if newest is None else str(newest.id)
        if id != self.world.last[lock.agent] and await self.world.is_owner(lock):
            raise Broken(f"{lock.agent} goes on from {id}, and was last at {self.world.last[lock.agent]}")
        state = {"id": None, "step": 0, "cursor": 0, "got": [], "sent": {}, "outbox": [], "cancelled": []}
        self.held[lock.agent] = Held(ticket, lock, json.loads(newest.payload) if newest is not None else state)

    async def save(self, held: Held, **changes: Any) -> bool:
        """The next checkpoint; False when the agent is another's by now."""
        agent = held.lock.agent
        left = [letter for letter in held.state["outbox"] if letter not in held.accepted]
        id = CheckpointId(held.lock.fence, held.state["step"] + 1)
        state = {**held.state, "outbox": left, "step": id.seq, "id": str(id), **changes}
        state["pad"] = LARGE if agent == AGENTS[0] else ""
        entry = Entry(id, b"header", json.dumps(state).encode())
        if isinstance(await self.home.checkpoints.save(held.lock, entry, oldest=id), Lost):
            self.world.seen["refused"] += 1
            await self.drop(held)
            return False
        if held.state["id"] != self.world.last[agent]:
            raise Broken(f"{agent}: {id} follows {held.state['id']}, and not {self.world.last[agent]}")
        self.world.last[agent] = str(id)
        held.state, held.accepted = state, []
        return True

    async def drop(self, held: Held) -> None:
        self.held.pop(held.lock.agent, None)
        await self.home.coordination.acknowledge(self.session, held.ticket)

    # --- what an owner does -------------------------------------------------------------------------------------------
    async def step(self, agent: AgentId) -> None:
        held, chance = self.held[agent], self.world.random.random()
        waiting = [letter for letter in held.state["outbox"] if letter not in held.accepted]
        others = [other for other in AGENTS if other != agent and held.state["sent"].get(other, 0) < LETTERS]
        order = held.lock.order if chance < 0.5 else await self.home.coordination.wanted(agent)
        if order is not None and order.id not in self.world.obeyed:
            return await self.obey(held, order)
        if waiting and chance < 0.6:
            return await self.deliver(held, *waiting[0])
        if others and chance < 0.35:
            other = self.world.random.choice(others)
            number = held.state["sent"].get(other, 0) + 1
            sent = {**held.state["sent"], other: number}
            await self.save(held, sent=sent, outbox=[*waiting, [other, number]])
            return None
        if not held.state["outbox"] and chance > 0.45:
            return await self.leave(held, all_sent=not others)
        return await self.pull(held)

    async def deliver(self, held: Held, receiver: str, number: int) -> None:
        letter = Letter(held.lock.agent, held.lock.birth, number, f"{number}".encode())
        answer = await self.home.coordination.deliver(AgentId(receiver), letter, limit=ROOM)
        if isinstance(answer, Full):
            self.world.seen["full"] += 1
            return
        if not isinstance(answer, Delivered):
            raise Broken(f"{held.lock.agent} to {receiver}, number {number}: {answer}")
        self.world.seen["fresh" if answer.fresh else "again"] += 1
        await self.world.follow(self, answer)
        held.accepted.append([receiver, number])

    async def pull(self, held: Held) -> None:
        agent, cursor = held.lock.agent, held.state["cursor"]
        mail = await self.home.coordination.mail(agent, cursor, limit=2)
        if not mail and held.state["id"] is not None and not held.accepted:
            return
        got = [*held.state["got"], *([one.sender, one.number] for one in mail)]
        cursor = mail[-1].place if mail else cursor
        if await self.save(held, got=got, cursor=cursor):
            await self.home.coordination.forget_mail(held.lock, cursor)

    async def leave(self, held: Held, *, all_sent: bool) -> None:
        coordination, agent = self.home.coordination, held.lock.agent
        if held.state["id"] is None:
            return
        at = CheckpointId.parse(held.state["id"])
        if all_sent and len(held.state["got"]) == LETTERS * (len(AGENTS) - 1):
            final = Entry(CheckpointId(held.lock.fence, at.seq + 1), b"result", b"")
            answer: object = await coordination.finish(held.lock, Status.COMPLETED, final)
            if not isinstance(answer, Gone):
                self.world.ended[agent] = held.state["got"]
        else:
            now_s, us = await self.world.client.time()
            soon_ms = now_s * 1000 + us // 1000 + 5
            wake_ms = self.world.random.choice([None, None, soon_ms]) if all_sent else soon_ms
            keep = self.world.random.random() < 0.2
            answer = await coordination.park(held.lock, at, held.state["cursor"], wake_ms, keep=keep)
            self.world.seen[type(answer).__name__] += 1
        if not isinstance(answer, Unread):
            await self.drop(held)

    async def obey(self, held: Held, order: Order) -> None:
        if order.kind is OrderKind.PAUSE:
            if isinstance(await self.home.coordination.stop(held.lock, Status.PAUSED, order.why), Unwanted):
                self.world.seen["unwanted"] += 1
                minted = await self.home.coordination.release(held.lock, "not paused")
                if isinstance(minted, Minted):
                    await self.home.coordination.enqueue(minted.ticket)
            return await self.drop(held)
        if order.id in held.state["cancelled"] or await self.save(held, cancelled=[*held.state["cancelled"], order.id]):
            await self.home.coordination.obeyed(held.lock, order)
            if await self.world.is_owner(held.lock):
                self.world.obeyed.add(order.id)
        return None

    # --- what people and coordinators do ------------------------------------------------------------------------------
    async def want(self, *, calm: bool) -> None:
        """A person orders something, and says it again when the command has died; what is paused goes on some day."""
        world, coordination = self.world, self.home.coordination
        if not calm and world.random.random() < 0.5:
            kind = world.random.choice(list(OrderKind))
            # one after the other: what a command that died has left half done, only its repetition mends so soon
            world.errands.setdefault(world.random.choice(AGENTS), Order(f"o{next(world.names)}", kind))
        for agent, order in list(world.errands.items()):
            answer = await coordination.order(agent, order)
            if isinstance(answer, Ordered):
                world.seen[f"{order.kind} of {answer.status}"] += 1
                await world.follow(self, answer)
            del world.errands[agent]
        for agent in AGENTS:
            view = await coordination.describe(agent)
            if view is not None and view.status is Status.PAUSED:
                if view.order is not None:
                    raise Broken(f"{agent} is paused, and {view.order} stands")
                world.paused[agent] = view.fence
            if agent in world.paused:
                answer = await coordination.retry(agent, world.paused[agent], Choice.RESUME)
                if isinstance(answer, Minted) and answer.due_ms is None:
                    await coordination.enqueue(answer.ticket)
                del world.paused[agent]

    async def coordinate(self) -> None:
        coordination = self.home.coordination
        for session in [*self.world.dead, *await coordination.ownerless()]:
            await coordination.bury(session, None)
            await coordination.recover(session)
            if session in self.world.dead:
                self.world.dead.remove(session)  # what its zombie still does, it does as one without an owner
        await coordination.fire_due(limit=10)
