"""An agent is not idle between the end of what it waited for and its own next statement."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from playbooks_providers.testing import eventually
from playbooks_worker.engine import Agent, Completed, Received

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import talkers  # noqa: E402
from town import Durable, Town, _World  # noqa: E402


class Alone(_World):
    async def fetch(self) -> None:
        """The test brings what comes."""


@pytest.mark.parametrize("entry", ["awaits_a_handle", "awaits_its_result", "gathers_a_handle"])
def test_an_agent_whose_child_has_ended_is_not_idle_in_any_turn_until_it_goes_on(entry: str) -> None:
    async def main() -> None:
        outbox: list[Any] = []

        def persist(moment: Any, payload: bytes) -> None:
            outbox.extend(moment.mailing.outbox if moment.mailing else ())

        agent = Agent("boss", persist=persist, world=Alone(Town(Durable()), "boss"))
        running = asyncio.ensure_future(agent.start(getattr(talkers, entry)))
        await eventually(lambda: outbox, 5.0, "the child to be spawned")
        agent.accepted(outbox[0])
        await eventually(agent.is_idle, 5.0, "the agent to wait")
        agent.deliver(1, Received(outbox[0].receiver, 1, "ended", "", {"status": "completed", "value": 9}))
        while not running.done():
            assert not agent.is_idle()
            await asyncio.sleep(0)
        assert running.result() == Completed([9])

    asyncio.run(main())
