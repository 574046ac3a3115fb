"""`playbooksctl drain` and `scale-hint`, on real workers; what the probes and the leader say meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from playbooks_providers.testing import eventually

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import PROGRAM, SOON_S, Cluster, on_redis, serving  # noqa: E402

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
            ["QUEUE", "READY", "RUNNING", "MAX", "CAPACITY"],
            ["count", "0", "1", "-", "12"],
            [],
            ["GROUP", "RUNNABLE", "SLOTS", "HINT"],
            ["main", "1", "12", "0.08"],
            ["total", "1", "12", "0.08"],
        ]

        code, out, err = await cluster.ctl("drain", "one", "--wait", "--timeout", "20")
        assert (code, out, err) == (0, "worker one has drained\n", "")
        assert await asyncio.to_thread(one.process.wait) == 0
        assert one.events("worker draining") and one.events("agent handed over", agent="a")
        await eventually(lambda: cluster.effects("a")[-1][1] in two.executors(), SOON_S, "it to go on in the other")
        code, out, _ = await cluster.ctl("scale-hint", "--json")
        main = {"runnable": 1, "slots": 5, "hint": 0.2}
        assert json.loads(out) == {
            "queues": [
                {"queue": "count", "ready": 0, "running": 1, "max_agents": None, "runnable": 1, "capacity": 5},
            ],
            "groups": {"main": main},
            "total": main,
        }

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
        assert code == 0 and out.splitlines()[1].split() == ["count", "1", "0", "-", "0"]
        assert out.splitlines()[-1].split() == ["total", "1", "0", "no", "workers"]
        code, out, _ = await cluster.ctl("scale-hint", "--json")
        assert json.loads(out)["total"]["hint"] is None
        assert (await cluster.ctl("terminate", "a"))[0] == 0  # and nobody serves its queue
        code, out, _ = await cluster.ctl("scale-hint")
        assert [line.split() for line in out.splitlines()[1:]][0] == ["count", "0", "0", "-", "0"]
        code, _, err = await cluster.ctl("scale-hint", "--group", "tea")
        assert (code, err) == (2, "error: there is no live worker of group tea. playbooksctl scale-hint lists all\n")

        await serving(cluster.worker("worker-1"))
        code, out, err = await cluster.ctl("drain", "worker-2", "--json")
        assert code == 2 and "Did you mean worker-1?" in err
        assert json.loads(out)["error"]["type"] == "UnknownWorker"

    on_redis(test, tmp_path, redis_url)


def test_workers_of_several_programs_have_their_slots_once_and_each_group_its_own_hint(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        for name in ("tea", "coffee", "heavy"):
            (cluster.folder / f"{name}.py").write_text(PROGRAM)
        one = cluster.worker("one", "tea.py", "coffee.py", "--concurrency", "4")
        two = cluster.worker("two", "--concurrency", "2", "--group", "heavy", program="heavy.py")
        for worker in (one, two):
            await serving(worker)
        for number, name in enumerate(["count", "count", "tea", "tea", "coffee", "coffee", "heavy"]):
            await cluster.submit(f"a{number}", 100000, program=name)
        code, out, _ = await cluster.ctl("scale-hint")
        assert code == 0
        assert [line.split() for line in out.splitlines()[6:]] == [
            ["GROUP", "RUNNABLE", "SLOTS", "HINT"],
            ["heavy", "1", "2", "0.50"],
            ["main", "6", "4", "1.50"],
            ["total", "7", "6", "1.17"],
        ]
        code, out, _ = await cluster.ctl("scale-hint", "--group", "main", "--json")
        assert json.loads(out) == {"runnable": 6, "slots": 4, "hint": 1.5}
        code, out, _ = await cluster.ctl("scale-hint", "--group", "heavy")
        assert [line.split() for line in out.splitlines()[1:]] == [["heavy", "1", "2", "0.50"]]

        assert (await cluster.ctl("drain", "one"))[0] == 0
        code, out, _ = await cluster.ctl("scale-hint", "--json")
        told = json.loads(out)
        assert told["groups"].keys() == {"heavy"} and told["total"]["slots"] == 2

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
        assert (await cluster.home.coordination.load()).queues[0].capacity == 0
        await eventually(lambda: worker.events("worker draining"), SOON_S, "it to have heard")

    on_redis(test, tmp_path, redis_url)
