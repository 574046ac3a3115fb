"""Priorities and limits: who is taken first when agents wait, and how many of one queue at once; on real workers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from playbooks_providers.errors import ConfigError
from playbooks_providers.lanes import Priority, in_turn, lane, lanes_of, priority_of, queue_name, queue_of
from playbooks_providers.model import Status
from playbooks_providers.testing import eventually

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import SOON_S, Cluster, on_redis, serving  # noqa: E402

PARENTS = """
import asyncio
from playbooks_worker import playbook, spawn

@playbook
async def child():
    return 1

@playbook
async def main():
    return await (await spawn(child, agent_id="the-child"))
"""


def test_a_lane_names_its_queue_and_its_priority() -> None:
    for priority in Priority:
        there = lane("audit", priority)
        assert (queue_of(there), priority_of(there)) == ("audit", priority)
    assert lane("audit", Priority.NORMAL) == "audit"
    for bad in ("a!high", "a b", "", "{a}"):
        with pytest.raises(ConfigError, match="a name has no blanks"):
            queue_name(bad)


def test_priorities_come_before_turns_and_turns_are_fair_among_equals() -> None:
    lanes = lanes_of(["p", "q"])
    assert in_turn(lanes, 0) == ["p!high", "q!high", "p", "q", "p!low", "q!low"]
    firsts = [in_turn(lanes, turn)[0] for turn in range(len(lanes))]
    assert set(firsts) == {"p!high", "q!high"}
    assert {in_turn(["p", "q"], turn)[0] for turn in range(2)} == {"p", "q"}


@pytest.mark.redis
def test_agents_that_wait_are_taken_by_priority(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", "--concurrency", "1", "--queue", "q")
        await serving(worker)
        await cluster.submit("first", 100000, pause=0.02, queue="q")  # holds the only slot until it is terminated
        await cluster.begun("first", 1)
        for name, priority in (("l", Priority.LOW), ("n", Priority.NORMAL), ("h", Priority.HIGH)):
            await cluster.submit(name, 1, queue=lane("q", priority))
        args = json.dumps([1, str(cluster.log_of("h2")), 0.01])
        words = ("--queue", "q", "--agent-id", "h2", "--priority", "high", "--json")
        code, out, err = await cluster.ctl("submit", "count", "--args", args, *words)
        assert code == 0, err
        assert (json.loads(out)["queue"], json.loads(out)["priority"]) == ("q", "high")
        (load,) = (await cluster.home.coordination.load()).queues
        assert (load.queue, load.ready, load.running, load.capacity) == ("q", 4, 1, 1)
        code, out, _ = await cluster.ctl("show", "h")
        assert code == 0 and "high" in out
        assert (await cluster.ctl("terminate", "first"))[0] == 0
        for name in ("l", "n", "h", "h2"):
            await cluster.ended(name)
        assert [told["agent"] for told in worker.events("agent taken")] == ["first", "h", "h2", "n", "l"]

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_a_parent_gives_its_slot_to_the_child_it_waits_for_which_is_as_urgent(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "parents.py").write_text(PARENTS)
        one_slot = ("--concurrency", "1", "--queue", "q")
        worker = cluster.worker("w", *one_slot, program="parents.py", PLAYBOOKS_WORKER__PARK_AFTER_S="0.1")
        await serving(worker)
        words = ("--queue", "q", "--agent-id", "up", "--priority", "low")
        code, _, err = await cluster.ctl("submit", "parents", *words)
        assert code == 0, err
        await cluster.ended("up")
        assert [told["agent"] for told in worker.events("agent taken")] == ["up", "the-child", "up"]
        assert (await cluster.ended("the-child")).start.queue == lane("q", Priority.LOW)

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_of_a_limited_queue_no_more_are_held_and_others_go_on(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        limits = ("--limit", "few=2", "--limit", "fwe=3")
        worker = cluster.worker("w", "--queue", "few", "--queue", "many", *limits, "--concurrency", "9")
        await serving(worker)
        (told,) = worker.events("limits of queues that are not read here")
        assert (told["limits"], told["queues"]) == (["fwe"], ["few", "many"])
        for number in range(4):
            await cluster.submit(f"few-{number}", 2, pause=0.5, queue="few")
        for number in range(6):
            await cluster.submit(f"many-{number}", 2, pause=0.01, queue="many")
        load = await cluster.home.coordination.load()
        assert {one.queue: one.capacity for one in load.queues} == {"few": 2, "many": 9}
        assert load.total.slots == 9
        for number in range(6):
            await cluster.ended(f"many-{number}")
        statuses = [(await cluster.view(f"few-{number}")).status for number in range(4)]
        assert statuses.count(Status.READY) == 2, "the others of `many` have ended while two of `few` still wait"
        for number in range(4):
            await cluster.ended(f"few-{number}")
        held: set[str] = set()
        both = sorted(
            worker.events("agent taken") + worker.events("agent completed"), key=lambda told: told["timestamp"]
        )
        for told in both:
            if told["agent"].startswith("few"):
                (held.add if told["event"] == "agent taken" else held.discard)(told["agent"])
                assert len(held) <= 2

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_a_queue_or_limit_that_makes_no_sense_is_refused(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        for flags, words in (
            (("--limit", "few"), "error: --limit few: use QUEUE=N, with N at least 1\n"),
            (
                ("--queue", "q!high", "--check-config"),
                "error: queue 'q!high': a name has no blanks and none of ! { }\n",
            ),
            (("--queue", "q!high"), "error: queue 'q!high': a name has no blanks and none of ! { }\n"),
        ):
            worker = cluster.worker("".join(flags).replace("!", ""), *flags)
            await eventually(lambda: worker.process.poll() is not None, SOON_S, "it to end")
            assert worker.process.returncode == 2 and worker.log.read_text() == words

    on_redis(test, tmp_path, redis_url)
