"""A checkpoint that the server never takes (`proto-max-bulk-len`) ends its agent with one line; nobody waits for ever."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from playbooks_providers.envelope import Sealer
from playbooks_providers.errors import EntryTooLarge
from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce
from playbooks_providers.model import Choice, Created, Lock, Minted, Saved, StartRecord, Status, Taken
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.testing import entry, redis_server
from playbooks_worker import playbook
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Ended
from playbooks_worker.host.surroundings import Surroundings

pytestmark = pytest.mark.redis

S = SessionId("s1")
SMALL = ("--proto-max-bulk-len", "1mb")
LONG_S = 30.0
RAN: list[str] = []


async def fetch(size: int) -> str:
    return random.randbytes(size).hex()


@playbook
async def hoard(small: int, big: int) -> str:
    notes = await fetch(small)
    RAN.append("small")
    pages = await fetch(big)
    RAN.append("big")
    return notes + pages


@playbook
async def grow(turns: int) -> int:
    notes = []
    for _ in range(turns):
        notes.append(await fetch(100))
    return len(notes)


@playbook
async def answer(size: int) -> str:
    return "x" * size


async def own(home: RedisHome, name: str, *args: Any) -> Lock:
    created = await home.coordination.create(StartRecord(AgentId(name), "p", "main", list(args), {}, "", 0))
    assert isinstance(created, Created) and created.ticket is not None
    taken = await home.coordination.take(created.ticket, S, new_nonce())
    assert isinstance(taken, Taken)
    return taken.lock


async def lived(home: RedisHome, lock: Lock, function: Any) -> Ended:
    around = Surroundings(home.checkpoints, Sealer("k" * 40), lambda: 1, keep_last_n=2)
    outcome = await asyncio.wait_for(Life(lock, function, around, Gate(lambda: 0.0)).live(), LONG_S)
    assert isinstance(outcome, Ended)
    await home.coordination.finish(lock, outcome.status, outcome.final)
    return outcome


def on_a_small_server(story: Any) -> None:
    async def main(url: str) -> None:
        home = connect(url)
        try:
            await story(home)
        finally:
            await home.close()

    with redis_server(*SMALL) as server:
        asyncio.run(main(server.url))


def test_an_agent_whose_checkpoint_the_server_refuses_fails_with_one_line_and_goes_on_when_it_fits() -> None:
    RAN.clear()

    async def story(home: RedisHome) -> None:
        lock = await own(home, "a1", 100, 1_500_000)
        outcome = await lived(home, lock, hoard)
        assert outcome.status is Status.FAILED and outcome.header.error is not None
        assert outcome.header.error["type"] == "CheckpointTooLarge"
        told = outcome.header.error["message"]
        assert told.startswith("agent a1: its checkpoint 2 takes ") and " MB as it is stored, and Redis at " in told
        assert "(its proto-max-bulk-len); checkpoint 1 is safe; keep less in variables, or set that to 512mb" in told
        assert told.endswith("then: playbooksctl retry a1") and "\n" not in told
        assert RAN == ["small"]

        again = await home.coordination.retry(AgentId("a1"), lock.fence, Choice.RESUME)
        assert isinstance(again, Minted)
        taken = await home.coordination.take(again.ticket, S, new_nonce())
        assert isinstance(taken, Taken)
        assert taken.lock.resume_from == CheckpointId(lock.fence, 1)

    on_a_small_server(story)


def test_the_other_agents_of_the_process_lose_nothing_by_it() -> None:
    async def story(home: RedisHome) -> None:
        locks = [await own(home, f"a{number}", 40) for number in range(4)]
        large = await own(home, "large", 100, 1_500_000)
        *others, failed = await asyncio.gather(*[lived(home, lock, grow) for lock in locks], lived(home, large, hoard))
        assert [one.header.result for one in others] == [40] * 4
        assert failed.status is Status.FAILED

    on_a_small_server(story)


def test_a_result_that_the_server_refuses_is_a_failure() -> None:
    async def story(home: RedisHome) -> None:
        outcome = await lived(home, await own(home, "a1", 1_500_000), answer)
        assert outcome.header.error is not None and outcome.header.error["type"] == "CheckpointTooLarge"

    on_a_small_server(story)


def test_save_raises_what_the_store_can_never_take_and_the_next_one_is_saved() -> None:
    async def story(home: RedisHome) -> None:
        lock = await own(home, "a1")
        nothing = CheckpointId(0, 0)
        with pytest.raises(EntryTooLarge, match="reads no value of that size"):
            await asyncio.wait_for(
                home.checkpoints.save(lock, entry(lock, 1, b"x" * 3_000_000), oldest=nothing), LONG_S
            )
        saved = await asyncio.wait_for(home.checkpoints.save(lock, entry(lock, 2), oldest=nothing), LONG_S)
        assert saved == Saved(CheckpointId(lock.fence, 2))

    on_a_small_server(story)
