"""Agents that talk, in two workers of real processes that are killed at random, and whose coordinator is, too.

``python tests/test_talk_processes.py SEED [AGENTS [KILLS]]`` runs a bigger one (200 agents, 40 kills) and tells what it did.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from playbooks_providers.envelope import read_header
from playbooks_providers.ids import AgentId
from playbooks_providers.model import FINAL, Created, StartRecord, Status
from playbooks_providers.testing import eventually, redis_server

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))
import crowd  # noqa: E402
from daemons import Cluster, Daemon, is_alive, on_redis, parent_of, serving  # noqa: E402

pytestmark = [pytest.mark.redis, pytest.mark.slow]

GUESTS = 9  # of each host
MESSAGES = 4
PATIENCE_S = 120.0


async def talking(cluster: Cluster, *, hosts: int, kills: int, seed: int) -> Counter[str]:
    """So many hosts and their guests, from the first to the last, while processes are killed. Answers what was killed."""
    chance, killed = random.Random(seed), Counter[str]()
    shutil.copy(PROGRAMS / "crowd.py", cluster.folder)
    workers = {name: _worker(cluster, name) for name in ("one", "two")}
    coordinator = cluster.coordinator()
    for worker in workers.values():
        await serving(worker, 2)
    names = [AgentId(f"host-{number}") for number in range(hosts)]
    for name in names:
        start = StartRecord(name, "crowd", "host", [GUESTS, MESSAGES, 0.15], {}, "crowd", 0)
        made = await cluster.home.coordination.create(start)
        assert isinstance(made, Created) and made.ticket is not None
        await cluster.home.coordination.enqueue(made.ticket)
    for number in range(kills):
        # each after some more checkpoints of somebody, so that kills fall between steps of the conversations
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        what = chance.choices(["executor", "worker", "coordinator"], [6, 2, 1])[0]
        killed[what] += 1
        name = chance.choice(sorted(workers))
        if what == "executor":
            living = _executors(workers[name])
            if living:
                os.kill(chance.choice(living), signal.SIGKILL)
        elif what == "worker":
            for pid in (workers[name].pid, *_executors(workers[name])):
                os.kill(pid, signal.SIGKILL)
            workers[name].process.wait()
            workers[name] = _worker(cluster, name, f"-{number}")
        else:
            coordinator.kill()
            coordinator.process.wait()
            coordinator = cluster.coordinator(f"coordinator-{number}")
    for name in names:
        assert await ended(cluster, name) is Status.COMPLETED, name
        view = await cluster.view(name)
        assert view.header is not None
        assert crowd.wrong(read_header(view.header).result, name, GUESTS, MESSAGES) == []
    agents = await cluster.home.coordination.agents()
    assert sorted(agents) == sorted([*names, *(f"{name}-guest-{n}" for name in names for n in range(GUESTS))])
    for agent in agents:
        assert await ended(cluster, agent) is Status.COMPLETED, agent
    return killed


def _worker(cluster: Cluster, name: str, again: str = "") -> Daemon:
    settings = {"PLAYBOOKS_WORKER__PARK_AFTER_S": "0.1", "PLAYBOOKS_WORKER__INBOX_LIMIT": "20"}
    return cluster.worker(name + again, "--processes", "2", program="crowd.py", **settings)


def _executors(worker: Daemon) -> list[int]:
    return [pid for pid in set(worker.executors()) if is_alive(pid) and parent_of(pid) == worker.pid]


async def ended(cluster: Cluster, agent: str) -> Status:
    async def is_so() -> Status | None:
        status = (await cluster.view(agent)).status
        return status if status in FINAL or status is Status.QUARANTINED else None

    return await eventually(is_so, PATIENCE_S, f"{agent} to end") or Status.FAILED


def test_conversations_under_kills_of_executors_workers_and_the_coordinator_are_complete_and_in_order(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        await talking(cluster, hosts=3, kills=8, seed=4)

    on_redis(test, tmp_path, redis_url)


@pytest.mark.parametrize(
    "damage",
    [
        lambda result: result["told"][3]["heard"].popitem(),
        lambda result: result["heard"]["h-guest-1"].append(0),
        lambda result: result["heard"]["h-guest-2"].reverse(),
        lambda result: result["told"].reverse(),
        lambda result: result["heard"].pop("h-guest-0"),
    ],
    ids=["nobody heard", "twice", "out of order", "joined wrongly", "lost"],
)
def test_what_is_wrong_with_a_conversation_is_found(damage) -> None:  # type: ignore[no-untyped-def]
    names = [f"h-guest-{number}" for number in range(GUESTS)]
    turns = range(MESSAGES)
    result = {
        "heard": {name: list(turns) for name in names},
        "told": [
            {
                "number": number,
                "answer": ["yes", number],
                "heard": {names[(number - far) % GUESTS]: list(turns) for far in (1, 2)},
            }
            for number in range(GUESTS)
        ],
    }
    assert crowd.wrong(result, "h", GUESTS, MESSAGES) == []
    damage(result)
    assert crowd.wrong(result, "h", GUESTS, MESSAGES)


def main(seed: int, agents: int = 200, kills: int = 40) -> None:
    """The bigger one."""
    began, hosts = time.monotonic(), -(-agents // (GUESTS + 1))

    async def test(cluster: Cluster) -> None:
        killed = await talking(cluster, hosts=hosts, kills=kills, seed=seed)
        took_s = time.monotonic() - began
        said = ", ".join(f"{count} of {what}" for what, count in sorted(killed.items()))
        letters = hosts * (GUESTS * (3 * MESSAGES + 3))
        print(f"seed {seed}: {hosts * (GUESTS + 1)} agents, {letters} letters; killed {said}")
        print(f"all complete and in order after {took_s:.0f} s")

    with tempfile.TemporaryDirectory() as folder, redis_server() as server:
        on_redis(test, Path(folder), server.url)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
