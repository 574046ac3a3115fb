"""What people want of agents: pause, cancel, terminate. A part of the coordination kit, which a folder keeps, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from playbooks_providers.ids import AgentId, CheckpointId, new_nonce, new_session_id
from playbooks_providers.letters import Delivered, Ordered, Parked, Unread
from playbooks_providers.model import (
    FINAL,
    Choice,
    Created,
    Done,
    Gone,
    Lock,
    Lost,
    Order,
    OrderKind,
    Saved,
    Stale,
    Status,
    Ticket,
)
from playbooks_providers.testing.agents_kit import NOTHING, A, created, minted, save, status
from playbooks_providers.testing.homes import AgentsHome, Kit, entry, start_record, story
from playbooks_providers.testing.letters_kit import ROOMY, delivered, letter

PAUSE = Order("p1", OrderKind.PAUSE, "maría wants to look: " + "long " * 50)
CANCEL = Order("c1", OrderKind.CANCEL, "its parent boss-1 was cancelled", deadline_ms=1_700_000_060_000)
SET_ASIDE = (Status.BLOCKED, Status.PAUSED, Status.QUARANTINED)


async def _ready(home: AgentsHome, agent: AgentId) -> None:
    lock = await home.take(await created(home, agent))
    await save(home, lock, 1)
    minted(await home.coordination.release(lock, "drain"))


async def running(home: AgentsHome, agent: AgentId) -> Lock:
    lock = await home.take(await created(home, agent))
    await save(home, lock, 1)
    return lock


async def _waiting(home: AgentsHome, agent: AgentId) -> None:
    lock = await running(home, agent)
    assert await home.coordination.park(lock, CheckpointId(lock.fence, 1), 0, None) == Parked()


def _stopped(end: Status) -> Callable[[AgentsHome, AgentId], Awaitable[object]]:
    async def stopped(home: AgentsHome, agent: AgentId) -> None:
        lock = await running(home, agent)
        if end is Status.PAUSED:
            await home.coordination.order(agent, Order(f"pause of {agent}", OrderKind.PAUSE, "why"))
        assert await home.coordination.stop(lock, end, "why") == Done()

    return stopped


def _ended(end: Status) -> Callable[[AgentsHome, AgentId], Awaitable[object]]:
    async def ended(home: AgentsHome, agent: AgentId) -> None:
        lock = await running(home, agent)
        final = entry(lock, 2, b"", kind="completed", result=1)
        await home.checkpoints.save(lock, final, oldest=NOTHING)
        await home.coordination.finish(lock, end, final)

    return ended


IN_STATUS: dict[Status, Callable[[AgentsHome, AgentId], Awaitable[object]]] = {
    Status.READY: _ready,
    Status.RUNNING: running,
    Status.WAITING: _waiting,
    **{end: _stopped(end) for end in SET_ASIDE},
    **{end: _ended(end) for end in FINAL},
}


async def in_every_status(home: AgentsHome) -> dict[Status, AgentId]:
    agents = {one: AgentId(f"agent-{one}") for one in home.statuses}
    for one, agent in agents.items():
        await IN_STATUS[one](home, agent)
        assert await status(home, agent) is one
    return agents


class OrdersKit(Kit[AgentsHome]):
    """`Orders.order`, `wanted`, `obeyed` and `terminate`."""

    # --- cancel ---------------------------------------------------------------------------------------------------
    @story
    async def test_the_owner_of_a_running_agent_is_told_until_it_has_obeyed(self, home: AgentsHome) -> None:
        lock = await running(home, A)
        assert (lock.order, await home.coordination.wanted(A)) == (None, None)
        for _ in range(2):
            answer = await home.coordination.order(A, CANCEL)
            assert answer == Ordered(Status.RUNNING, session=lock.session)
        assert await home.coordination.wanted(A) == CANCEL
        view = await home.coordination.describe(A)
        assert view is not None and view.order == CANCEL
        assert await home.coordination.park(lock, CheckpointId(lock.fence, 1), 0, None) == Unread(A)
        new = await home.own(A)  # the owner died before it had obeyed
        assert new.order == CANCEL
        await home.coordination.obeyed(lock, CANCEL)
        assert await home.coordination.wanted(A) == CANCEL
        for _ in range(2):
            await home.coordination.obeyed(new, CANCEL)
            assert await home.coordination.wanted(A) is None
        assert (await home.own(A)).order is None

    @story
    async def test_an_order_that_was_obeyed_is_not_given_again(self, home: AgentsHome) -> None:
        lock = await running(home, A)
        await home.coordination.order(A, CANCEL)
        await home.coordination.obeyed(lock, CANCEL)
        assert await home.coordination.order(A, CANCEL) == Ordered(Status.RUNNING, session=lock.session)
        assert await home.coordination.wanted(A) is None
        await home.coordination.order(A, Order("c2", OrderKind.CANCEL))
        assert await home.coordination.wanted(A) == Order("c2", OrderKind.CANCEL)

    @story
    async def test_a_newer_order_replaces_an_older_one_but_a_pause_never_a_cancel(self, home: AgentsHome) -> None:
        lock = await running(home, A)
        await home.coordination.order(A, PAUSE)
        await home.coordination.order(A, CANCEL)
        assert await home.coordination.wanted(A) == CANCEL
        assert await home.coordination.order(A, PAUSE) == Gone(A)
        later = Order("c2", OrderKind.CANCEL, "now", 5)
        await home.coordination.order(A, later)
        assert await home.coordination.wanted(A) == later
        await home.coordination.obeyed(lock, CANCEL)
        assert await home.coordination.wanted(A) == later

    @story
    async def test_cancel_makes_ready_who_waits_or_was_set_aside(self, home: AgentsHome) -> None:
        agents = await in_every_status(home)
        for before, agent in agents.items():
            view = await home.coordination.describe(agent)
            assert view is not None
            answer = await home.coordination.order(agent, CANCEL)
            if before in FINAL:
                assert answer == Gone(agent) and await status(home, agent) is before
                continue
            assert isinstance(answer, Ordered), (before, answer)
            if before is Status.RUNNING:
                assert answer == Ordered(Status.RUNNING, session=view.session)
                continue
            assert answer.status is Status.READY and answer.ticket is not None
            assert await home.coordination.order(agent, CANCEL) == answer
            assert (answer.ticket.fence > view.fence) is (before is not Status.READY)
            after = await home.coordination.describe(agent)
            assert after is not None and (after.status, after.why) == (
                Status.READY,
                "" if before in SET_ASIDE else after.why,
            )
            lock = await home.take(answer.ticket)
            assert (lock.order, lock.attempts) == (CANCEL, 1)
            assert lock.resume_from is not None and lock.resume_from.seq == 1
            assert await home.checkpoints.load(agent, lock.resume_from) is not None
        assert await home.coordination.order(AgentId("nobody"), CANCEL) == Gone(AgentId("nobody"))

    @story
    async def test_a_cancel_stands_while_the_agent_is_set_aside_and_is_over_with_its_end(
        self, home: AgentsHome
    ) -> None:
        lock = await running(home, A)
        await home.coordination.order(A, CANCEL)
        await home.coordination.stop(lock, Status.BLOCKED, "the code changed")
        view = await home.coordination.describe(A)
        assert view is not None and (view.order, view.why) == (CANCEL, "the code changed")
        lock = await home.take(minted(await home.coordination.retry(A, view.fence, Choice.RESUME)))
        assert lock.order == CANCEL
        final = entry(lock, 2, b"", kind="cancelled")
        await home.checkpoints.save(lock, final, oldest=NOTHING)
        await home.coordination.finish(lock, Status.CANCELLED, final)
        view = await home.coordination.describe(A)
        assert view is not None and view.order is None

    # --- pause ----------------------------------------------------------------------------------------------------
    @story
    async def test_a_running_agent_is_paused_by_its_owner(self, home: AgentsHome) -> None:
        lock = await running(home, A)
        assert await home.coordination.order(A, PAUSE) == Ordered(Status.RUNNING, session=lock.session)
        assert await home.coordination.wanted(A) == PAUSE
        assert await home.coordination.stop(lock, Status.PAUSED, PAUSE.why) == Done()
        view = await home.coordination.describe(A)
        assert view is not None and (view.status, view.why, view.order) == (Status.PAUSED, PAUSE.why, None)
        assert await home.coordination.order(A, PAUSE) == Ordered(Status.PAUSED)
        lock = await home.take(minted(await home.coordination.retry(A, view.fence, Choice.RESUME)))
        assert lock.order is None
        assert await home.coordination.order(A, PAUSE) == Ordered(
            Status.RUNNING, session=lock.session
        )  # known by its id
        assert await home.coordination.wanted(A) is None

    @story
    async def test_one_that_nobody_runs_is_paused_at_once_and_goes_on_where_it_stood(self, home: AgentsHome) -> None:
        for before in {Status.READY, Status.WAITING} & set(home.statuses):
            agent = AgentId(f"agent-{before}")
            await IN_STATUS[before](home, agent)
            was = await home.coordination.describe(agent)
            assert was is not None
            for _ in range(2):
                assert await home.coordination.order(agent, PAUSE) == Ordered(Status.PAUSED)
            view = await home.coordination.describe(agent)
            assert view is not None and (view.status, view.why) == (Status.PAUSED, PAUSE.why)
            assert (view.last, view.header, view.order) == (was.last, was.header, None)
            stale = Ticket(agent, was.fence, "q")
            assert await home.coordination.take(stale, new_session_id(), new_nonce()) == Stale(stale)
            assert await home.coordination.deliver(agent, letter(1), limit=ROOMY) == Delivered(True, place=1)
            assert await status(home, agent) is Status.PAUSED
            lock = await home.take(minted(await home.coordination.retry(agent, view.fence, Choice.RESUME)))
            assert lock.resume_from == was.last is not None
            assert await home.checkpoints.load(agent) is not None
            assert await save(home, lock, 2) == Saved(CheckpointId(lock.fence, 2))
            assert len(await home.coordination.mail(agent, 0, limit=9)) == 1

    @story
    async def test_nobody_pauses_what_was_set_aside_otherwise_or_has_ended(self, home: AgentsHome) -> None:
        agents = await in_every_status(home)
        for before, agent in agents.items():
            answer = await home.coordination.order(agent, PAUSE)
            if before in FINAL or before in (Status.BLOCKED, Status.QUARANTINED):
                assert answer == Gone(agent)
                assert await status(home, agent) is before
            else:
                assert isinstance(answer, Ordered)

    # --- terminate ------------------------------------------------------------------------------------------------
    @story
    async def test_terminate_ends_an_agent_in_any_status_at_once(self, home: AgentsHome) -> None:
        agents = await in_every_status(home)
        for before, agent in agents.items():
            was = await home.coordination.describe(agent)
            assert was is not None
            answer = await home.coordination.terminate(agent, "enough")
            view = await home.coordination.describe(agent)
            assert view is not None
            if before in FINAL:
                assert answer == (Done() if before is Status.CANCELLED else Gone(agent))
                assert (view.status, view.header) == (before, was.header)
                continue
            assert answer == Done() == await home.coordination.terminate(agent, "again")
            assert (view.status, view.why, view.start, view.header) == (Status.CANCELLED, "enough", was.start, b"")
            assert view.fence > was.fence and view.birth == was.birth
            assert await home.checkpoints.load(agent) is None
            assert await home.coordination.deliver(agent, letter(1), limit=ROOMY) == Gone(agent)
        assert await home.coordination.terminate(AgentId("nobody"), "enough") == Gone(AgentId("nobody"))

    @story
    async def test_the_owner_of_a_terminated_agent_is_refused(self, home: AgentsHome) -> None:
        lock = await running(home, A)
        await delivered(home, letter(1))
        await home.coordination.order(A, CANCEL)
        await home.coordination.terminate(A, "enough")
        assert await save(home, lock, 2) == Lost(A)
        final = entry(lock, 3, b"", kind="completed", result=1)
        assert await home.coordination.finish(lock, Status.COMPLETED, final) == Gone(A)
        assert await home.coordination.stop(lock, Status.BLOCKED, "late") == Gone(A)
        assert await home.coordination.park(lock, CheckpointId(lock.fence, 1), 0, None) == Gone(A)
        assert await home.coordination.deliver(A, letter(1), limit=ROOMY) == Delivered(fresh=False)
        view = await home.coordination.describe(A)
        assert view is not None and (view.status, view.mail, view.order) == (Status.CANCELLED, 0, None)
        assert await home.coordination.create(start_record(A)) == Created(None, fresh=False)
