"""A worker that is drained hands over agents that only wait, at once and without a word lost."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from playbooks_providers.ids import AgentId
from playbooks_providers.model import Status
from playbooks_providers.testing import eventually

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from perishing import World  # noqa: E402


@pytest.mark.parametrize(("entry", "agents"), [("naps", 1), ("approval", 1), ("asks_one_that_ends", 2)])
def test_idle_agents_are_handed_over_before_the_deadline_and_wait_elsewhere(entry: str, agents: int) -> None:
    async def main() -> None:
        world = World(None)
        args = {"naps": (3600,), "asks_one_that_ends": ("waits",)}.get(entry, ())
        try:
            await world.worker("w0")
            await world.submit(entry, *args)

            async def all_wait() -> bool:
                lives = [hold.life for hold in world.shifts["w0"]._holds]
                views = [await world.view(agent) for agent in await world.coordination.agents()]
                return len(views) == agents and all(
                    life is not None and life._agent is not None and life._agent.is_idle() for life in lives
                )

            await eventually(all_wait, 10.0, "all to wait")
            began = time.monotonic()
            await world.shifts["w0"].drain(30.0)
            assert time.monotonic() - began < 10.0
            for agent in await world.coordination.agents():
                view = await world.view(agent)
                assert view is not None and (view.status, view.attempts) == (Status.READY, 0)
            await world.worker("w1")

            async def all_run() -> bool:
                views = [await world.view(agent) for agent in await world.coordination.agents()]
                return all(view is not None and view.status is Status.RUNNING for view in views)

            await eventually(all_run, 10.0, "all to live elsewhere")
            before = await world.view("boss")
            assert before is not None and before.start.agent == AgentId("boss")
        finally:
            await world.close()

    asyncio.run(main())
