"""Code that changed under agents, on the contracts: the block that shows it, and what a person may choose then."""

from __future__ import annotations

import asyncio
import importlib.util
import linecache
import sys
from contextlib import suppress

import pytest

from playbooks_providers.envelope import Sealer
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Choice, Minted, StartRecord, Status, Taken
from playbooks_worker import engine
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Blocked, Ended
from playbooks_worker.host.surroundings import Surroundings

SOURCE = """
import asyncio
from playbooks_worker import playbook

SAID = []
HOLD = []

async def effect(name):
    SAID.append(name)
    if name in HOLD:
        await asyncio.Event().wait()
    return name

@playbook
async def main(topic):
    first = await effect(topic)
    second = await effect("second")
    third = await effect("third")
    return [first, second, third]
"""
AGENT = AgentId("a1")


class World:
    """One agent in memory, and programs that come and go under it."""

    def __init__(self, tmp_path):
        self.file = tmp_path / "changing.py"
        self.store = MemoryStore()
        self.checkpoints = MemoryCheckpoints(self.store)
        self.coordination = MemoryCoordination(self.store)
        self.taken = 0

    def load(self, *edits):
        text = SOURCE
        for before, after in edits:
            assert before in text
            text = text.replace(before, after)
        self.file.write_text(text)
        linecache.checkcache(str(self.file))
        importlib.invalidate_caches()
        module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("changing", self.file))
        sys.modules["changing"] = module
        exec(compile(text, str(self.file), "exec"), vars(module))
        return module

    async def lock(self, ticket):
        self.taken += 1
        answer = await self.coordination.take(ticket, SessionId(f"s{self.taken}"), Nonce(f"n{self.taken}"))
        assert isinstance(answer, Taken), answer
        return answer.lock

    def life(self, lock, module):
        around = Surroundings(self.checkpoints, Sealer("k" * 32), lambda: 5, 2)
        return Life(lock, module.main, around, Gate(lambda: 0.0))

    async def left_at(self, effect):
        """An agent whose owner died while *effect* was under way; its next ticket."""
        module = self.load()
        await self.checkpoints.keep_sources(engine.kept_sources())
        made = await self.coordination.create(StartRecord(AGENT, "changing", "main", ["tea"], {}, "q", 0))
        lock = await self.lock(made.ticket)
        module.HOLD.append(effect)
        living = asyncio.create_task(self.life(lock, module).live())
        while effect not in module.SAID:
            await asyncio.sleep(0)
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        woken = await self.coordination.wake(AGENT, lock.fence, lock.session)
        assert isinstance(woken, Minted)
        return woken.ticket

    async def blocked_by(self, *edits):
        """The same, resumed in a program that was edited: why it is blocked, the program, its fence."""
        lock = await self.lock(await self.left_at("third"))
        module = self.load(*edits)
        outcome = await self.life(lock, module).live()
        assert isinstance(outcome, Blocked) and outcome.elsewhere and module.SAID == []
        await self.coordination.stop(lock, Status.BLOCKED, outcome.why)
        view = await self.coordination.describe(AGENT)
        assert view.status is Status.BLOCKED
        return view.why, module, view.fence

    async def retried(self, module, fence, choice):
        answer = await self.coordination.retry(AGENT, fence, choice)
        assert isinstance(answer, Minted)
        lock = await self.lock(answer.ticket)
        return await self.life(lock, module).live()


@pytest.fixture
def world(tmp_path):
    yield World(tmp_path)
    sys.modules.pop("changing", None)


AFTER = ("return [first", "return ['new', first")
BEFORE = ('second = await effect("second")', 'second = await effect("2nd")')


def test_a_changed_playbook_blocks_with_one_line_and_then_what_has_changed(world):
    why, _, _ = asyncio.run(world.blocked_by(AFTER))
    line, *told = why.split("\n")
    assert line == (
        "agent a1: playbook changing:main was edited since its checkpoint; deploy the build that it was started with"
    )
    assert told[0] == 'changing:main stands at site 2, line 17: second = await effect("second")'
    assert told[1] == "--- changing:main as it was saved"
    assert told[-2:] == ["-    return [first, second, third]", "+    return ['new', first, second, third]"]


def test_an_accepted_change_goes_on_from_the_checkpoint_and_only_this_time(world):
    async def story():
        _, module, fence = await world.blocked_by(AFTER)
        outcome = await world.retried(module, fence, Choice.ACCEPT_CHANGED)
        assert isinstance(outcome, Ended) and outcome.header.result == ["new", "tea", "second", "third"]
        assert module.SAID == ["third"]

    asyncio.run(story())


def test_a_change_that_does_not_line_up_is_refused_with_the_reason_and_nothing_runs(world):
    async def story():
        _, module, fence = await world.blocked_by(BEFORE)
        outcome = await world.retried(module, fence, Choice.ACCEPT_CHANGED)
        assert isinstance(outcome, Blocked) and module.SAID == []
        assert outcome.why.split("\n")[0] == (
            "agent a1: the change cannot be accepted: playbook changing:main: "
            'site 2 was `second = await effect("second")`, and is now `second = await effect("2nd")`'
        )

    asyncio.run(story())


def test_a_restarted_agent_begins_with_its_start_record_and_its_checkpoints_go_with_those_that_replace_them(world):
    async def story():
        _, module, fence = await world.blocked_by(BEFORE)
        old = [entry.id for entry in await world.checkpoints.list(AGENT)]
        assert len(old) == 2
        module.HOLD.append("2nd")
        answer = await world.coordination.retry(AGENT, fence, Choice.RESTART)
        lock = await world.lock(answer.ticket)
        living = asyncio.create_task(world.life(lock, module).live())
        while "2nd" not in module.SAID:
            await asyncio.sleep(0)
        kept = [entry.id for entry in await world.checkpoints.list(AGENT)]
        assert (
            set(old) <= set(kept) and len(kept) == 3
        )  # the first one of the new life; what is before is learnt after it
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        woken = await world.coordination.wake(AGENT, lock.fence, lock.session)
        module.HOLD.clear()
        again = await world.lock(woken.ticket)
        assert again.resume_from == kept[-1] and again.choice is Choice.RESUME
        outcome = await world.life(again, module).live()
        assert isinstance(outcome, Ended) and outcome.header.result == ["tea", "2nd", "third"]
        assert module.SAID == ["tea", "2nd", "2nd", "third"]
        assert not set(old) & {entry.id for entry in await world.checkpoints.list(AGENT)}

    asyncio.run(story())


def test_without_the_source_of_then_a_block_says_so_and_shows_where_the_agent_stands(world):
    async def story():
        ticket = await world.left_at("third")
        world.store.sources.clear()
        lock = await world.lock(ticket)
        module = world.load(AFTER)
        outcome = await world.life(lock, module).live()
        assert outcome.why.split("\n")[1:] == [
            'changing:main stands at site 2; now that is line 17: second = await effect("second")'
        ]
        await world.coordination.stop(lock, Status.BLOCKED, outcome.why)
        view = await world.coordination.describe(AGENT)
        refused = await world.retried(module, view.fence, Choice.ACCEPT_CHANGED)
        assert "its source as it was is not kept here" in refused.why.split("\n")[0] and module.SAID == []

    asyncio.run(story())


def test_a_failed_agent_is_retried_in_a_program_that_was_mended(world):
    async def story():
        module = world.load(("return [first", "return [nothing, first"))
        await world.checkpoints.keep_sources(engine.kept_sources())
        made = await world.coordination.create(StartRecord(AGENT, "changing", "main", ["tea"], {}, "q", 0))
        lock = await world.lock(made.ticket)
        outcome = await world.life(lock, module).live()
        assert isinstance(outcome, Ended) and outcome.status is Status.FAILED
        await world.coordination.finish(lock, Status.FAILED, outcome.final)
        mended = world.load()
        again = await world.retried(mended, lock.fence, Choice.ACCEPT_CHANGED)
        assert isinstance(again, Ended) and again.header.result == ["tea", "second", "third"]
        assert mended.SAID == []

    asyncio.run(story())
