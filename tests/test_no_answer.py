"""Who asks an agent that ends without an answer hears of it, once, however it ends, and whoever is killed when."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from playbooks_providers.envelope import Body, Sealer, seal_letter
from playbooks_providers.ids import AgentId
from playbooks_providers.memory import MemoryCheckpoints
from playbooks_providers.model import Choice, Minted, Order, OrderKind, Status
from playbooks_providers.testing import eventually
from playbooks_worker.engine.talk import mailbox as mailbox_module
from playbooks_worker.engine.talk.mailbox import Mailbox, Owed, Owes, Received
from playbooks_worker.host.answers import answered
from playbooks_worker.host.ending import begins_again, terminated
from playbooks_worker.host.giving import give

sys.path.insert(0, str(Path(__file__).parent / "programs"))
sys.path.insert(0, str(Path(__file__).parent))
from perishing import PARKING, WHEN, Fuse, World, at_every_call, killed  # noqa: E402

TERMINATE = Order("t1", OrderKind.TERMINATE, "enough")
OTHER = AgentId("other")
IN_ALL = 200


@PARKING
@WHEN
@pytest.mark.parametrize("how", ["unread", "read", "fails", "replies"])
def test_an_agent_that_ends_answers_or_says_that_it_does_not_whoever_dies_when(
    how: str, park_after_s: float | None, after: bool
) -> None:
    async def scenario(world: World, fuse: Fuse) -> None:
        await world.submit("asks_one_that_ends", how, 1)
        first, second = await killed(world, fuse, world.result())
        known = {"replies": ["yes"], "unread": ["NoAnswer", "NoSuchAgent"]}
        assert first in known.get(how, ["NoAnswer"])
        assert second in ["NoAnswer", "NoSuchAgent"]

    assert at_every_call(scenario, park_after_s, after=after, in_all=IN_ALL) > 10


@PARKING
@WHEN
@pytest.mark.parametrize("told", [True, False], ids=["by its worker alone", "by who ordered it, too"])
def test_an_agent_that_is_terminated_tells_who_asked_it_whoever_dies_when(
    park_after_s: float | None, after: bool, told: bool
) -> None:
    async def scenario(world: World, fuse: Fuse) -> None:
        await world.submit("asks_one_that_ends", "waits")
        ended = asyncio.ensure_future(killed(world, fuse, terminates(world, told)))
        assert await ended == ["NoAnswer"]
        assert await world.view("other") is not None
        assert (await world.becomes(Status.CANCELLED, name="other")).why == "enough"

    assert at_every_call(scenario, park_after_s, after=after, in_all=IN_ALL) > 10


async def terminates(world: World, also_here: bool) -> Any:
    async def asked() -> bool:
        for session in await world.coordination.ownerless():  # handed to a process when it was dead already
            await world.coordination.recover(session)
        view = await world.view("other")
        return view is not None and view.last is not None and view.last.seq >= 1

    await eventually(asked, 20.0, "the other one to have read the question")
    view = await world.view("other")
    assert view is not None
    await give(world.coordination, OTHER, TERMINATE)
    if also_here:
        checkpoints = MemoryCheckpoints(world.store)
        await terminated(world.coordination, checkpoints, Sealer("k" * 32), view.start, view.birth, "enough")
    return await world.result()


@PARKING
def test_nobody_needs_to_hold_who_is_terminated(park_after_s: float | None) -> None:
    async def main() -> None:
        world = World(park_after_s)
        try:
            await world.worker("w0")
            await world.submit("asks_one_that_ends", "waits")
            assert await terminates(world, also_here=True) == ["NoAnswer"]
        finally:
            await world.close()

    asyncio.run(main())


def test_who_gave_up_is_owed_nothing_and_who_asked_again_is() -> None:
    async def main() -> None:
        world = World(None)
        try:
            await world.worker("w0")
            await world.submit("gives_up")

            async def asked_again() -> bool:
                view = await world.view()
                return view is not None and view.last is not None and view.last.seq >= 4

            await eventually(asked_again, 20.0, "the second question")
            view = await world.view("other")
            assert view is not None
            await give(world.coordination, OTHER, TERMINATE)
            assert await world.result() == ["other", "cancelled"]
        finally:
            await world.close()

    asyncio.run(main())


def test_who_asked_one_that_is_begun_again_is_told() -> None:
    async def main() -> None:
        world = World(0.0)
        try:
            await world.worker("w0")
            await world.submit("asks_one_that_ends", "waits")
            await world.becomes(Status.WAITING)
            await world.becomes(Status.WAITING, name="other")
            view = await world.view("other")
            assert view is not None
            checkpoints, sealer = MemoryCheckpoints(world.store), Sealer("k" * 32)
            paused = Order("p", OrderKind.PAUSE)
            await give(world.coordination, OTHER, paused)
            view = await world.becomes(Status.PAUSED, name="other")
            late = seal_letter(sealer, OTHER, "late", 7, 1, Body("question", "late's", "may I?"))
            places = []

            async def again(read):
                if not places:  # a question that is accepted when the mail has just been looked through
                    await world.coordination.deliver(OTHER, late, limit=9, birth=view.birth)
                places.append(read)
                return await world.coordination.retry(OTHER, view.fence, Choice.RESTART, read=read)

            told = []
            whole = world.coordination.deliver

            async def deliver(receiver, letter, **options):
                told.append(receiver)
                return await whole(receiver, letter, **options)

            world.coordination.deliver = deliver
            answer = await begins_again(world.coordination, checkpoints, sealer, OTHER, view.birth, again)
            assert isinstance(answer, Minted) and places[1] > places[0]
            assert told.index("late") > told.index("boss")
            assert await world.result() == ["NoAnswer"]
        finally:
            await world.close()

    asyncio.run(main())


# --- what an agent remembers of who asked it ----------------------------------------------------------------------------
def asked(*ids: str) -> Mailbox:
    box = Mailbox()
    for place, id in enumerate(ids, 1):
        box.came(place, Received("asker", 7, "question", id, "?"))
    return box


def owed(box: Mailbox) -> list[str]:
    return [one.id for one in Mailbox.of(box.plain()).owes().questions]


def test_what_was_answered_or_withdrawn_is_not_owed() -> None:
    box = asked("a", "b", "c")
    assert owed(box) == ["a", "b", "c"]
    box.post("asker", 7, "reply", "a", "yes")
    box.accepted(box.outbox[0])
    box.came(4, Received("asker", 7, "withdrawn", "b", None))
    assert owed(box) == ["c"] and [letter.id for letter in box.letters] == ["a", "b", "c"]


def test_an_answer_that_no_checkpoint_has_promised_is_owed_still() -> None:
    box = asked("a")
    box.post("asker", 7, "reply", "a", "yes")
    assert box.owes() == Owes(1, (Owed("a", "asker", 7),))


def test_of_too_many_questions_the_oldest_is_told_that_it_has_no_answer() -> None:
    box = asked(*map(str, range(1001)))
    assert len(box.asked) == 1000 and "0" not in box.asked
    (told,) = box.outbox
    assert (told.receiver, told.birth, told.kind, told.id) == ("asker", 7, "unanswered", "0")


def test_a_fork_owes_nobody_an_answer() -> None:
    box = asked("a")
    box.fork("first")
    assert owed(box) == []


def test_a_child_whose_end_the_agent_has_forgotten_is_looked_up_in_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world = World(None)
        try:
            await world.worker("w0")
            await world.submit("forgets_its_children")
            letter = seal_letter(Sealer("k" * 32), AgentId("boss"), "test", 1, 1, Body("message", "", "go on"))
            home: Any = world.coordination
            await answered(home, AgentId("boss"), letter)
            assert await world.result() == [9, "failed", "ValueError", "no"]
        finally:
            await world.close()

    monkeypatch.setattr(mailbox_module, "_MOST_ENDED", 0)
    asyncio.run(main())
