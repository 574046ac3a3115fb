"""Awaits per second with `durability.wait = replica`, to those without: the same agents on the same primary, which a replica
follows in both.

DESIGN 8 has no target for it. An agent alone pays a round trip to the replica for each await; of fifty, those that are ready
together share one, so that a server that waits should still do half of what it does otherwise.
"""

from __future__ import annotations

from redis.asyncio import Redis

from benchmarks.figures import Figure
from benchmarks.rates import CROWD, executor
from playbooks_providers.redis import wait_for
from playbooks_providers.testing import eventually, redis_server
from playbooks_worker.host.programs import Program

_FAST = ("--repl-diskless-sync-delay", "0")


async def measure(program: Program, *, rounds: int, awaits: int) -> list[Figure]:
    """Interleaved: none and replica, one agent and fifty."""
    shares: dict[int, list[float]] = {1: [], CROWD: []}
    rates: dict[int, list[tuple[float, float]]] = {1: [], CROWD: []}
    with redis_server(*_FAST) as primary, redis_server(*_FAST) as replica:
        await _follow(replica.url, primary.port)
        async with (
            executor(primary.url, program, queue="none") as without,
            executor(primary.url, program, queue="replica", wait=wait_for("replica")) as waiting,
        ):
            for each in (without, waiting):
                await each.rate(CROWD, 20)
            for _ in range(rounds):
                for agents, times in ((1, awaits), (CROWD, awaits // 4)):
                    none, replicated = await without.rate(agents, times), await waiting.rate(agents, times)
                    shares[agents].append(replicated / none * 100)
                    rates[agents].append((replicated, none))
    return [
        Figure(
            f"{who}, `durability.wait = replica`, to none",
            "%",
            limit,
            shares[agents],
            at_most=False,
            note=f"{_middle([one for one, _ in rates[agents]]):,.0f} awaits/s",
            reference=f"none: {_middle([none for _, none in rates[agents]]):,.0f} awaits/s",
        )
        for who, agents, limit in (("one agent", 1, 10), ("50 agents on one executor", CROWD, 50))
    ]


async def _follow(url: str, port: int) -> None:
    client = Redis.from_url(url)
    try:
        await client.replicaof("127.0.0.1", port)

        async def linked() -> bool:
            return (await client.info("replication"))["master_link_status"] == "up"

        await eventually(linked, 30.0, "the replica to follow")
    finally:
        await client.aclose()


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
