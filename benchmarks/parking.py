"""What an agent costs that only waits, and what waking one costs: parked through the provider, on a server of its own.

Bytes: the server's ``used_memory`` before and after, for each agent, without the agent's own state (its start record, and
its checkpoint: id, header and payload). Waking: a letter that finds its receiver parked, and a timer that fires; processor
time of the server in the scripts, by its own count, and the whole way from the letter to a lock in another session's hands.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import Any

from redis import asyncio as driver

from benchmarks.figures import Figure, quantile
from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce
from playbooks_providers.letters import Delivered, Letter, Parked
from playbooks_providers.model import Created, Taken
from playbooks_providers.redis import RedisHome, connect, state
from playbooks_providers.testing import entry, start_record

PAYLOAD_BYTES = 256
FAR_MS = 4_000_000_000_000
AT_ONCE = 25
SENDERS = 8  # who have written to one agent: the first of them alone pays for what the allocator rounds up
SESSION, HEIR = SessionId("s" * 16), SessionId("h" * 16)


async def measure(url: str, *, agents: int) -> list[Figure]:
    home = connect(url)
    client: Any = driver.Redis.from_url(url, protocol=2)
    try:
        bytes_each = {}
        for what, wake_ms, letters in (
            ("first", None, 0),
            ("for mail", None, 0),
            ("timer", FAR_MS, 0),
            ("sender", None, SENDERS),
        ):
            await client.flushall()
            before = (await client.info("memory"))["used_memory"]
            await _each(agents, lambda number, w=wake_ms, n=letters: _park(home, _name(number), w, n))
            after = (await client.info("memory"))["used_memory"]
            bytes_each[what] = (after - before) / agents - await _own(home, client)
        return [*_bytes(bytes_each, agents), *await _waking(home, client, agents)]
    finally:
        await client.aclose()
        await home.close()


def _bytes(each: dict[str, float], agents: int) -> list[Figure]:
    note = f"{agents:,} agents"
    return [
        Figure("a parked agent, beyond its own state", "B", 600, [each["for mail"]], note=note),
        Figure("a parked agent with a timer, beyond its own state", "B", 760, [each["timer"]], note=note),
        Figure(
            "what a parked agent keeps of each sender it knows",
            "B",
            160,
            [(each["sender"] - each["for mail"]) / SENDERS],
            note=note,
        ),
    ]


async def _waking(home: RedisHome, client: Any, agents: int) -> list[Figure]:
    await client.flushall()
    await _each(agents, lambda number: _park(home, _name(number), None, 0))
    await client.config_resetstat()
    half = agents // 2
    await _each(half, lambda number: _deliver(home, _name(number), 1))
    wake_us = await _scripts_us(client) / half
    whole: list[float] = []
    for number in range(half, half + 200):  # who are parked among all others
        name = _name(number)
        began = time.perf_counter()
        answer = await _deliver(home, name, 1)
        assert answer.ticket is not None
        await home.coordination.enqueue(answer.ticket)
        (ticket,) = await home.coordination.read(HEIR, ["q"], limit=1, wait_s=5)
        assert isinstance(await home.coordination.take(ticket, HEIR, new_nonce()), Taken)
        assert await home.checkpoints.load(name) is not None
        whole.append((time.perf_counter() - began) * 1e3)
        await home.coordination.acknowledge(HEIR, ticket)
    return [
        Figure("a letter that wakes a parked agent, the server's time", "µs", 100, [wake_us], note=f"{half:,} agents"),
        Figure(
            "a letter to a parked agent → its state in another session's hands, p50", "ms", 10, whole,
            note=f"{half:,} others parked",
        ),
        Figure(
            "a letter to a parked agent → its state in another session's hands, p99", "ms", 30, whole, share=0.99,
            note=f"p95 {quantile(whole, 0.95):.1f} ms",
        ),
    ]  # fmt: skip


async def _park(home: RedisHome, agent: AgentId, wake_ms: int | None, letters: int) -> None:
    created = await home.coordination.create(start_record(agent))
    assert isinstance(created, Created) and created.ticket is not None
    taken = await home.coordination.take(created.ticket, SESSION, new_nonce())
    assert isinstance(taken, Taken)
    for number in range(1, letters + 1):
        await _deliver(home, agent, number)
    one = entry(taken.lock, 1, os.urandom(PAYLOAD_BYTES))
    await home.checkpoints.save(taken.lock, one, oldest=CheckpointId(0, 0))
    assert await home.coordination.park(taken.lock, one.id, letters, wake_ms) == Parked()


async def _deliver(home: RedisHome, agent: AgentId, sender: int) -> Delivered:
    letter = Letter(f"buyer-{sender:010d}", 1_700_000_000_000, 1, b"x" * 100)
    answer = await home.coordination.deliver(agent, letter, limit=1000)
    assert isinstance(answer, Delivered)
    return answer


async def _own(home: RedisHome, client: Any) -> float:
    """The bytes of an agent's own state: the values in its string, without their names."""
    texts = [await client.get(home.keys.agent(_name(number)).state) for number in range(10)]
    return statistics.mean(sum(len(value) for _, value in state.parse(text)) for text in texts)


async def _scripts_us(client: Any) -> int:
    stats = await client.info("commandstats")
    return sum(stats[name]["usec"] for name in ("cmdstat_eval", "cmdstat_evalsha") if name in stats)


async def _each(count: int, act: Any) -> None:
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(act(number) for number in range(first, min(first + AT_ONCE, count))))


def _name(number: int) -> AgentId:
    return AgentId(f"seller-{number:010d}")
