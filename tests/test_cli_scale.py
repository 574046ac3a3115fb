"""`playbooksctl drain` and `scale-hint`, on real workers; what the probes and the leader say meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from playbooks_providers.testing import eventually

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import SOON_S, Cluster, on_redis, serving  # noqa: E402

pytestmark = pytest.mark.redis


def test_a_drained_worker_hands_over_ends_with_0_and_is_no_capacity(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        one = cluster.worker("one", "--concurrency", "7")
        await serving(one)
        await cluster.submit("a", 100000, pause=0.01)
        await cluster.begun("a", 1)
        two = cluster.worker("two", "--concurrency", "5")
        await serving(two)
        code, out, _ = await cluster.ctl("scale-hint")
        assert code == 0
        assert [line.split() for line in out.splitlines()] == [
            ["QUEUE", "READY", "RUNNING", "MAX", "CAPACITY", "HINT"],
            ["count", "0", "1", "-", "12", "0.08"],
        ]

        code, out, err = await cluster.ctl("drain", "one", "--wait", "--timeout", "20")
        assert (code, out, err) == (0, "worker one has drained\n", "")
        assert await asyncio.to_thread(one.process.wait) == 0
        assert one.events("worker draining") and one.events("agent handed over", agent="a")
        await eventually(lambda: cluster.effects("a")[-1][1] in two.executors(), SOON_S, "it to go on in the other")
        code, out, _ = await cluster.ctl("scale-hint", "--queue", "count", "--json")
        assert json.loads(out) == [
            {
                "queue": "count",
                "ready": 0,
                "running": 1,
                "max_agents": None,
                "runnable": 1,
                "capacity": 5,
                "hint": 0.2,
            }
        ]

    on_redis(test, tmp_path, redis_url)


def test_who_asks_for_an_unknown_worker_or_queue_is_told_what_there_is(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        assert await cluster.ctl("scale-hint") == (
            0,
            "",
            "no queues: nothing was submitted, and no worker is there; start one: playbooks-worker PROGRAM.py\n",
        )
        await cluster.submit("a", 1)
        code, out, _ = await cluster.ctl("scale-hint")
        assert code == 0 and out.splitlines()[1].split() == ["count", "1", "0", "-", "0", "no", "workers"]
        code, out, _ = await cluster.ctl("scale-hint", "--json")
        assert json.loads(out)[0]["hint"] is None
        code, _, err = await cluster.ctl("scale-hint", "--queue", "tea")
        assert (code, err) == (2, "error: there is no queue tea. playbooksctl scale-hint lists all\n")

        await serving(cluster.worker("worker-1"))
        code, out, err = await cluster.ctl("drain", "worker-2", "--json")
        assert code == 2 and "Did you mean worker-1?" in err
        assert json.loads(out)["error"]["type"] == "UnknownWorker"

    on_redis(test, tmp_path, redis_url)


def test_a_drain_that_takes_longer_than_one_waits_goes_on_and_says_so(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w")
        await serving(worker)
        await cluster.submit("a", 2, pause=60)
        await cluster.begun("a", 1)
        code, _, err = await cluster.ctl("drain", "w", "--wait", "--timeout", "0.5")
        assert code == 124
        assert err == "error: worker w still has 1 executor. It goes on draining: playbooksctl workers\n"
        assert (await cluster.home.coordination.loads())[0].capacity == 0
        await eventually(lambda: worker.events("worker draining"), SOON_S, "it to have heard")

    on_redis(test, tmp_path, redis_url)
