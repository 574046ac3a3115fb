"""The part of the coordination kit about `fork`: an agent that begins at a checkpoint."""

from __future__ import annotations

from dataclasses import replace

from playbooks_providers.envelope import Header, Sealer
from playbooks_providers.ids import AgentId, CheckpointId, new_nonce
from playbooks_providers.model import Created, Entry, Exists, Saved, StartRecord, Status
from playbooks_providers.testing.agents_kit import A, created, save
from playbooks_providers.testing.homes import KEY, CoordinatedHome, Kit, start_record, story

B = AgentId("b2")


def forked(agent: AgentId = B, of: str = '["a1",1,"1-7"]') -> tuple[StartRecord, Entry]:
    start = replace(start_record(agent), forked=of)
    header = Header(agent, start.program, 1, 7, new_nonce(), 1_700_000_000_000, "step", "[]", 1, 0)
    return start, Entry(CheckpointId(1, 7), *Sealer(KEY).seal(header, b"state"))


class ForkKit(Kit[CoordinatedHome]):
    @story
    async def test_a_forked_agent_is_ready_to_go_on_from_its_checkpoint(self, home: CoordinatedHome) -> None:
        start, entry = forked()
        answer = await home.coordination.fork(start, entry)
        assert isinstance(answer, Created) and answer.fresh and answer.ticket is not None
        view = await home.coordination.describe(B)
        assert view is not None
        assert (view.status, view.birth, view.last, view.start) == (Status.READY, answer.ticket.fence, entry.id, start)
        lock = await home.take(answer.ticket)
        assert (lock.resume_from, lock.attempts) == (entry.id, 1)
        found = await home.checkpoints.load(B, entry.id)
        assert found is not None and (found.header, found.payload) == (entry.header, entry.payload)
        assert isinstance(await save(home, lock, 8), Saved)
        assert (await home.own(B)).resume_from == CheckpointId(lock.fence, 8)

    @story
    async def test_a_fork_is_made_once_and_never_over_another_agent(self, home: CoordinatedHome) -> None:
        start, entry = forked()
        first = await home.coordination.fork(start, entry)
        assert isinstance(first, Created)
        again = await home.coordination.fork(start, entry)
        assert isinstance(again, Created) and not again.fresh and again.ticket == first.ticket
        assert isinstance(await home.coordination.fork(*forked(of='["a1",1,"1-8"]')), Exists)
        assert isinstance(await home.coordination.create(start_record(B)), Exists)
        await created(home)
        assert isinstance(await home.coordination.fork(*forked(A)), Exists)

    @story
    async def test_a_fork_under_the_id_of_a_deleted_agent_has_a_greater_fence(self, home: CoordinatedHome) -> None:
        before = await home.own(B)
        await home.coordination.delete(B)
        answer = await home.coordination.fork(*forked())
        assert isinstance(answer, Created) and answer.ticket is not None
        assert answer.ticket.fence > before.fence
