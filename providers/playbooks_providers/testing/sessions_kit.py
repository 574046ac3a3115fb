"""The part of the coordination kit about sessions, the leader's lease, and what workers publish."""

from __future__ import annotations

import asyncio

from playbooks_providers.ids import Nonce, SessionId
from playbooks_providers.model import ProgramInfo, SessionInfo
from playbooks_providers.testing.homes import CoordinatedHome, Kit, story
from playbooks_providers.testing.waiting import eventually

ONE, TWO = SessionId("s1"), SessionId("s2")
FIRST, SECOND = Nonce("first"), Nonce("second")
WAIT_S = 20.0


def info(session: SessionId) -> SessionInfo:
    return SessionInfo(session, worker="w1", host="höst", pid=4242, build="abc", started_ms=1_700_000_000_000)


class SessionsKit(Kit[CoordinatedHome]):
    """Who is alive, who leads, and what is offered."""

    # --- sessions -------------------------------------------------------------------------------------------------
    @story
    async def test_a_registered_session_is_listed_and_described(self, home: CoordinatedHome) -> None:
        assert await home.coordination.sessions() == {}
        assert await home.coordination.session(ONE) is None
        await home.coordination.register(info(ONE))
        assert await home.coordination.sessions() == {ONE: 0}
        assert await home.coordination.session(ONE) == info(ONE)

    @story
    async def test_heartbeats_count(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        await home.coordination.register(info(TWO))
        await home.coordination.beat([ONE, TWO])
        refused, _ = await home.coordination.beat([ONE])
        assert refused == frozenset()
        await home.coordination.register(info(ONE))  # sent again after an unknown outcome
        assert await home.coordination.sessions() == {ONE: 2, TWO: 1}

    @story
    async def test_a_heartbeat_of_a_buried_or_unknown_session_is_refused(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        await home.coordination.register(info(TWO))
        assert await home.coordination.bury(TWO, None)
        refused, _ = await home.coordination.beat([ONE, TWO, SessionId("unknown")])
        assert refused == {TWO, SessionId("unknown")}
        assert await home.coordination.sessions() == {ONE: 1}

    @story
    async def test_a_session_that_still_beats_is_not_buried(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        await home.coordination.beat([ONE])
        seen = (await home.coordination.sessions())[ONE]
        await home.coordination.beat([ONE])
        assert not await home.coordination.bury(ONE, seen)
        assert await home.coordination.bury(ONE, seen + 1)
        assert await home.coordination.sessions() == {}

    @story
    async def test_of_a_burial_and_a_heartbeat_at_once_one_wins(self, home: CoordinatedHome) -> None:
        for number in range(20):
            session = SessionId(f"session-{number}")
            await home.coordination.register(info(session))
            buried, (refused, _) = await asyncio.gather(
                home.coordination.bury(session, 0), home.coordination.beat([session])
            )
            assert buried == (session in refused) == (session not in await home.coordination.sessions())

    @story
    async def test_the_published_timeout_comes_back_with_each_heartbeat(self, home: CoordinatedHome) -> None:
        await home.coordination.register(info(ONE))
        assert (await home.coordination.beat([ONE]))[1] is None
        await home.coordination.publish_timeout(1.25)
        assert (await home.coordination.beat([ONE]))[1] == 1.25

    # --- the leader -----------------------------------------------------------------------------------------------
    @story
    async def test_one_leads_until_it_resigns(self, home: CoordinatedHome) -> None:
        assert await home.coordination.leader() is None
        assert await home.coordination.lead(FIRST, 60)
        assert await home.coordination.lead(FIRST, 60)
        assert not await home.coordination.lead(SECOND, 60)
        await home.coordination.resign(SECOND)
        assert await home.coordination.leader() == FIRST
        await home.coordination.resign(FIRST)
        assert await home.coordination.leader() is None
        assert await home.coordination.lead(SECOND, 60)

    @story
    async def test_a_lease_that_is_not_renewed_ends(self, home: CoordinatedHome) -> None:
        assert await home.coordination.lead(FIRST, 0.3)
        home.pass_time(0.4)
        await eventually(lambda: home.coordination.lead(SECOND, 60), WAIT_S, "the lease to end")
        assert not await home.coordination.lead(FIRST, 60)
        assert await home.coordination.leader() == SECOND

    @story
    async def test_of_many_candidates_one_leads(self, home: CoordinatedHome) -> None:
        names = [Nonce(f"candidate-{number}") for number in range(10)]
        won = await asyncio.gather(*(home.coordination.lead(name, 60) for name in names))
        assert sum(won) == 1
        assert await home.coordination.leader() == names[won.index(True)]

    # --- programs -------------------------------------------------------------------------------------------------
    @story
    async def test_what_a_session_hosts_is_known_and_forgotten_with_it(self, home: CoordinatedHome) -> None:
        audit = ProgramInfo("audit", "audit", "b1", {"main": [("topic", "POSITIONAL_OR_KEYWORD", True)], "C.run": []})
        other = ProgramInfo("other", "q", "b2", {})
        await home.coordination.register(info(ONE))
        await home.coordination.register(info(TWO))
        await home.coordination.publish(ONE, [audit])
        for _ in range(2):
            await home.coordination.publish(TWO, [audit, other])
        assert {program.program for program in await home.coordination.programs()} == {"audit", "other"}
        await home.coordination.bury(TWO, None)
        (left,) = await home.coordination.programs()
        assert left == audit
        await home.coordination.bury(ONE, None)
        assert list(await home.coordination.programs()) == []

    @story
    async def test_a_home_that_is_there_answers_a_ping(self, home: CoordinatedHome) -> None:
        await home.coordination.ping()
