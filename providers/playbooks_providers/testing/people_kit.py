"""The part of the coordination kit about who asks people, and where all agents stand."""

from __future__ import annotations

from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Standing
from playbooks_providers.model import Status
from playbooks_providers.testing.agents_kit import A, created
from playbooks_providers.testing.homes import CoordinatedHome, Kit, story
from playbooks_providers.testing.orders_kit import in_every_status

B = AgentId("b2")


class PeopleKit(Kit[CoordinatedHome]):
    """`Coordination.asks`, `asking` and `standings`."""

    @story
    async def test_who_asks_is_known_until_its_owner_says_otherwise(self, home: CoordinatedHome) -> None:
        assert list(await home.coordination.asking()) == []
        first, second = await home.own(A), await home.own(B)
        for _ in range(2):
            await home.coordination.asks(first, True)
            await home.coordination.asks(second, True)
        assert sorted(await home.coordination.asking()) == [A, B]
        for _ in range(2):
            await home.coordination.asks(first, False)
        assert list(await home.coordination.asking()) == [B]

    @story
    async def test_a_former_owner_takes_nobody_out(self, home: CoordinatedHome) -> None:
        old = await home.own(A)
        await home.coordination.asks(old, True)
        new = await home.own(A)
        await home.coordination.asks(new, True)
        await home.coordination.asks(old, False)
        assert list(await home.coordination.asking()) == [A]

    @story
    async def test_where_all_agents_stand_is_said_at_once(self, home: CoordinatedHome) -> None:
        agents = await in_every_status(home)
        await created(home, B)
        await home.coordination.delete(B)
        standings = await home.coordination.standings()
        assert {agent: stands.status for agent, stands in standings.items()} == {
            agent: status for status, agent in agents.items()
        }
        view = await home.coordination.describe(agents[Status.PAUSED])
        assert view is not None and standings[view.agent] == Standing(Status.PAUSED, view.birth)
