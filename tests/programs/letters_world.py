"""A random world of agents that write to each other, wait and obey, while their workers die between any two calls.

Each agent sends its letters, reads those of the others, and ends when it has them all. Workers are killed, or given up and
go on as zombies; people pause, cancel and let go on, and their commands die half way. Whatever happens: no letter is lost,
none comes twice, each sender's come in order, nobody waits while there is mail for it, and of two owners only one writes.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from corresponding import AGENTS, LETTERS, Broken, Died, Worker
from redis import asyncio as driver

from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.letters import Delivered, Ordered, Poke
from playbooks_providers.model import FINAL, Created, Lock, Minted, Order
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.testing import start_record


class World:
    def __init__(self, seed: int, homes: list[RedisHome], client: Any) -> None:
        self.random = random.Random(seed)
        self.names = iter(range(1, 1_000_000))
        self.client = client
        self.seen: Counter[str] = Counter()
        self.dead: list[SessionId] = []
        self.errands: dict[AgentId, Order] = {}
        self.paused: dict[AgentId, int] = {}
        self.obeyed: set[str] = set()
        self.last: dict[AgentId, str | None] = dict.fromkeys(AGENTS)
        self.ended: dict[AgentId, list[Any]] = {}
        self.workers = [Worker(self, home) for home in homes]

    async def live(self) -> None:
        coordination = self.workers[0].home.coordination
        for worker in self.workers:
            await worker.be_born()
        for agent in AGENTS:
            created = await coordination.create(start_record(agent))
            assert isinstance(created, Created) and created.ticket is not None
            await coordination.enqueue(created.ticket)
        for moment in range(6000):
            await self.moment(self.random.choice(self.workers), calm=moment >= 900)
            await self.look()
            if len(self.ended) == len(AGENTS):
                break
        for agent in AGENTS:
            view = await coordination.describe(agent)
            if view is None or view.status not in FINAL:
                raise Broken(f"{agent} never ended: {view}")
            for other in AGENTS:
                numbers = [number for sender, number in self.ended[agent] if sender == other]
                if other != agent and numbers != list(range(1, LETTERS + 1)):
                    raise Broken(f"{agent} read {numbers} of {other}")

    async def moment(self, worker: Worker, *, calm: bool) -> None:
        """One thing that one process does; unless calm, it may die in front of any of its calls to Redis."""
        if not calm and self.random.random() < 0.25:
            worker.fuse["left"] = self.random.randrange(5)
        try:
            await self.do(worker, self.random.random(), calm)
        except Died:
            await worker.die()
        worker.fuse["left"] = None

    async def do(self, worker: Worker, chance: float, calm: bool) -> None:
        if chance < 0.02 or calm:
            refused, _ = await worker.home.coordination.beat([worker.session])
            if refused:
                return await worker.die()  # a zombie that hears of it
        held = self.random.choice(sorted(worker.held)) if worker.held else None
        if chance < 0.05 and not calm:
            gone = self.random.choice(self.workers)  # it lives, but the others no longer believe it
            await worker.home.coordination.bury(gone.session, None)
            self.dead.append(gone.session)
        elif chance < 0.15:
            await worker.coordinate()
        elif chance < 0.20:
            await worker.want(calm=calm)
        elif held is None or (chance < 0.30 and len(worker.held) < 2):
            await worker.take()
        elif chance < 0.33 and not calm:
            answer = await worker.home.coordination.release(worker.held[held].lock, "drain")
            if isinstance(answer, Minted) and answer.due_ms is None:
                await worker.home.coordination.enqueue(answer.ticket)
            await worker.drop(worker.held[held])
        else:
            await worker.step(held)
        return None

    async def follow(self, worker: Worker, answer: Delivered | Ordered) -> None:
        if answer.ticket is not None:
            await worker.home.coordination.enqueue(answer.ticket)
        if answer.session is not None:
            await worker.home.coordination.poke(answer.session, Poke(AGENTS[0]))

    async def look(self) -> None:
        """Nobody waits while there is mail for it; values of the hash are small."""
        asked = self.client.pipeline()
        for agent in AGENTS:
            asked.hgetall(f"playbooks:{{{agent}}}:meta").xlen(f"playbooks:{{{agent}}}:inbox")
        answers = await asked.execute()
        for agent, meta, letters in zip(AGENTS, answers[::2], answers[1::2], strict=True):
            if meta.get(b"status") == b"waiting" and (letters or b"order" in meta):
                raise Broken(f"{agent} waits, and has mail or an order")
            assert all(len(part) <= 64 for pair in meta.items() for part in pair), meta

    async def is_owner(self, lock: Lock) -> bool:
        return bool(await self.client.hget(f"playbooks:{{{lock.agent}}}:meta", "fence") == str(lock.fence).encode())

    async def leftovers(self) -> None:
        """Nothing of what has ended stays but what the table of keys allows, and that not for ever."""
        home = self.workers[0].home
        for session in [*self.dead, *(worker.session for worker in self.workers)]:
            await home.coordination.bury(session, None)
            await home.coordination.recover(session)
        await home.coordination.fire_due(limit=1000)
        for key in await self.client.keys("*"):
            kind = home.keys.describe(key.decode())
            assert kind is not None and (await self.client.type(key)).decode() == kind.type, key
            assert kind.name not in ("checkpoints", "inbox"), f"{key} outlived its agent"
            if kind.name in ("meta", "state", "session", "pokes"):
                assert await self.client.pttl(key) > 0, f"{key} stays for ever"


async def run(url: str, seed: int) -> Counter[str]:
    homes = [connect(url) for _ in range(3)]
    client = driver.Redis.from_url(url, protocol=2)
    try:
        await client.flushall()
        world = World(seed, homes, client)
        await world.live()
        await world.leftovers()
        return world.seen
    finally:
        for home in homes:
            await home.close()
        await client.aclose()
