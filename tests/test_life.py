"""One owner's time with an agent, over the in-memory home and an engine that counts."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from playbooks_providers import metrics
from playbooks_providers.clock import ManualClock
from playbooks_providers.envelope import Header, Sealer, read_header
from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Created, Entry, Lock, Minted, StartRecord, Status, Taken
from playbooks_providers.testing import eventually
from playbooks_worker import engine
from playbooks_worker.host import life as life_module
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Blocked, Ended, HandedOver, LockLost, Outcome
from playbooks_worker.host.surroundings import Surroundings

AGENT = AgentId("a1")


@dataclass
class Moment:
    seq: int
    kind: str = "step"
    stack_json: str = '[["p:main",3,"await step()",0]]'
    steps_json: str = "[]"
    lowering: int = 1
    result: object = None
    error: BaseException | None = None
    traceback: str = ""
    took_s: float = 0.0
    dill: str | None = None
    mailing: Any = None
    owes: Any = None


class Counter:
    """An engine of the same seam, whose agents count to their argument: one effect and one checkpoint each."""

    effect: Callable[[int], Awaitable[None]]
    bound: Mapping[int, str] = {}  # by number: the Python version that a checkpoint is bound to

    def __init__(
        self,
        agent_id: str,
        *,
        persist: Any,
        next_seq: int = 1,
        strict: bool = False,
        max_bytes: int | None = None,
        summed: bool = True,
        world: Any = None,
        observer: Any = None,
    ) -> None:
        self.persist = persist
        self.seq = next_seq
        self.leave = ""
        self.task: asyncio.Task[Any] | None = None
        self.dead = ""
        self.frozen = False

    async def start(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return await self.run(0, args[0])

    async def resume(self, payload: bytes, accepted: Any = None) -> Any:
        done, total = payload.split(b"/")
        return await self.run(int(done), int(total))

    async def run(self, done: int, total: int) -> Any:
        self.task = asyncio.ensure_future(self.count(done, total))
        await asyncio.wait([self.task])
        if self.dead:
            return engine.Stopped(self.dead)
        return self.task.result()

    async def count(self, done: int, total: int) -> Any:
        try:
            while done < total:
                await Counter.effect(done)
                done += 1
                moment = Moment(self.next(), dill=self.bound.get(done))
                written = self.persist(moment, f"{done}/{total}".encode())
                if written is not None:  # else it is durable
                    await written
                if self.leave:
                    return engine.Stopped(self.leave)
        except engine.AgentLost:
            return engine.Stopped("lost")
        except Exception as error:
            await self.persist(Moment(self.next(), "failed", error=error, traceback="where"), b"")
            return engine.Failed(error, "where")
        await self.persist(Moment(self.next(), "completed", result={"total": total, "what": {1, 2}}), b"")
        return engine.Completed(total)

    def next(self) -> int:
        self.seq += 1
        return self.seq - 1

    async def stop(self, why: str) -> None:
        self.dead = why
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])

    def stop_at_checkpoint(self, why: str) -> None:
        self.leave = why

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False

    def stack(self) -> list[tuple[str, int, str, int]]:
        return []


class World:
    """A store with one agent in it, and a way to own it."""

    def __init__(self, total: int = 3, keep: int = 10) -> None:
        self.store = MemoryStore()
        self.checkpoints = MemoryCheckpoints(self.store)
        self.coordination = MemoryCoordination(self.store)
        self.start = StartRecord(AGENT, "p", "main", [total], {}, "p", 0)
        self.owners = 0
        self.effects: list[int] = []
        self.headers: list[Header] = []
        self.keep = keep
        self.key = "k" * 32

    async def effect(self, number: int) -> None:
        self.effects.append(number)

    async def own(self) -> Lock:
        """The lock, whoever had it before."""
        made = await self.coordination.create(self.start)
        assert isinstance(made, Created)
        ticket = made.ticket
        if ticket is None:
            view = await self.coordination.describe(AGENT)
            assert view is not None
            woken = await self.coordination.wake(AGENT, view.fence, SessionId(f"s{self.owners}"))
            assert isinstance(woken, Minted)
            ticket = woken.ticket
        self.owners += 1
        taken = await self.coordination.take(ticket, SessionId(f"s{self.owners}"), Nonce(f"n{self.owners}"))
        assert isinstance(taken, Taken)
        return taken.lock

    def life(self, lock: Lock, gate: Gate | None = None, **more: Any) -> Life:
        around = Surroundings(self.checkpoints, Sealer(self.key), lambda: 5, self.keep)
        gate = gate or Gate(lambda: 0.0)
        return Life(lock, lambda: None, around, gate, progress=self.headers.append, **more)

    async def kept(self) -> list[CheckpointId]:
        return [entry.id for entry in await self.checkpoints.list(AGENT)]


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life_module, "Agent", Counter)


def run(test: Callable[[World], Awaitable[None]], **world: Any) -> None:
    async def main() -> None:
        there = World(**world)
        Counter.effect = staticmethod(there.effect)  # type: ignore[method-assign, assignment]
        async with asyncio.timeout(20):
            await test(there)

    asyncio.run(main())


async def crash_after(world: World, steps: int) -> None:
    """Live until *steps* checkpoints of this owner are durable, then vanish in the middle of an effect."""
    reached = asyncio.Event()
    before = len(world.effects)

    async def effect(number: int) -> None:
        world.effects.append(number)
        if len(world.effects) - before > steps:
            reached.set()
            await asyncio.Event().wait()

    Counter.effect = staticmethod(effect)  # type: ignore[method-assign, assignment]
    living = asyncio.create_task(world.life(await world.own()).live())
    await reached.wait()
    living.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await living
    Counter.effect = staticmethod(world.effect)  # type: ignore[method-assign, assignment]


def test_a_fresh_agent_starts_from_its_record_and_its_end_is_a_signed_checkpoint() -> None:
    async def test(world: World) -> None:
        lock = await world.own()
        outcome = await world.life(lock).live()
        assert isinstance(outcome, Ended) and outcome.status is Status.COMPLETED
        assert outcome.header.result == {"total": 3, "what": [1, 2]}
        assert Sealer(world.key).open(outcome.final, AGENT).header == replace(
            outcome.header, key=Sealer(world.key).key_id
        )
        assert [header.seq for header in world.headers] == [1, 2, 3, 4]
        first = world.headers[0]
        assert (first.program, first.fence, first.nonce, first.time_ms) == ("p", lock.fence, "n1", 5)
        assert (first.kind, first.attempts, first.stack[0][0]) == ("step", 1, "p:main")

    run(test)


def test_a_checkpoint_that_is_bound_to_a_python_says_so_and_no_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        monkeypatch.setattr(Counter, "bound", {2: "3.11"})
        await world.life(await world.own()).live()
        assert [header.dill for header in world.headers] == [None, "3.11", None, None]

    run(test)


def test_a_new_owner_goes_on_from_the_newest_checkpoint_and_counts_on() -> None:
    async def test(world: World) -> None:
        await crash_after(world, steps=2)
        outcome = await world.life(await world.own()).live()
        assert isinstance(outcome, Ended)
        assert world.effects == [0, 1, 2, 2]  # only the one in flight ran twice
        assert outcome.header.seq == 4

    run(test)


def test_an_agent_whose_end_was_written_but_not_told_is_ended_without_running() -> None:
    async def test(world: World) -> None:
        first = await world.life(await world.own()).live()
        again = await world.life(await world.own()).live()
        assert isinstance(first, Ended) and isinstance(again, Ended)
        assert again.final == first.final and world.effects == [0, 1, 2]

    run(test)


def test_an_agent_that_raises_has_failed_with_type_message_and_traceback() -> None:
    async def test(world: World) -> None:
        async def effect(number: int) -> None:
            raise ValueError("no tea")

        Counter.effect = staticmethod(effect)  # type: ignore[method-assign, assignment]
        outcome = await world.life(await world.own()).live()
        assert isinstance(outcome, Ended) and outcome.status is Status.FAILED
        assert outcome.header.error == {"type": "ValueError", "message": "no tea", "traceback": "where"}

    run(test)


def test_only_the_last_n_checkpoints_are_kept() -> None:
    async def test(world: World) -> None:
        await world.life(await world.own()).live()
        assert [id.seq for id in await world.kept()] == [19, 20, 21]

    run(test, total=20, keep=3)


def test_what_earlier_owners_wrote_counts_among_the_kept() -> None:
    async def test(world: World) -> None:
        for _ in range(6):  # each writes fewer than are kept
            await crash_after(world, steps=2)
            assert len(await world.kept()) <= 3 + 2
        await world.life(await world.own()).live()
        assert [id.seq for id in await world.kept()] == [19, 20, 21]

    run(test, total=20, keep=3)


def test_a_newer_owner_ends_the_life_of_the_older_one_at_its_next_write() -> None:
    async def test(world: World) -> None:
        old = world.life(await world.own())
        stolen: list[Lock] = []

        async def effect(number: int) -> None:
            world.effects.append(number)
            if number == 1:
                stolen.append(await world.own())

        Counter.effect = staticmethod(effect)  # type: ignore[method-assign, assignment]
        refused_before = metrics.FENCED_WRITES.values[()]
        assert isinstance(await old.live(), LockLost)
        assert metrics.FENCED_WRITES.values[()] == refused_before + 1
        assert world.effects == [0, 1] and [header.seq for header in world.headers] == [1]

    run(test)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda entry: entry._replace(payload=entry.payload + b"x"), "corrupt or not signed"),
        (lambda entry: entry._replace(payload=entry.payload[:-1]), "truncated"),
        (lambda entry: entry._replace(header=b"?"), "truncated"),
    ],
)
def test_a_bad_checkpoint_blocks_and_the_one_before_it_is_named(harm: Callable[[Entry], Entry], why: str) -> None:
    async def test(world: World) -> None:
        await crash_after(world, steps=2)
        lock = await world.own()
        entries = world.store.agents[AGENT].entries
        before, newest = list(entries)
        entries[newest] = harm(entries[newest])
        world.effects.clear()
        outcome = await world.life(lock).live()
        assert isinstance(outcome, Blocked) and not outcome.elsewhere
        assert (outcome.at, outcome.before) == (newest, before)
        assert why in outcome.why and f"resume from checkpoint {before}, which opens" in outcome.why
        assert world.effects == []

    run(test)


def test_a_checkpoint_signed_with_another_key_blocks_and_says_which_key() -> None:
    async def test(world: World) -> None:
        await crash_after(world, steps=1)
        world.key = "another key"
        outcome = await world.life(await world.own()).live()
        assert isinstance(outcome, Blocked)
        assert "signed with another key" in outcome.why and "no checkpoint before it" in outcome.why

    run(test)


def test_an_older_checkpoint_can_be_continued_from_and_numbers_go_on_after_the_newest() -> None:
    async def test(world: World) -> None:
        await crash_after(world, steps=2)
        lock = await world.own()
        older = min(await world.kept())
        world.effects.clear()
        world.headers.clear()
        outcome = await world.life(replace(lock, resume_from=older), numbered_after=2).live()
        assert isinstance(outcome, Ended) and world.effects == [1, 2]
        assert [header.seq for header in world.headers] == [3, 4, 5]

    run(test)


def test_a_hand_over_waits_for_a_checkpoint_and_an_abandoned_agent_does_not() -> None:
    async def test(world: World) -> None:
        life = world.life(await world.own())

        async def effect(number: int) -> None:
            world.effects.append(number)
            if number == 0:
                life.hand_over("drain")

        Counter.effect = staticmethod(effect)  # type: ignore[method-assign, assignment]
        assert await life.live() == HandedOver("drain", abandoned=False)
        assert [header.seq for header in world.headers] == [1]

        begun = asyncio.Event()

        async def forever(number: int) -> None:
            begun.set()
            await asyncio.Event().wait()

        Counter.effect = staticmethod(forever)  # type: ignore[method-assign, assignment]
        life = world.life(await world.own())
        living = asyncio.create_task(life.live())
        await begun.wait()
        life.hand_over("drain")
        await life.abandon("drain, late")
        assert await living == HandedOver("drain, late", abandoned=True)
        assert [header.seq for header in world.headers] == [1]

    run(test)


def frozen() -> tuple[ManualClock, Gate]:
    clock = ManualClock()
    gate = Gate(clock.monotonic, deadline=-math.inf)
    gate.renew(0.0, 1.0)
    return clock, gate


def test_past_the_deadline_nothing_is_written_until_the_session_is_renewed() -> None:
    async def test(world: World) -> None:
        clock, gate = frozen()

        async def effect(number: int) -> None:
            world.effects.append(number)
            if number == 1:
                clock.advance(1.0)  # the process was stopped for a while

        Counter.effect = staticmethod(effect)  # type: ignore[method-assign, assignment]
        life = world.life(await world.own(), gate)
        living = asyncio.create_task(life.live())
        await eventually(lambda: world.effects == [0, 1], 5, "the second effect")
        await asyncio.wait([living], timeout=0.02)
        assert [header.seq for header in world.headers] == [1]
        gate.renew(clock.monotonic(), 1.0)
        assert isinstance(await living, Ended)
        assert world.effects == [0, 1, 2]

    run(test)


def test_a_write_that_comes_back_past_the_deadline_lets_no_further_effect_start() -> None:
    async def test(world: World) -> None:
        clock, gate = frozen()
        life = world.life(await world.own(), gate)
        save = world.checkpoints.save

        async def slow(lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Any:
            answer = await save(lock, entry, oldest=oldest)
            clock.advance(1.0)
            return answer

        world.checkpoints.save = slow  # type: ignore[method-assign]
        living = asyncio.create_task(life.live())
        await eventually(lambda: world.headers, 5, "the first checkpoint")
        await asyncio.wait([living], timeout=0.02)
        assert world.effects == [0]
        await life.drop("refused")
        assert await living == LockLost("refused")
        assert world.effects == [0]

    run(test)


@pytest.mark.parametrize("end", ["drop", "abandon"])
def test_a_life_that_has_not_begun_behind_a_closed_gate_can_be_ended(end: str) -> None:
    async def test(world: World) -> None:
        clock, gate = frozen()
        clock.advance(1.0)
        life = world.life(await world.own(), gate)
        living: asyncio.Task[Outcome] = asyncio.create_task(life.live())
        await asyncio.sleep(0)
        await getattr(life, end)("over")
        assert isinstance(await living, LockLost if end == "drop" else HandedOver)
        assert world.effects == []

    run(test)


def test_a_store_that_is_away_delays_a_resume_and_a_write_and_fails_nothing() -> None:
    async def test(world: World) -> None:
        await crash_after(world, steps=1)
        lock = await world.own()
        with world.store.outage():
            living = asyncio.create_task(world.life(lock).live())
            done, _ = await asyncio.wait([living], timeout=0.1)
            assert not done
        assert isinstance(await living, Ended)

    run(test)


def test_headers_can_be_read_by_anybody() -> None:
    async def test(world: World) -> None:
        await world.life(await world.own()).live()
        kept = await world.checkpoints.list(AGENT)
        assert [read_header(entry.header).kind for entry in kept] == ["step"] * 3 + ["completed"]

    run(test)
