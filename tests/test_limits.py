"""An agent whose state grows too big fails with a line that says what to do; a big or slow one is told in the log."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from playbooks_providers.envelope import Sealer
from playbooks_providers.errors import ConfigError
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Entry, Lock, Status
from playbooks_providers.settings import Settings, check
from playbooks_providers.settings.sections import DurabilitySettings
from playbooks_providers.testing import CoordinatedHome, start_record
from playbooks_worker import engine, playbook
from playbooks_worker.engine import Agent, mortal
from playbooks_worker.host import persisting as persisting_module
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Ended
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.host.watch import Watch

AGENT = AgentId("a1")
AFTER: list[str] = []


async def fetch(size: int) -> str:
    return "x" * size


@playbook
async def hoard(small: int, big: int) -> int:
    notes = await fetch(small)
    pages = [await fetch(big)]
    for _ in range(100):
        pages.append(await fetch(big) + str(len(pages)))
        AFTER.append(f"{len(pages)} pages")
    return len(notes)


@playbook
async def many(size: int) -> list[int]:
    return await asyncio.gather(*[branch(size + number) for number in range(5)])


@playbook
async def branch(size: int) -> int:
    text = await fetch(size)
    await fetch(1)
    return len(text)


def fail(function: Any, *args: Any, limit: int) -> tuple[str, list[int]]:
    """How the agent failed, and the sizes of what it had written."""
    sizes: list[int] = []

    def persist(moment: engine.Moment, payload: bytes) -> None:
        if moment.kind == "step":
            sizes.append(len(payload))

    outcome = asyncio.run(Agent("a1", persist=persist, max_bytes=limit).start(function, args))
    assert isinstance(outcome, engine.Failed), outcome
    assert isinstance(outcome.error, engine.CheckpointTooLarge)
    return str(outcome.error), sizes


def test_the_error_names_sizes_limit_the_biggest_variables_and_what_to_type() -> None:
    AFTER.clear()
    told, sizes = fail(hoard, 300_000, 1_000_000, limit=5_000_000)
    assert "\n" not in told
    assert "agent a1: its state takes 5.3 MB, and a checkpoint may take 5.0 MB" in told
    assert "'pages' of tests.test_limits:hoard 4.0 MB" in told.replace(f"{__name__}:", "tests.test_limits:")
    assert "the awaited value of" in told and "'notes' of" in told
    assert f"checkpoint {len(sizes)} is safe" in told and "raise durability.max_checkpoint_size_mb" in told
    assert f"playbooksctl retry a1 (run PROGRAM --resume a1 --at {len(sizes)})" in told
    assert all(size <= 5_000_000 for size in sizes)
    assert AFTER == ["2 pages", "3 pages", "4 pages"]  # no statement ran past the last checkpoint


def test_variables_of_branches_are_added_up() -> None:
    told, _ = fail(many, 100_000, limit=250_000)
    assert f"of {__name__}:branch" in told and "in 5 calls" in told


def test_the_first_checkpoint_may_be_the_one_that_is_too_big() -> None:
    told, sizes = fail(hoard, 300_000, 1, limit=100_000)
    assert "it has no checkpoint yet" in told and "start it again" in told and sizes == []


def test_who_fails_at_its_limit_writes_its_end_by_tasks_of_the_store_however_long_that_takes(monkeypatch: Any) -> None:
    monkeypatch.setattr(mortal, "_CANCEL_AGAIN_S", 0.0)
    written: list[str] = []

    async def slowly(kind: str) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        written.append(kind)

    def persist(moment: engine.Moment, payload: bytes) -> Any:
        return asyncio.ensure_future(slowly(moment.kind))

    outcome = asyncio.run(Agent("a1", persist=persist, max_bytes=100_000).start(hoard, (10, 300_000)))
    assert isinstance(outcome, engine.Failed) and written[-1] == "failed"


def test_without_a_limit_nothing_is_too_big() -> None:
    agent = Agent("a1", persist=lambda moment, payload: None)
    assert asyncio.run(agent.start(branch, (3_000_000,))) == engine.Completed(3_000_000)


def test_the_setting_is_in_millions_of_bytes() -> None:
    assert Settings().durability.max_checkpoint_bytes == 64_000_000


def test_a_limit_that_redis_could_not_keep_is_refused_at_the_start() -> None:
    def checked(limit_mb: float) -> None:
        check(Settings(durability=DurabilitySettings(max_checkpoint_size_mb=limit_mb)))

    checked(500)
    with pytest.raises(ConfigError, match="durability.max_checkpoint_size_mb = 600 .* is more than .* at most 500"):
        checked(600)


async def lived(function: Any, *args: Any, limit: int, checkpoints: Any = None) -> Ended:
    store = MemoryStore()
    home = CoordinatedHome(MemoryCheckpoints(store), MemoryCoordination(store))
    lock = await home.own(AGENT)
    start = start_record(AGENT)
    start = type(start)(AGENT, "p", "main", list(args), {}, "q", 0)
    lock = Lock(**{**{name: getattr(lock, name) for name in Lock.__slots__}, "start": start})
    around = Surroundings(checkpoints or home.checkpoints, Sealer("k" * 40), lambda: 1, max_bytes=limit)
    outcome = await Life(lock, function, around, Gate(lambda: 0.0)).live()
    assert isinstance(outcome, Ended)
    return outcome


def test_a_life_that_exceeds_its_limit_has_failed_and_its_header_says_why() -> None:
    outcome = asyncio.run(lived(hoard, 10, 100_000, limit=1_000_000))
    assert outcome.status is Status.FAILED and outcome.header.error is not None
    assert outcome.header.error["type"] == "CheckpointTooLarge"
    assert "a checkpoint may take 1.0 MB" in outcome.header.error["message"]


def test_a_growing_state_is_told_once_and_again_when_it_is_twice_as_big() -> None:
    with structlog.testing.capture_logs() as logs:
        asyncio.run(lived(hoard, 10, 20_000, limit=8_000_000))
    big = [line for line in logs if line["event"] == "checkpoint is big"]
    assert len(big) == 1  # at 2 MB: a quarter of the limit; the state grows to 2.0 MB
    assert big[0]["agent"] == AGENT and big[0]["log_level"] == "warning" and "25%" in big[0]["share"]
    assert {"session", "fence"} <= big[0].keys()
    with structlog.testing.capture_logs() as logs:
        asyncio.run(lived(hoard, 10, 20_000, limit=2_100_000))
    sizes = [line["size_mb"] for line in logs if line["event"] == "checkpoint is big"]
    assert len(sizes) == 2 and sizes[1] >= 2 * sizes[0]


def test_what_is_slow_is_told_once_and_again_when_it_takes_twice_as_long() -> None:
    store = MemoryStore()
    lock = asyncio.run(CoordinatedHome(MemoryCheckpoints(store), MemoryCoordination(store)).own(AGENT))
    watch = Watch(lock, 1_000_000)
    with structlog.testing.capture_logs() as logs:
        for took_s in (0.01, 0.06, 0.07, 0.1, 0.13):
            watch.taken(CheckpointId(1, 2), 10, took_s)
        for took_s in (0.5, 1.5, 2.0, 3.5):
            watch.written(CheckpointId(1, 3), took_s)
    assert [(line["what"], line["took_ms"]) for line in logs] == [
        ("snapshot", 60),
        ("snapshot", 130),
        ("write", 1500),
        ("write", 3500),
    ]
    whose = {"agent": AGENT, "session": lock.session, "fence": lock.fence}
    assert logs[0]["checkpoint"] == "1-2" and all(whose.items() <= line.items() for line in logs)


def test_a_store_that_is_slow_is_told(monkeypatch: Any) -> None:
    """A store whose write takes two seconds, by the clock that the life looks at."""
    now = [0.0]
    monkeypatch.setattr(persisting_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    store = MemoryStore()

    class Slow(MemoryCheckpoints):
        def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Any:
            now[0] += 2.0
            return super().save(lock, entry, oldest=oldest)

    async def main() -> None:
        home = CoordinatedHome(Slow(store), MemoryCoordination(store))
        lock = await home.own(AGENT)
        start = type(lock.start)(AGENT, "p", "main", [10], {}, "q", 0)
        lock = Lock(**{**{name: getattr(lock, name) for name in Lock.__slots__}, "start": start})
        await Life(lock, branch, Surroundings(home.checkpoints, Sealer("k" * 40), lambda: 1), Gate(lambda: 0.0)).live()

    with structlog.testing.capture_logs() as logs:
        asyncio.run(main())
    assert [(line["event"], line["what"], line["took_ms"]) for line in logs] == [("checkpoint is slow", "write", 2000)]
