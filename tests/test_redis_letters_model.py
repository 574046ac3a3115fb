"""Random worlds of letters on a real server (tests/programs/letters_world.py).

The last test breaks a rule at a time and expects to be told: a checker that cannot fail proves nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from playbooks_providers.redis import inboxes as inboxes_module
from playbooks_providers.redis.scripts import Script, script

pytestmark = pytest.mark.redis

BUDGET_S = float(os.environ.get("PLAYBOOKS_TEST_MODEL_S", "8"))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parent / "programs")
    import letters_world

    return letters_world


def test_every_letter_comes_once_and_in_order_whoever_dies_when(redis_url: str, world: Any) -> None:
    async def main() -> None:
        deadline = time.monotonic() + BUDGET_S
        seed = int(os.environ.get("PLAYBOOKS_TEST_SEED", random.SystemRandom().randrange(10**9)))
        rounds, seen = 0, Counter[str]()
        while rounds == 0 or time.monotonic() < deadline:
            print(f"seed {seed} (PLAYBOOKS_TEST_SEED={seed} repeats it)")
            seen += await world.run(redis_url, seed)
            seed, rounds = seed + 1, rounds + 1
        print(rounds, "worlds:", dict(seen))
        for what in ("deaths", "refused", "fresh", "again", "Parked", "Unread"):
            assert rounds < 5 or seen[what], f"a world in which nothing is {what} shows nothing"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "rule", "broken"),
    [
        ("park", "if known[6] or #redis", "if known[6] and #redis"),  # mail is not looked at
        ("park", "if known[6] or #redis", "if #redis"),  # nor are orders
        ("deliver", "if tonumber(ARGV[3]) <= last then", "if false then"),  # copies are not recognised
        (
            "deliver",
            "if tonumber(ARGV[3]) <= last then",
            "if false then last = tonumber(ARGV[3]) - 1 end if false then",
        ),
        ("deliver", "if status == 'waiting' then", "if false then"),  # nobody is woken
        ("deliver", "mint(KEYS[1], KEYS[2], 'it has mail', nil, choice)", "fence"),  # woken without a new fence
    ],
)
def test_a_broken_rule_is_noticed(
    redis_url: str, world: Any, monkeypatch: pytest.MonkeyPatch, name: str, rule: str, broken: str
) -> None:
    whole = script(name).text
    assert whole.count(rule) == 1
    mutant = Script(name, whole.replace(rule, broken))
    monkeypatch.setattr(inboxes_module, "script", lambda one: mutant if one == name else script(one))

    async def main() -> None:
        for seed in range(15):
            try:
                await world.run(redis_url, seed)
            except (world.Broken, ValueError) as error:  # the home refuses what cannot be: noticed, too
                print(error)
                return
        raise AssertionError("fifteen worlds, and nobody noticed")

    asyncio.run(main())
