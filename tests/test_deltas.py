"""Agents whose checkpoints are deltas, however small they are: killed at every await, taken over, on every home."""

from __future__ import annotations

import asyncio
import itertools
import pickle  # noqa: TID251 - the size of the state, plainly
import random
import string
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from playbooks_providers.contracts import Checkpoints
from playbooks_providers.envelope import Header, Sealer, read_header
from playbooks_providers.filesystem import FilesystemAgents, FilesystemCheckpoints, FilesystemStore
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Choice, Done, Entry, Lock, Lost, Minted, Saved, Status
from playbooks_providers.redis import connect
from playbooks_providers.testing import CoordinatedHome, Home, start_record
from playbooks_worker import playbook
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.opening import open_checkpoint
from playbooks_worker.host.outcome import Blocked, Ended, LockLost, Outcome
from playbooks_worker.host.surroundings import Surroundings

AGENT = AgentId("a1")
SEALER = Sealer("k" * 40)
TURNS = 14
FRESH = itertools.count()


# --- the agent -------------------------------------------------------------------------------------------------------
async def reply(turn: int) -> str:
    return "".join(random.Random(turn).choices("abcdefghijklmnopqrstuvwxyz", k=300))


@playbook
async def talk(turns: int) -> list[str]:
    history: list[str] = []
    for turn in range(turns):
        history.append(await reply(turn))
        if turn % 5 == 4:
            history.append(await summary(history))
    return [message[:20] for message in history]


@playbook
async def summary(history: list[str]) -> str:
    last = history[-1]
    return last[:10] + (await reply(len(history)))[:10]


@playbook
async def swing(turns: int) -> int:
    """Grows and shrinks: whole ones become due for every reason there is."""
    state: list[str] = []
    for turn in range(turns):
        if turn % 7 == 6:
            state.clear()
        state += [await reply(turn)] * (turn % 3 + 1)
    return len(state)


@playbook
async def fails(turns: int) -> None:
    history = [await reply(turn) for turn in range(turns)]
    raise ValueError(f"no tea after {len(history)}")


# --- its homes -------------------------------------------------------------------------------------------------------
class InFiles:
    def __init__(self, root: Path) -> None:
        store = FilesystemStore(root)
        self.checkpoints = FilesystemCheckpoints(store)
        self.agents = FilesystemAgents(store, self.checkpoints)
        self.lock: Lock | None = None

    async def own(self, agent: AgentId) -> Lock:
        await self.agents.create(start_record(agent))
        if self.lock is not None:
            await self.agents.release(self.lock, "its process died")
        self.lock = await self.agents.lock(agent)
        return self.lock


@asynccontextmanager
async def memory(request: pytest.FixtureRequest) -> AsyncIterator[Home]:
    store = MemoryStore()
    yield CoordinatedHome(MemoryCheckpoints(store), MemoryCoordination(store))


@asynccontextmanager
async def filesystem(request: pytest.FixtureRequest) -> AsyncIterator[Home]:
    with tempfile.TemporaryDirectory(prefix="playbooks-test-") as folder:
        yield InFiles(Path(folder))


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Home]:
    home = connect(request.getfixturevalue("redis_url"), prefix=f"p{next(FRESH)}")
    try:
        yield CoordinatedHome(home.checkpoints, home.coordination)
    finally:
        await home.close()


HOMES = [memory, filesystem, pytest.param(redis, marks=pytest.mark.redis)]


class Watched:
    """Checkpoints that look after each save whether the newest *keep* open; *stop* blocks the save with that number."""

    def __init__(self, inner: Checkpoints, keep: int) -> None:
        self._inner = inner
        self._keep = keep
        self.stop = 0
        self.stopped = asyncio.Event()
        self.go_on = asyncio.Event()
        self.headers: list[Header] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Saved | Lost:
        if entry.id.seq == self.stop:
            self.stop = 0
            self.stopped.set()
            await self.go_on.wait()
        answer = await self._inner.save(lock, entry, oldest=oldest)
        if isinstance(answer, Saved):
            self.headers.append(read_header(entry.header))
            await self.look()
        return answer

    async def look(self) -> None:
        kept = await self._inner.list(AGENT)
        for entry in kept[-self._keep :]:
            opened = await open_checkpoint(self._inner, SEALER, AGENT, entry.id)
            assert opened.header.id == entry.id
        if len(kept) > 1 and kept[-1].id.fence == kept[-2].id.fence:  # an owner trims from its second write on
            needed = min(read_header(entry.header).whole for entry in kept[-self._keep :])
            assert kept[0].id >= needed, "something older is kept than anything needs"


@dataclass
class World:
    home: Home
    function: Any = talk
    keep: int = 4
    plain_below: int = 0
    turns: int = TURNS
    owners: list[Lock] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.checkpoints = Watched(self.home.checkpoints, self.keep)

    async def life(self, checkpoints: Any = None, **more: Any) -> Life:
        lock = await self.home.own(AGENT)
        lock = Lock(**{**{name: getattr(lock, name) for name in Lock.__slots__}, "start": start(self.turns)})
        self.owners.append(lock)
        around = Surroundings(checkpoints or self.checkpoints, SEALER, lambda: 5, self.keep, self.plain_below)
        return Life(lock, self.function, around, Gate(lambda: 0.0), **more)

    async def kill_at(self, number: int) -> bool:
        """Another owner takes over and lives until it writes checkpoint *number*. False: it came to its end first."""
        self.checkpoints.stop = number
        self.checkpoints.stopped.clear()
        living = asyncio.create_task((await self.life()).live())
        stopping = asyncio.create_task(self.checkpoints.stopped.wait())
        await asyncio.wait([living, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if living.done():
            assert isinstance(living.result(), Ended), living.result()
            return False
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        return True


def start(turns: int) -> Any:
    record = start_record(AGENT)
    return type(record)(AGENT, "p", "main", [turns], {}, "q", 0)


Opener = Callable[[pytest.FixtureRequest], Any]


def told(home: Opener, request: pytest.FixtureRequest, story: Callable[[World], Awaitable[None]], **world: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(100), home(request) as open_home:
            await story(World(open_home, **world))

    asyncio.run(main())


async def result(outcome: Outcome) -> Any:
    assert isinstance(outcome, Ended), outcome
    return outcome.header.result


EXPECTED = asyncio.run(talk(TURNS))


def deltas(headers: Sequence[Header]) -> list[int]:
    return [header.seq for header in headers if header.base is not None]


# --- stories ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("function", [talk, swing])
def test_what_is_kept_opens_after_every_checkpoint(home: Opener, function: Any, request: pytest.FixtureRequest) -> None:
    async def story(world: World) -> None:
        assert await result(await (await world.life()).live()) == await function(TURNS)
        assert len(deltas(world.checkpoints.headers)) >= 3

    told(home, request, story, function=function)


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("keep", [1, 4])
def test_an_agent_killed_at_every_write_goes_on_from_the_chain(
    home: Opener, keep: int, request: pytest.FixtureRequest
) -> None:
    async def story(world: World) -> None:
        number = 2
        while await world.kill_at(number):
            number += 1
        newest = (await world.home.checkpoints.list(AGENT))[-1]
        assert read_header(newest.header).result == EXPECTED
        assert len(world.owners) == number - 1  # every owner wrote one checkpoint
        assert len(deltas(world.checkpoints.headers)) >= 3

    told(home, request, story, keep=keep)


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("first", range(2, TURNS + 3, 3))
def test_an_agent_killed_anywhere_ends_the_same(home: Opener, first: int, request: pytest.FixtureRequest) -> None:
    async def story(world: World) -> None:
        assert await world.kill_at(first)
        assert await result(await (await world.life()).live()) == EXPECTED

    told(home, request, story)


@pytest.mark.parametrize("home", HOMES)
def test_a_new_owner_goes_on_in_the_chain_that_it_has_loaded(home: Opener, request: pytest.FixtureRequest) -> None:
    async def story(world: World) -> None:
        headers = world.checkpoints.headers
        number = 6
        while await world.kill_at(number):
            number += 1
        across = [header for header in headers if header.base and header.base.ids[-1].fence < header.fence]
        assert across, "no delta was made against what another owner wrote"

    told(home, request, story)


@pytest.mark.parametrize("home", HOMES)
def test_a_zombie_that_wakes_mid_chain_changes_nothing(home: Opener, request: pytest.FixtureRequest) -> None:
    async def story(world: World) -> None:
        old = Watched(world.home.checkpoints, world.keep)
        old.stop = 6
        zombie = asyncio.create_task((await world.life(old)).live())
        await old.stopped.wait()
        world.checkpoints.stop = 10
        young = asyncio.create_task((await world.life()).live())
        await world.checkpoints.stopped.wait()
        there = [entry.id for entry in await world.home.checkpoints.list(AGENT)]
        old.go_on.set()
        assert isinstance(await zombie, LockLost)
        assert [entry.id for entry in await world.home.checkpoints.list(AGENT)] == there
        await world.checkpoints.look()
        world.checkpoints.go_on.set()
        assert await result(await young) == EXPECTED

    told(home, request, story)


@pytest.mark.parametrize("home", HOMES)
def test_a_failed_agent_keeps_what_its_last_state_needs(home: Opener, request: pytest.FixtureRequest) -> None:
    shown = 0

    async def story(world: World) -> None:
        nonlocal shown
        ended = await (await world.life()).live()
        assert isinstance(ended, Ended) and ended.status is Status.FAILED
        finisher: Any = world.home.agents if isinstance(world.home, InFiles) else world.home.coordination  # type: ignore[attr-defined]
        assert await finisher.finish(world.owners[-1], Status.FAILED, ended.final) == Done()
        there = {entry.id for entry in await world.home.checkpoints.list(AGENT)}
        last = [header for header in world.checkpoints.headers if header.kind == "step"][-1]
        opened = await open_checkpoint(world.home.checkpoints, SEALER, AGENT, last.id)
        assert {entry.id for entry in opened.chain} <= there and opened.payload
        shown += last.base is not None
        if isinstance(world.home, CoordinatedHome):
            again = await world.home.coordination.retry(AGENT, world.owners[-1].fence, Choice.RESUME)
            assert isinstance(again, Minted)
            lock = await world.home.take(again.ticket)
            assert lock.resume_from == last.id
            assert await open_checkpoint(world.home.checkpoints, SEALER, AGENT, last.id) == opened

    for turns in (11, 12, 13):
        told(home, request, story, function=fails, turns=turns)
    assert shown


@playbook
async def steady(turns: int) -> int:
    """Its state stays as large as it is, and comes back to that after each of some excursions."""
    state = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=1500))
    for turn in range(turns):
        part = state[: 300 * (turn % 4)]
        await reply(turn)
        del part
    return len(state)


def test_a_small_state_that_grows_becomes_deltas_and_one_that_does_not_stays_plain() -> None:
    async def story(world: World) -> None:
        await (await world.life()).live()
        headers = [header for header in world.checkpoints.headers if header.kind == "step"]
        if world.function is talk:
            assert all(header.codec == "raw" for header in headers if header.size < 1024)
            assert len(deltas(headers)) >= len(headers) // 2
        else:
            assert all(header.codec == "raw" for header in headers[8:]), "it has seen how large the state is"

    told(memory, None, story, plain_below=4096)  # type: ignore[arg-type]
    told(memory, None, story, plain_below=4096, function=steady, turns=40)  # type: ignore[arg-type]


@playbook
async def grows(turns: int, size: int) -> int:
    history: list[dict[str, str]] = []
    while len(history) < turns:
        history.append(await message(len(history), size))
    return len(history)


async def message(number: int, size: int) -> dict[str, str]:
    return MESSAGES[number, size]


LETTERS = string.ascii_letters + string.digits + "+/"
MESSAGES = {
    (number, size): {"role": "user", "text": "".join(random.Random(number).choices(LETTERS, k=size))}
    for size in (100, 1000, 3000)
    for number in range(300)
}


@pytest.mark.parametrize(
    ("size", "beside"),
    [(1000, 0), (3000, 0), (100, 15_000)],
    ids=["turns of 1 KB", "turns of 3 KB", "turns of 100 B"],
)
def test_what_is_kept_of_a_growing_history_is_at_most_twice_its_size_at_every_turn(size: int, beside: int) -> None:
    """Headers included. Text of which zstd saves a quarter. Ten checkpoints have a header and an index each, which small
    turns pay *beside*."""
    turns = 300
    kept: list[tuple[int, int]] = []

    async def story(world: World) -> None:
        def count(header: Header) -> None:
            entries = world.home.checkpoints._store.agents[AGENT].entries.values()  # type: ignore[attr-defined]
            kept.append((header.seq, sum(len(entry.header) + len(entry.payload) for entry in entries)))

        lock = await world.home.own(AGENT)
        record = type(lock.start)(AGENT, "p", "main", [turns, size], {}, "q", 0)
        lock = Lock(**{**{name: getattr(lock, name) for name in Lock.__slots__}, "start": record})
        around = Surroundings(world.home.checkpoints, SEALER, lambda: 1_700_000_000_000)
        await Life(lock, grows, around, Gate(lambda: 0.0), progress=count).live()

    told(memory, None, story)  # type: ignore[arg-type]
    state = 0
    for number, taken in kept[:turns]:
        state += len(pickle.dumps(MESSAGES[number - 1, size], 5)) - 20  # keys and framing are there once
        assert taken <= 2 * state + beside, f"{taken} bytes after {number} turns of {state} together"


@pytest.mark.parametrize("home", HOMES)
def test_a_large_state_is_packed_in_a_thread_and_written_in_order(
    home: Opener, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playbooks_worker.host.persisting._IN_A_THREAD", 1500)

    async def story(world: World) -> None:
        assert await world.kill_at(8)
        assert await result(await (await world.life()).live()) == EXPECTED
        numbers = [header.seq for header in world.checkpoints.headers]
        assert numbers == sorted(set(numbers)) and len(deltas(world.checkpoints.headers)) >= 3

    told(home, request, story)


# --- damage ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("harm", ["gone", "torn", "empty"])
def test_a_damaged_base_is_named_and_the_newest_checkpoint_that_opens_is_offered(harm: str) -> None:
    async def story(world: World) -> None:
        number = 6
        while await world.kill_at(number):
            headers = world.checkpoints.headers
            ids = {header.id for header in headers[-4:]}
            needs = {header.id: {header.id, *(header.base.ids if header.base else ())} for header in headers}
            newest = headers[-1]
            spared = [
                header for header in headers[-4:-1] if newest.base and newest.base.ids[-1] not in needs[header.id]
            ]
            if newest.base is not None and spared:
                break
            number += 1
        assert newest.base is not None and spared and ids
        base = newest.base.ids[-1]
        folder = world.home.checkpoints._store.folder(AGENT)  # type: ignore[attr-defined]
        file = folder / f"{AGENT}_ckpt_{base.seq}.pkl"
        if harm == "gone":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[: -7 if harm == "torn" else 0])
        outcome = await (await world.life()).live()
        assert isinstance(outcome, Blocked) and outcome.at == newest.id
        assert f"checkpoint {newest.id} cannot be used: its base {base} " in outcome.why
        offered = max(header.id for header in spared)
        assert outcome.before == offered and f"resume from checkpoint {offered}, which opens" in outcome.why
        assert (await open_checkpoint(world.home.checkpoints, SEALER, AGENT, offered)).payload

    told(filesystem, None, story, function=swing)  # type: ignore[arg-type]


def test_going_on_from_an_older_checkpoint_keeps_what_it_needs() -> None:
    async def story(world: World) -> None:
        assert await world.kill_at(9)
        older = [header for header in world.checkpoints.headers if header.base is not None][-2]
        lock = await world.home.own(AGENT)
        around = Surroundings(world.checkpoints, SEALER, lambda: 5, 3, 0)
        lock = Lock(**{**{name: getattr(lock, name) for name in Lock.__slots__}, "resume_from": older.id})
        world.checkpoints._keep = 3
        outcome = await Life(lock, talk, around, Gate(lambda: 0.0), numbered_after=8).live()
        assert await result(outcome) == EXPECTED

    told(filesystem, None, story)  # type: ignore[arg-type]
