"""Orders that cross: people change their minds while an owner is about to obey, or dies. A part of the coordination kit.

Every sequence of orders, with every number of the owner's calls (or its death) between them. A test that wants longer ones
calls `crossed` with some of `crossings`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.letters import Ordered
from playbooks_providers.model import (
    FINAL,
    Choice,
    Created,
    Done,
    Gone,
    Lock,
    Minted,
    Order,
    OrderKind,
    Saved,
    Status,
    Unwanted,
)
from playbooks_providers.testing.agents_kit import A, minted, save
from playbooks_providers.testing.homes import AgentsHome, Kit, story
from playbooks_providers.testing.orders_kit import CANCEL, IN_STATUS, PAUSE, running


class Act(StrEnum):
    """What a person does."""

    PAUSE = "pause"
    UNPAUSE = "unpause"
    CANCEL = "cancel"
    TERMINATE = "terminate"


DIES = -1
"""Instead of a number of the owner's calls: it dies, and another one has the agent."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """What people do to an agent that is *begins*; so many calls of its owner (or `DIES`) come behind each act."""

    begins: Status
    acts: tuple[Act, ...]
    calls: tuple[int, ...]


def crossings(acts: int, begins: Sequence[Status]) -> Iterator[Crossing]:
    """All of so many acts."""
    for status in begins:
        for done in itertools.product(Act, repeat=acts):
            for calls in itertools.product((0, 1, 2, DIES), repeat=acts):
                yield Crossing(status, done, calls)


@dataclass(slots=True)
class _Owner:
    """Obeys as an executor does, one call at a time."""

    home: AgentsHome
    agent: AgentId
    lock: Lock | None = None
    told: Order | None = None
    seq: int = 9
    saved: bool = False
    unwanted: bool = False
    raised: list[str] = field(default_factory=list)

    async def call(self) -> bool:
        """The next one. False: it has nothing to do."""
        coordination = self.home.coordination
        if self.lock is None:
            return await self._take()
        if self.told is None:
            self.told = await coordination.wanted(self.agent)
            return self.told is not None
        if self.unwanted:
            minted(await coordination.release(self.lock, "it is to be paused no longer"))
            self._lets_go()
        elif self.told.kind is OrderKind.PAUSE:
            answer = await coordination.stop(self.lock, Status.PAUSED, "what it was told first")
            self.unwanted = isinstance(answer, Unwanted)
            if not self.unwanted:
                self._lets_go()
        elif self.told.kind is OrderKind.TERMINATE:
            await coordination.terminate(self.agent, self.told.why)
            self._lets_go()
        elif not self.saved:
            self.seq += 1
            self.saved = isinstance(await save(self.home, self.lock, self.seq), Saved)
            if not self.saved:
                await coordination.release(self.lock, "lost")
                self._lets_go()
        else:
            await coordination.obeyed(self.lock, self.told)
            self.raised.append(self.told.id)
            self.saved, self.told = False, None
        return True

    async def dies(self) -> None:
        view = await self.home.coordination.describe(self.agent)
        if self.lock is not None and view is not None and view.status is Status.RUNNING:
            self._lets_go()
            self._takes(await self.home.own(self.agent))

    async def _take(self) -> bool:
        view = await self.home.coordination.describe(self.agent)
        assert view is not None
        if view.status is Status.READY:
            again = await self.home.coordination.create(view.start)  # whoever asks is told its ticket
            assert isinstance(again, Created) and again.ticket is not None, again
            self._takes(await self.home.take(again.ticket))
        return view.status is Status.READY

    def _takes(self, lock: Lock) -> None:
        self.lock, self.told = lock, lock.order

    def _lets_go(self) -> None:
        self.lock, self.told, self.saved, self.unwanted = None, None, False, False


@dataclass(slots=True)
class _People:
    """They order, and remember what they were told would come of it."""

    owner: _Owner
    comes: Status
    cancel: str = ""
    acts: int = 0

    async def act(self, act: Act) -> None:
        if act is Act.UNPAUSE:
            assert await self._unpause() is (self.comes is Status.PAUSED)
            if self.comes is Status.PAUSED:
                self.comes = Status.RUNNING
            return
        self.acts += 1
        order, agent = Order(f"{act}-{self.acts}", OrderKind(act.value), f"{act}, {self.acts}"), self.owner.agent
        answer = await self.owner.home.coordination.order(agent, order)
        again = await self.owner.home.coordination.order(agent, order)
        assert type(again) is type(answer), "an answer lost"
        cancel_stands = self.cancel != "" and self.cancel not in self.owner.raised
        refused = self.comes is Status.CANCELLED or (act is Act.PAUSE and cancel_stands)
        if act is Act.TERMINATE:
            self.comes = Status.CANCELLED
        elif refused:
            assert isinstance(answer, Gone), (order, answer)
        else:
            assert isinstance(answer, Ordered), (order, answer)
            self.comes = Status.PAUSED if act is Act.PAUSE else Status.RUNNING
            self.cancel = order.id if act is Act.CANCEL else self.cancel

    async def _unpause(self) -> bool:
        """What the command does, while the owner goes on."""
        agent, coordination = self.owner.agent, self.owner.home.coordination
        while True:
            view = await coordination.describe(agent)
            assert view is not None
            await self.owner.call()
            if view.status is Status.PAUSED:
                if isinstance(await coordination.retry(agent, view.fence, Choice.RESUME), Minted):
                    return True
            elif view.order is None or view.order.kind is not OrderKind.PAUSE or view.status in FINAL:
                return False
            elif await coordination.withdraw(agent, view.order) == Done():
                assert await coordination.withdraw(agent, view.order) == Done(), "an answer lost"
                return True


async def crossed(home: AgentsHome, agent: AgentId, crossing: Crossing) -> None:
    """Raises `AssertionError` when *agent* comes to another end than the one that people were told."""
    lock = await IN_STATUS[crossing.begins](home, agent)
    owner = _Owner(home, agent, lock if isinstance(lock, Lock) else None)
    waits = crossing.begins is Status.WAITING
    people = _People(owner, Status.WAITING if waits else Status.RUNNING)
    for act, calls in zip(crossing.acts, crossing.calls, strict=True):
        await people.act(act)
        if calls == DIES:
            await owner.dies()
        for _ in range(calls):
            await owner.call()
        view = await home.coordination.describe(agent)
        assert view is not None
        assert view.status is not Status.PAUSED or view.order is None, "paused, and an order stands"
    for _ in range(99):
        if not await owner.call():
            break
    view = await home.coordination.describe(agent)
    assert view is not None
    assert (view.status, view.order) == (people.comes, None)
    assert people.cancel == "" or people.cancel in owner.raised or people.comes is Status.CANCELLED


class CrossingKit(Kit[AgentsHome]):
    """`Orders.order` and `withdraw`, and `Agents.stop`. ``every``: of the crossings, where the home is slow."""

    every = 1

    @story
    async def test_orders_that_cross_end_as_people_were_told(self, home: AgentsHome) -> None:
        begins = [status for status in (Status.RUNNING, Status.READY, Status.WAITING) if status in home.statuses]
        chosen = [*crossings(1, begins), *crossings(2, begins[:1])][:: self.every]
        for number, crossing in enumerate(chosen):
            try:
                await crossed(home, AgentId(f"agent-{number}"), crossing)
            except AssertionError as error:
                raise AssertionError(f"{crossing}: {error}") from error

    @story
    async def test_a_pause_that_nobody_wants_any_more_is_not_obeyed(self, home: AgentsHome) -> None:
        lock = await running(home, A)
        await home.coordination.order(A, PAUSE)
        assert await home.coordination.withdraw(A, CANCEL) == Gone(A)
        for _ in range(2):
            assert await home.coordination.withdraw(A, PAUSE) == Done()
        assert await home.coordination.wanted(A) is None
        assert await home.coordination.order(A, PAUSE) == Ordered(
            Status.RUNNING, session=lock.session
        )  # known by its id
        assert await home.coordination.wanted(A) is None
        for _ in range(2):
            assert await home.coordination.stop(lock, Status.PAUSED, "late") == Unwanted(A)
        assert await save(home, lock, 2) == Saved(CheckpointId(lock.fence, 2))  # nothing has changed

    @story
    async def test_who_is_paused_already_or_has_ended_is_told_of_by_withdraw(self, home: AgentsHome) -> None:
        lock = await running(home, A)
        await home.coordination.order(A, PAUSE)
        later = Order("p2", OrderKind.PAUSE, "the newer one says why")
        await home.coordination.order(A, later)
        assert await home.coordination.stop(lock, Status.PAUSED, PAUSE.why) == Done()
        view = await home.coordination.describe(A)
        assert view is not None and view.why == later.why
        assert await home.coordination.withdraw(A, later) == Gone(A)
        await home.coordination.terminate(A, "enough")
        assert await home.coordination.withdraw(A, later) == Gone(A)
        assert await home.coordination.withdraw(AgentId("nobody"), later) == Gone(AgentId("nobody"))

    @story
    async def test_one_that_is_withdrawn_while_nobody_runs_the_agent_is_not_given_to_the_next_owner(
        self, home: AgentsHome
    ) -> None:
        await running(home, A)
        await home.coordination.order(A, PAUSE)
        assert (await home.own(A)).order == PAUSE
        assert await home.coordination.withdraw(A, PAUSE) == Done()
        assert (await home.own(A)).order is None
