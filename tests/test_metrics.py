"""Metrics: plain numbers and their reports, and what a real run shows; docs/metrics.md says the same, both ways."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbooks_coordinator.census import Census
from playbooks_providers import metrics
from playbooks_providers.ids import SessionId
from playbooks_providers.loads import Load, QueueLoad, SystemLoad
from playbooks_providers.metrics.instruments import Counter, Gauge, Histogram, Registry
from playbooks_providers.model import Minted, Status
from playbooks_providers.testing import eventually, redis_server

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import SOON_S, Cluster, on_redis, serving  # noqa: E402
from pages import ANYWHERE, Page, counts, page  # noqa: E402

HEARS = """
import asyncio
from playbooks_worker import playbook, receive

@playbook
async def main():
    await receive()
    while True:
        await asyncio.sleep(0.02)
"""
DOCS = Path(__file__).parents[1] / "docs" / "metrics.md"


@pytest.fixture(autouse=True)
def from_zero() -> Iterator[None]:
    metrics.REGISTRY.reset()
    yield
    metrics.REGISTRY.reset()


# --- plain numbers -----------------------------------------------------------------------------------------------------


def a_process() -> tuple[Registry, Counter, Gauge, Histogram]:
    done = Counter("done_total", "", ("queue",))
    held = Gauge("held", "", ("queue",))
    seconds = Histogram("seconds", "", bounds=(1.0, 2.0))
    registry = Registry()
    registry.add(done, held, seconds)
    return registry, done, held, seconds


def test_what_was_reported_stays_when_the_reporter_is_gone_and_what_was_so_there_is_so_no_more() -> None:
    above, done, held, seconds = a_process()
    for name in ("one", "two"):
        executor, its_done, its_held, its_seconds = a_process()
        for _ in range(3):
            its_done.add("q")
            its_held.set(5, "q")
            its_seconds.observe(1.5)
            above.absorb(executor.take(), source=name)
    assert (done.values, held.values, seconds.values[()]) == ({("q",): 6}, {("q",): 10}, [0, 6, 0, 9.0])
    above.forget("one")
    assert (done.values, held.values, seconds.values[()]) == ({("q",): 6}, {("q",): 5}, [0, 6, 0, 9.0])


def test_a_report_is_the_difference_to_the_one_before() -> None:
    registry, done, _, seconds = a_process()
    done.add("q")
    seconds.observe(0.5)
    assert registry.take() == [["done_total", ["q"], 1.0], ["seconds", [], [1.0, 0, 0, 0.5]]]
    assert registry.take() == []


def test_an_observation_at_a_bound_belongs_to_it_and_one_beyond_all_is_counted() -> None:
    _, _, _, seconds = a_process()
    for value in (1.0, 2.0, 2.1, 100.0):
        seconds.observe(value)
    assert seconds.values[()] == [1, 1, 2, pytest.approx(105.1)]


def test_a_census_is_told_when_a_whole_round_is_over_and_forgotten_with_the_office() -> None:
    census = Census()
    queue = QueueLoad("q", ready=2, running=1, orphans=1, capacity=50)
    load = SystemLoad([queue], {"main": Load(runnable=3, slots=40)})
    census.saw({(Status.PAUSED, "q"): 3}, begins=True, ends=False, now_ms=0)
    census.tell(load, sessions=1)
    assert metrics.AGENTS.values == {("ready", "q"): 2, ("running", "q"): 1}
    census.saw(
        {(Status.PAUSED, "q"): 1, (Status.QUARANTINED, "r"): 1, (Status.READY, "q"): 9},
        begins=False,
        ends=True,
        now_ms=9000,
    )
    census.tell(load, sessions=1)
    told = metrics.AGENTS.values
    assert (told["paused", "q"], told["quarantined", "r"], told["quarantined", "q"]) == (4, 1, 0)
    assert (told["ready", "q"], told["running", "q"], told["failed", "r"]) == (2, 1, 0)
    assert metrics.RUNNABLE_AGENTS.values == {("q",): 3} and metrics.CAPACITY.values == {("q",): 50}
    assert metrics.GROUP_RUNNABLE.values == {("main",): 3} and metrics.SLOTS.values == {("main",): 40}
    assert metrics.CENSUS_TIMESTAMP.values == {(): 9}
    census.forget()
    assert metrics.AGENTS.values == metrics.RUNNABLE_AGENTS.values == metrics.CENSUS_TIMESTAMP.values == {}
    assert metrics.SLOTS.values == metrics.GROUP_RUNNABLE.values == {}


# --- a real run ----------------------------------------------------------------------------------------------------------


def documented(daemon: str) -> dict[str, tuple[str, set[str], str]]:
    """Type, labels and meaning of each metric that docs/metrics.md promises of that daemon."""
    found = {}
    for part in DOCS.read_text().split("\n## ")[1:]:
        if part.startswith(("Both", f"A {daemon}")):
            for row in re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \| (.+) \|$", part, re.MULTILINE):
                found[row[0]] = (row[1], set(re.findall(r"`(\w+)`", row[2])), row[3])
    return found


def check_against_the_docs(shown: Page, daemon: str) -> None:
    promised = documented(daemon)
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", shown.text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\w+) (.+)$", shown.text, re.MULTILINE))
    assert types == {name: kind for name, (kind, _, _) in promised.items()}
    assert helps == {name: meaning for name, (_, _, meaning) in promised.items()}
    for name, labels in shown.samples:
        base = name if name in promised else re.sub(r"_(bucket|count|sum)$", "", name)
        assert {label for label, _ in labels} - {"le"} == promised[base][1], name


@pytest.mark.redis
def test_a_run_in_which_an_executor_dies_is_counted_and_nothing_ever_goes_down(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", *ANYWHERE, "--processes", "2", "--concurrency", "7")
        for name in ("secret-a", "secret-b"):
            await cluster.submit(name, 20)
        await cluster.submit("long", 100000, pause=0.01)
        for name in ("secret-a", "secret-b"):
            await cluster.ended(name)

        async def both_ended() -> Page | None:
            shown = await page(worker)
            return shown if shown("playbooks_agents_ended_total", queue="count", status="completed") == 2 else None

        before = await eventually(both_ended, SOON_S, "two ends to be reported")
        assert (before("playbooks_checkpoint_seconds_count") or 0) >= 40
        assert before("playbooks_checkpoint_bytes_count") == before("playbooks_checkpoint_seconds_count")
        assert before("playbooks_sessions") == 2 and before("playbooks_worker_slots") == 14
        assert before("playbooks_takeovers_total", reason="executor_ended") == 0
        assert (before("playbooks_redis_command_seconds_count", command="finish") or 0) == 2

        os.kill(await cluster.begun("long", 1), signal.SIGKILL)

        async def taken_over() -> Page | None:
            shown = await page(worker)
            held = shown("playbooks_agents_held", queue="count")
            return shown if held == 1 and shown("playbooks_agents_taken_total", queue="count") == 4 else None

        after = await eventually(taken_over, SOON_S, "the agent to be held by the other executor")
        assert after("playbooks_takeovers_total", reason="executor_ended") == 1
        assert after("playbooks_takeover_seconds_count", reason="executor_ended") == 1
        assert after("playbooks_executor_ends_total") == 1
        assert (after("playbooks_session_renewals_total") or 0) > 0
        for process in ("supervisor", "executor"):
            assert await counts(worker, "playbooks_event_loop_lag_seconds_count", process=process) >= 1
        for (name, labels), value in before.samples.items():
            if name.endswith(("_total", "_count", "_bucket", "_sum")):
                assert after.samples[name, labels] >= value, name

        coordinator = cluster.coordinator("c", *ANYWHERE)  # now: its first census finds those that have ended

        async def counted() -> Page | None:
            shown = await page(coordinator)
            whole = shown("playbooks_agents", queue="count", status="completed") == 2
            return shown if whole and shown("playbooks_capacity", queue="count") == 14 else None

        led = await eventually(counted, SOON_S, "the leader to have counted")
        assert led("playbooks_leader") == 1 and led("playbooks_leader_changes_total") == 1
        assert (
            led("playbooks_runnable_agents", queue="count")
            == 1
            == led("playbooks_agents", queue="count", status="running")
        )
        assert (
            led("playbooks_agents", queue="count", status="quarantined") == 0 == led("playbooks_orphans", queue="count")
        )
        assert led("playbooks_live_sessions") == 2
        assert await counts(coordinator, "playbooks_event_loop_lag_seconds_count", process="coordinator") >= 1
        for part in ("watch", "act"):
            assert await counts(coordinator, "playbooks_tick_seconds_count", part=part) >= 1
        assert led("playbooks_slots", group="main") == 14 and led("playbooks_group_runnable_agents", group="main") == 1

        for shown, daemon in ((after, "worker"), (led, "coordinator")):
            build = rf'^playbooks_build_info{{daemon="{daemon}",python="3\.\d+\.\d+",version=".+"}} 1.0$'
            assert re.search(build, shown.text, re.MULTILINE)
        check_against_the_docs(after, "worker")
        check_against_the_docs(led, "coordinator")
        ids = ["secret-a", "secret-b", "long", *(told["session"] for told in worker.events("session registered"))]
        ids += [str(pid) for pid in (worker.pid, *worker.executors())]
        for shown in (after, led):
            values = {value for _, labels in shown.samples for _, value in labels}
            assert values.isdisjoint(ids)

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_a_silent_session_is_counted_by_the_leader_and_a_standby_says_nothing_of_the_system(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        one = cluster.coordinator("one", *ANYWHERE)
        await eventually(lambda: one.events("leader won"), SOON_S, "one to lead")
        two = cluster.coordinator("two", *ANYWHERE)
        worker = cluster.worker("w", *ANYWHERE)
        await cluster.submit("a", 100000, pause=0.01)
        await cluster.begun("a", 1)
        worker.kill()

        async def buried() -> Page | None:
            shown = await page(one)
            taken = shown("playbooks_takeovers_total", reason="session_silent") == 1
            return shown if taken and shown("playbooks_agents", queue="count", status="ready") == 1 else None

        led = await eventually(buried, SOON_S, "the session to be buried and counted")
        assert led("playbooks_takeover_seconds_count", reason="session_silent") == 1
        assert (led("playbooks_takeover_seconds_sum", reason="session_silent") or 0) >= 1.0
        assert led("playbooks_capacity", queue="count") == 0
        standby = await page(two)
        assert standby("playbooks_leader") == 0
        assert not any(name == "playbooks_agents" for name, _ in standby.samples)
        one.kill()

        async def leads() -> bool:
            shown = await page(two)
            return shown("playbooks_leader") == 1 and shown("playbooks_runnable_agents", queue="count") == 1

        await eventually(leads, SOON_S, "the other to lead and speak")

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_agents_that_nobody_has_recovered_yet_are_orphans(tmp_path: Path, redis_url: str) -> None:
    """Given a leader that looks for tickets without a session once an hour, When somebody who is gone has read one."""

    async def test(cluster: Cluster) -> None:
        leader = cluster.coordinator("c", *ANYWHERE, PLAYBOOKS_COORDINATOR__SESSION_TIMEOUT_S="3600")
        await cluster.submit("a", 1)
        assert await counts(leader, "playbooks_runnable_agents", queue="count") == 1
        assert (await page(leader))("playbooks_orphans", queue="count") == 0
        await cluster.home.coordination.read(SessionId("gone"), ["count"], limit=1, wait_s=0)
        assert await counts(leader, "playbooks_orphans", queue="count") == 1

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_errors_of_redis_are_counted_by_kind(redis_url: str) -> None:
    import asyncio

    from playbooks_providers.errors import Unreachable
    from playbooks_providers.redis import connect

    async def story() -> None:
        home = connect("redis://127.0.0.1:1/0")
        with pytest.raises(Unreachable):
            await home.coordination.ping()
        await home.coordination.close()
        home = connect(redis_url)
        await home.coordination.beat([SessionId("s")])
        await home.coordination.close()

    asyncio.run(story())
    assert metrics.REDIS_ERRORS.values["unreachable",] == 1
    assert sum(metrics.REDIS_COMMAND_SECONDS.values["beat",][:-1]) == 1


@pytest.mark.redis
def test_a_letter_of_a_person_that_wakes_an_agent_is_counted_and_told_by_who_takes_it(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "hears.py").write_text(HEARS)
        worker = cluster.worker("w", *ANYWHERE, program="hears.py", PLAYBOOKS_WORKER__PARK_AFTER_S="0.1")
        await serving(worker)
        assert (await cluster.ctl("submit", "hears", "--agent-id", "a"))[0] == 0
        assert await counts(worker, "playbooks_agents_parked_total", queue="hears") == 1
        assert (await page(worker))("playbooks_agents_woken_total", by="letter") == 0
        assert (await cluster.ctl("send", "a", "one"))[0] == 0
        assert await counts(worker, "playbooks_agents_woken_total", by="letter") == 1
        (told,) = worker.events("agent woken")
        assert (told["agent"], told["by"]) == ("a", "letter")
        assert (await cluster.ctl("pause", "a"))[0] == 0
        assert await counts(worker, "playbooks_agents_set_aside_total", queue="hears", status="paused") == 1

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_a_write_that_the_store_refuses_a_former_owner_is_counted_and_so_is_the_lock_it_lost(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", *ANYWHERE)
        await serving(worker)
        agent = await cluster.submit("a", 100)
        await cluster.begun("a", 2)
        owned = await cluster.view("a")
        overtaken = await cluster.home.coordination.wake(
            agent, owned.fence, owned.session
        )  # as if its session was over
        assert isinstance(overtaken, Minted)
        await cluster.home.coordination.enqueue(overtaken.ticket)
        assert await counts(worker, "playbooks_fenced_writes_total") == 1
        assert await counts(worker, "playbooks_locks_lost_total", queue="count") == 1
        await cluster.ended("a")
        assert len(cluster.repeated("a", 100)) <= 1

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_writes_that_a_full_redis_refuses_are_counted(tmp_path: Path) -> None:
    with redis_server("--maxmemory-policy", "noeviction") as server:

        async def test(cluster: Cluster) -> None:
            worker = cluster.worker("w", *ANYWHERE)
            await serving(worker)
            await cluster.submit("a", 40)
            await cluster.begun("a", 2)
            await cluster.home.server.command("CONFIG SET", "maxmemory", 1)
            assert await counts(worker, "playbooks_redis_errors_total", kind="full") >= 1
            await cluster.home.server.command("CONFIG SET", "maxmemory", 0)
            await cluster.ended("a")
            assert cluster.repeated("a", 40) == []

        on_redis(test, tmp_path, server.url)
