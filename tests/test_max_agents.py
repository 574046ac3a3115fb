"""How many agents of a queue run at once on all workers together: by processes that are killed, and as a person sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from playbooks_providers.loads import Offer, QueueLoad, system_load
from playbooks_providers.redis import connect
from playbooks_providers.testing import eventually
from playbooks_worker.cli.views import waits_for_room

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import SOON_S, Cluster, is_alive, on_redis, serving  # noqa: E402

PROGRAM = """
import asyncio, os, time
from playbooks_worker import playbook

def note(log, word):
    line = f"{time.monotonic()} {word} {os.getpid()}\\n"
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)

async def call(name, log):  # of something that bears so many calls at once, and no more
    note(log, f"begin {name}")
    await asyncio.sleep(0.05)
    note(log, f"end {name}")

@playbook
async def main(name, log):
    for _ in range(3):
        await call(name, log)
"""


def most_at_once(log: Path, deaths: Mapping[int, float]) -> int:
    """Of the calls that were made: how many ran at the same time. One that did not end ran until its process was killed."""
    open_calls: dict[tuple[str, int], float] = {}
    events: list[tuple[float, int]] = []
    for line in log.read_text().splitlines():
        at, word, name, pid = line.split()
        if word == "begin":
            open_calls[name, int(pid)] = float(at)
            events.append((float(at), 1))
        elif open_calls.pop((name, int(pid)), None) is not None:
            events.append((float(at), -1))
    for (_, pid), began in open_calls.items():
        events.append((max(began, deaths[pid]), -1))
    running = most = 0
    for _, change in sorted(events):
        running += change
        most = max(most, running)
    return most


@pytest.mark.redis
def test_a_cap_holds_over_two_workers_whose_executors_and_supervisor_are_killed(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "calls.py").write_text(PROGRAM)
        log, deaths = cluster.folder / "calls.log", dict[int, float]()
        assert (await cluster.ctl("queue", "calls", "--max-agents", "3"))[0] == 0
        cluster.coordinator()
        workers = [cluster.worker(name, "--processes", "2", program="calls.py") for name in ("one", "two")]
        for worker in workers:
            await serving(worker, 2)
        names = [f"a{number}" for number in range(50)]
        for name in names:
            code, _, err = await cluster.ctl(
                "submit", "calls", "--agent-id", name, "--args", json.dumps([name, str(log)])
            )
            assert code == 0, err

        def ended() -> int:
            return log.read_text().count(" end ") if log.exists() else 0

        def kill(pid: int) -> None:
            os.kill(pid, signal.SIGKILL)
            deaths[pid] = asyncio.get_running_loop().time()

        for count in (15, 40, 65):  # executors, in the middle of calls
            await eventually(lambda: ended() >= count, SOON_S, f"{count} calls")
            kill(int(log.read_text().splitlines()[-1].split()[-1]))
        await eventually(lambda: ended() >= 90, SOON_S, "90 calls")
        mine = [pid for pid in workers[0].executors() if is_alive(pid)]
        kill(workers[0].pid)  # and with it its executors, whom the kernel kills
        await eventually(lambda: not any(map(is_alive, mine)), SOON_S, "its executors to be gone")
        deaths.update(dict.fromkeys(mine, asyncio.get_running_loop().time()))
        for name in names:
            await cluster.ended(name)
        assert most_at_once(log, deaths) == 3

        async def nothing_held() -> bool:  # what has ended is acknowledged in a moment
            (load,) = (await cluster.home.coordination.load()).queues
            return (load.ready, load.running, load.cap) == (0, 0, 3)

        await eventually(nothing_held, SOON_S, "every slot to be free")

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_a_person_says_it_and_workers_that_run_already_obey_within_seconds(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", "--concurrency", "20")
        await serving(worker)
        for name in ("a", "b"):
            await cluster.submit(name, 100000, pause=0.02)
            await cluster.begun(name, 1)
        code, out, err = await cluster.ctl("queue", "count", "--max-agents", "1")
        assert (code, out) == (0, "queue count: at most 1 agent at once, on all workers together\n")
        assert err == "2 run now, and go on: playbooksctl queue count\n"

        async def obeyed() -> bool:  # who reads has heard of it, and is seen to leave one
            key = cluster.home.keys.bell("count")
            return bool(await cluster.home.server.command("EXISTS", key)) is False

        await eventually(obeyed, SOON_S, "the worker to wait for the queue's bell")
        await cluster.submit("c", 1)
        code, out, _ = await cluster.ctl("scale-hint")
        assert [line.split() for line in out.splitlines()][1] == ["count", "1", "2", "1", "20"]
        assert (await cluster.ctl("terminate", "a"))[0] == 0
        code, out, _ = await cluster.ctl("workers")
        heading, worker, *_ = (line.split() for line in out.splitlines())
        assert (worker[heading.index("GROUP")], worker[heading.index("SLOTS")]) == ("main", "20")
        assert out.endswith("\nprograms: count\nat most at once, of a queue: count 1\n")
        assert (await cluster.view("c")).status.value == "ready"
        code, out, _ = await cluster.ctl("show", "c", "--json")
        assert (
            json.loads(out)["waits_for"] == "room: queue count runs 1 at once, and no more (playbooksctl queue count)"
        )
        assert (await cluster.ctl("terminate", "b"))[0] == 0
        await cluster.ended("c")

        code, out, _ = await cluster.ctl("queue", "count", "--max-agents", "none")
        assert (code, out) == (0, "queue count: as many agents at once as workers have slots\n")
        code, out, _ = await cluster.ctl("queue", "count", "--json")
        assert json.loads(out) == {
            "queue": "count",
            "ready": 0,
            "running": 0,
            "max_agents": None,
            "runnable": 0,
            "capacity": 20,
        }

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_a_queue_that_nobody_knows_is_told_apart_from_a_misspelt_number(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        assert await cluster.ctl("queue", "tea") == (
            2,
            "",
            "error: there is no queue tea. playbooksctl scale-hint lists all\n",
        )
        for word in ("many", "-1", "1.5"):
            code, _, err = await cluster.ctl("queue", "tea", f"--max-agents={word}")
            assert (code, err) == (2, f"error: --max-agents {word}: a number, or `none`\n")
        code, out, err = await cluster.ctl("queue", "tea", "--max-agents", "2")
        assert code == 0 and "is that its name?" in err
        code, out, err = await cluster.ctl("queue", "tee")
        assert (code, err) == (2, "error: there is no queue tee. Did you mean tea?\n")
        code, out, err = await cluster.ctl("queue", "coffee", "--max-agents", "0")
        assert out == "queue coffee: held, no agent of it is taken\n"
        assert err.startswith("Let it go on: playbooksctl queue coffee --max-agents none\n")
        code, out, _ = await cluster.ctl("queue", "tea")
        assert out.splitlines()[1].split() == ["tea", "0", "0", "2", "0"]

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_a_reader_elsewhere_that_knew_of_no_cap_hears_of_it_within_seconds(redis_url: str) -> None:
    from playbooks_providers.ids import SessionId
    from playbooks_providers.model import Created
    from playbooks_providers.testing import start_record

    async def main() -> None:
        person, worker = connect(redis_url), connect(redis_url)
        reader = SessionId("s")
        try:
            assert list(await worker.coordination.read(reader, ["q"], limit=8, wait_s=0.0)) == []
            await person.coordination.set_cap("q", 0)
            created = await person.coordination.create(start_record("a1"))
            assert isinstance(created, Created) and created.ticket is not None
            # longer than a reader believes what it knew; it knew that there was no cap
            await worker.coordination.read(reader, ["empty"], limit=8, wait_s=1.2)
            await person.coordination.enqueue(created.ticket)
            assert list(await worker.coordination.read(reader, ["q"], limit=8, wait_s=0.0)) == []
            await person.coordination.set_cap("q", None)
            assert len(await worker.coordination.read(reader, ["q"], limit=8, wait_s=SOON_S)) == 1
        finally:
            await person.close()
            await worker.close()

    asyncio.run(main())


def test_those_that_wait_for_the_cap_are_not_runnable_and_those_above_a_lowered_one_are() -> None:
    lanes = [QueueLoad("q", 40, 1, 0, 0), QueueLoad("q!high", 9, 0, 0, 0), QueueLoad("q", 0, 0, 0, 0, 3)]
    load = system_load(lanes, [Offer("main", 100, {"q": 100})])
    (queue,) = load.queues
    assert (queue.ready, queue.running, queue.runnable, queue.capacity) == (49, 1, 3, 100)
    assert load.total.hint == load.groups["main"].hint == 0.03
    assert QueueLoad("q", 5, 4, 0, 8, 3).runnable == 4
    assert system_load([QueueLoad("q", 5, 0, 0, 0, 0)], []).total.hint == 0.0  # held: no worker would help


def test_a_queue_that_two_groups_take_from_is_shared_between_them_by_their_slots() -> None:
    offers = [Offer("main", 6, {"q": 6, "tea": 6}), Offer("heavy", 3, {"q": 3})]
    load = system_load([QueueLoad("q", 2, 1, 0, 0), QueueLoad("tea", 5, 0, 0, 0)], offers)
    assert {name: (each.runnable, each.slots) for name, each in load.groups.items()} == {
        "main": (7, 6),
        "heavy": (1, 3),
    }
    assert (load.total.runnable, load.total.slots) == (8, 9)


@pytest.mark.parametrize(
    ("lanes", "slots", "told"),
    [
        ([], 0, "a worker: none takes from queue q"),
        ([QueueLoad("q", 5, 0, 0, 0)], 0, "a worker: none takes from queue q"),
        ([QueueLoad("q", 5, 0, 0, 0)], 9, ""),
        ([QueueLoad("q", 5, 9, 0, 0)], 9, "a free slot: workers have 9 for queue q, all taken"),
        ([QueueLoad("q", 5, 2, 0, 0), QueueLoad("tea", 0, 7, 0, 0)], 9, "a free slot: workers have 9, all taken"),
        ([QueueLoad("q", 5, 2, 0, 0, 3)], 9, ""),
        ([QueueLoad("q", 5, 3, 0, 0, 3)], 9, "room: queue q runs 3 at once, and no more (playbooksctl queue q)"),
        ([QueueLoad("q", 5, 0, 0, 0, 0)], 9, "room: queue q is held (playbooksctl queue q)"),
    ],
)
def test_a_ready_agent_says_what_it_waits_for(lanes: list[QueueLoad], slots: int, told: str) -> None:
    offers = [Offer("main", slots, {"q": slots, "tea": slots})] if slots else []
    assert waits_for_room("q", system_load(lanes, offers)) == told
