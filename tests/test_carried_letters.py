"""A letter that comes with its poke is not asked for again; one that cannot be the next is read from the inbox."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.letters import Poke
from playbooks_providers.memory import MemoryCoordination

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from perishing import World  # noqa: E402

ROUNDS = 20


class Watched(MemoryCoordination):
    """Counts what is read; *changed* says what becomes of each poke on its way."""

    reads = 0
    changed: Any = staticmethod(lambda poke: [poke])

    async def mail(self, agent: AgentId, after: int, *, limit: int) -> Any:
        self.reads += 1
        return await super().mail(agent, after, limit=limit)

    async def poke(self, session: SessionId, poke: Poke) -> None:
        for changed in self.changed(poke):
            await super().poke(session, changed)


def reads(*, workers: int = 2, changed: Any = lambda poke: [poke]) -> int:
    async def main() -> int:
        world = World(None)
        home = world.coordination = Watched(world.store)
        home.changed = changed
        try:
            for number in range(workers):
                await world.worker(f"w{number}", concurrency=2 // workers)
            await world.submit("boss", ROUNDS)
            assert await world.result() == [[["heard", number] for number in range(ROUNDS)], sum(range(ROUNDS))]
        finally:
            await world.close()
        return home.reads

    return asyncio.run(main())


@pytest.mark.parametrize("workers", [1, 2])
def test_who_waits_for_a_letter_reads_it_from_its_poke(workers: int) -> None:
    assert reads(workers=workers) < ROUNDS / 2


def test_a_poke_without_its_letter_says_that_there_is_one() -> None:
    assert reads(changed=lambda poke: [Poke(poke.agent)]) > ROUNDS


def test_a_letter_to_another_birth_is_not_believed() -> None:
    assert reads(changed=lambda poke: [replace(poke, birth=poke.birth - 1)]) > ROUNDS


def test_a_letter_that_comes_before_one_that_is_not_known_waits_for_it() -> None:
    def later(poke: Poke) -> list[Poke]:
        return [poke if poke.mail is None else replace(poke, mail=replace(poke.mail, place=poke.mail.place + 1))]

    assert reads(changed=later) > ROUNDS


def test_a_letter_that_comes_twice_is_read_once() -> None:
    assert reads(changed=lambda poke: [poke, poke, Poke(poke.agent)]) >= 1
