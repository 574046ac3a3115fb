"""The conformance kit of `contracts.Checkpoints`: one behaviour a test, on whatever home a subclass opens.

class TestMyCheckpoints(CheckpointsKit):
    @asynccontextmanager
    async def home(self):
        yield ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from playbooks_providers.envelope import Chain, oldest_needed
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Entry, Lost, Saved
from playbooks_providers.testing.homes import Home, Kit, entry, story

A = AgentId("a1")
B = AgentId("b.2_x-Y")
NOTHING = CheckpointId(0, 0)


def ids(entries: Sequence[Entry]) -> list[CheckpointId]:
    return [kept.id for kept in entries]


class CheckpointsKit(Kit[Home]):
    """Subclass it and give it a `home`."""

    # --- saving and reading ---------------------------------------------------------------------------------------
    @story
    async def test_what_was_saved_is_the_newest_and_comes_back_byte_for_byte(self, home: Home) -> None:
        lock = await home.own(A)
        for seq in (1, 2, 3):
            saved = entry(lock, seq, bytes([seq, 0, 10, 13, 255]))
            assert await home.checkpoints.save(lock, saved, oldest=NOTHING) == Saved(saved.id)
            assert await home.checkpoints.load(A) == saved

    @story
    async def test_each_kept_checkpoint_can_be_read_by_its_id(self, home: Home) -> None:
        lock = await home.own(A)
        entries = [entry(lock, seq, b"%d" % seq) for seq in (1, 2, 3)]
        for saved in entries:
            await home.checkpoints.save(lock, saved, oldest=NOTHING)
        assert [await home.checkpoints.load(A, saved.id) for saved in entries] == entries
        assert await home.checkpoints.load(A, CheckpointId(lock.fence, 4)) is None
        assert await home.checkpoints.load(A, CheckpointId(lock.fence - 1, 3)) is None

    @story
    async def test_a_chain_is_read_in_one_go_and_what_is_not_there_is_left_out(self, home: Home) -> None:
        first = await home.own(A)
        entries = [entry(first, seq, b"%d" % seq) for seq in (1, 2, 3)]
        for saved in entries:
            await home.checkpoints.save(first, saved, oldest=NOTHING)
        second = await home.own(A)
        await home.checkpoints.save(second, entry(second, 4), oldest=CheckpointId(first.fence, 2))
        entries.append(entry(second, 4))
        asked = [saved.id for saved in entries]
        strangers = [CheckpointId(second.fence, 2), CheckpointId(first.fence, 4), CheckpointId(second.fence, 5)]
        found = await home.checkpoints.load_many(A, [*asked, *strangers])
        assert sorted(found, key=lambda one: one.id) == entries[1:]
        assert list(await home.checkpoints.load_many(A, [])) == []
        assert list(await home.checkpoints.load_many(AgentId("nobody"), asked)) == []

    @story
    async def test_the_list_is_oldest_first_with_headers_and_without_payloads(self, home: Home) -> None:
        lock = await home.own(A)
        entries = [entry(lock, seq) for seq in (1, 2, 9, 10, 11)]
        for saved in entries:
            await home.checkpoints.save(lock, saved, oldest=NOTHING)
        assert await home.checkpoints.list(A) == [Entry(saved.id, saved.header, b"") for saved in entries]

    @story
    async def test_an_agent_that_nobody_knows_has_nothing(self, home: Home) -> None:
        assert await home.checkpoints.load(A) is None
        assert await home.checkpoints.load(A, CheckpointId(1, 1)) is None
        assert list(await home.checkpoints.list(A)) == []
        await home.checkpoints.delete(A)

    @story
    async def test_a_new_agent_has_no_checkpoint(self, home: Home) -> None:
        lock = await home.own(A)
        assert lock.resume_from is None
        assert await home.checkpoints.load(A) is None
        assert list(await home.checkpoints.list(A)) == []

    @story
    async def test_payloads_may_be_empty_or_large(self, home: Home) -> None:
        lock = await home.own(A)
        for seq, size in enumerate((0, 1, 65_536, 3_000_000), start=1):
            saved = entry(lock, seq, bytes(range(256)) * (size // 256) + b"x" * (size % 256))
            assert await home.checkpoints.save(lock, saved, oldest=NOTHING) == Saved(saved.id)
            assert await home.checkpoints.load(A) == saved

    @story
    async def test_agents_do_not_touch_each_other(self, home: Home) -> None:
        one, other = await home.own(A), await home.own(B)
        await home.checkpoints.save(one, entry(one, 1, b"one"), oldest=NOTHING)
        await home.checkpoints.save(other, entry(other, 1, b"other"), oldest=NOTHING)
        await home.checkpoints.save(other, entry(other, 2, b"other"), oldest=CheckpointId(other.fence, 2))
        await home.checkpoints.delete(B)
        assert (await home.checkpoints.load(A)) == entry(one, 1, b"one")

    @story
    async def test_many_agents_save_at_once(self, home: Home) -> None:
        async def life(number: int) -> None:
            agent = AgentId(f"agent-{number}")
            lock = await home.own(agent)
            for seq in range(1, 11):
                saved = entry(lock, seq, b"%d" % number)
                assert await home.checkpoints.save(lock, saved, oldest=CheckpointId(lock.fence, seq - 2)) == Saved(
                    saved.id
                )
            assert [kept.seq for kept in ids(await home.checkpoints.list(agent))] == [8, 9, 10]

        await asyncio.gather(*(life(number) for number in range(20)))

    # --- order and repetition -------------------------------------------------------------------------------------
    @story
    async def test_a_save_sent_again_after_an_unknown_outcome_is_one_checkpoint(self, home: Home) -> None:
        lock = await home.own(A)
        first, second = entry(lock, 1), entry(lock, 2)
        for saved in (first, first, second, second):
            assert await home.checkpoints.save(lock, saved, oldest=NOTHING) == Saved(saved.id)
        assert ids(await home.checkpoints.list(A)) == [first.id, second.id]

    @story
    async def test_the_number_of_a_checkpoint_only_grows(self, home: Home) -> None:
        lock = await home.own(A)
        await home.checkpoints.save(lock, entry(lock, 5), oldest=NOTHING)
        assert await home.checkpoints.save(lock, entry(lock, 4), oldest=NOTHING) == Lost(A)
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(lock.fence, 5)]

    @story
    async def test_numbers_go_on_across_owners(self, home: Home) -> None:
        first = await home.own(A)
        await home.checkpoints.save(first, entry(first, 1), oldest=NOTHING)
        second = await home.own(A)
        assert second.fence > first.fence
        assert second.resume_from == CheckpointId(first.fence, 1)
        await home.checkpoints.save(second, entry(second, 2), oldest=NOTHING)
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(first.fence, 1), CheckpointId(second.fence, 2)]

    @story
    async def test_a_change_of_owner_is_not_a_checkpoint(self, home: Home) -> None:
        first = await home.own(A)
        saved = entry(first, 1)
        await home.checkpoints.save(first, saved, oldest=NOTHING)
        for _ in range(3):
            lock = await home.own(A)
            assert lock.resume_from == saved.id
        assert await home.checkpoints.load(A) == saved
        assert ids(await home.checkpoints.list(A)) == [saved.id]

    # --- fencing --------------------------------------------------------------------------------------------------
    @story
    async def test_an_earlier_owner_is_refused_from_the_instant_there_is_a_newer_one(self, home: Home) -> None:
        old = await home.own(A)
        await home.checkpoints.save(old, entry(old, 1), oldest=NOTHING)
        await home.own(A)  # which has written nothing yet
        assert await home.checkpoints.save(old, entry(old, 2), oldest=NOTHING) == Lost(A)
        assert await home.checkpoints.save(old, entry(old, 1000), oldest=NOTHING) == Lost(A)
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(old.fence, 1)]

    @story
    async def test_an_earlier_owner_is_refused_after_the_newer_one_has_written_and_trimmed(self, home: Home) -> None:
        old = await home.own(A)
        await home.checkpoints.save(old, entry(old, 1), oldest=NOTHING)
        new = await home.own(A)
        for seq in (2, 3, 4):
            await home.checkpoints.save(new, entry(new, seq), oldest=CheckpointId(new.fence, seq))
        assert await home.checkpoints.save(old, entry(old, 5), oldest=NOTHING) == Lost(A)
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(new.fence, 4)]

    @story
    async def test_an_owner_before_the_first_write_is_refused_too(self, home: Home) -> None:
        old = await home.own(A)
        new = await home.own(A)
        assert await home.checkpoints.save(old, entry(old, 1), oldest=NOTHING) == Lost(A)
        assert await home.checkpoints.load(A) is None
        assert await home.checkpoints.save(new, entry(new, 1), oldest=NOTHING) == Saved(CheckpointId(new.fence, 1))

    @story
    async def test_a_refused_save_forgets_nothing(self, home: Home) -> None:
        old = await home.own(A)
        await home.checkpoints.save(old, entry(old, 1), oldest=NOTHING)
        await home.own(A)
        late = entry(old, 2)
        assert await home.checkpoints.save(old, late, oldest=late.id) == Lost(A)
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(old.fence, 1)]

    @story
    async def test_a_save_sent_again_after_the_lock_was_lost_still_answers_that_it_had_been_saved(
        self, home: Home
    ) -> None:
        old = await home.own(A)
        saved = entry(old, 1)
        await home.checkpoints.save(old, saved, oldest=NOTHING)
        await home.own(A)
        assert await home.checkpoints.save(old, saved, oldest=NOTHING) == Saved(saved.id)
        assert ids(await home.checkpoints.list(A)) == [saved.id]

    # --- forgetting -----------------------------------------------------------------------------------------------
    @story
    async def test_a_save_forgets_what_is_before_the_oldest_still_needed(self, home: Home) -> None:
        lock = await home.own(A)
        for seq in range(1, 13):
            await home.checkpoints.save(lock, entry(lock, seq), oldest=CheckpointId(lock.fence, seq - 2))
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(lock.fence, seq) for seq in (10, 11, 12)]
        assert await home.checkpoints.load(A, CheckpointId(lock.fence, 9)) is None

    @story
    async def test_forgetting_goes_by_the_order_of_ids_across_owners(self, home: Home) -> None:
        old = await home.own(A)
        for seq in (1, 2, 3):
            await home.checkpoints.save(old, entry(old, seq), oldest=NOTHING)
        new = await home.own(A)
        await home.checkpoints.save(new, entry(new, 4), oldest=CheckpointId(old.fence, 3))
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(old.fence, 3), CheckpointId(new.fence, 4)]

    @story
    async def test_what_a_chain_needs_stays_however_old_it_is(self, home: Home) -> None:
        """The rule of `envelope.Chain` over a row of owners: each kept checkpoint finds all of its bases."""
        chain: Chain | None = None
        kept: list[tuple[CheckpointId, CheckpointId]] = []
        needs: dict[CheckpointId, tuple[CheckpointId, ...]] = {}
        lock = await home.own(A)
        for number in range(1, 41):
            if number % 9 == 0:
                lock = await home.own(A)
            id = CheckpointId(lock.fence, number)
            place = chain.base(100) if chain is not None else None
            if chain is not None and place is not None and chain.fits(3, 100):
                chain = chain.with_delta(id, 3, place)
            else:
                chain = Chain((id,), 100, 100)
            needs[id] = chain.ids
            kept = [*kept, (id, chain.whole)][-3:]
            await home.checkpoints.save(lock, entry(lock, number), oldest=oldest_needed(kept))
            for one, _ in kept:
                assert len(await home.checkpoints.load_many(A, needs[one])) == len(needs[one])

    @story
    async def test_cleanup_forgets_for_its_owner_and_for_nobody_before(self, home: Home) -> None:
        old = await home.own(A)
        for seq in (1, 2, 3):
            await home.checkpoints.save(old, entry(old, seq), oldest=NOTHING)
        await home.checkpoints.cleanup(old, oldest=CheckpointId(old.fence, 2))
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(old.fence, 2), CheckpointId(old.fence, 3)]
        await home.own(A)
        await home.checkpoints.cleanup(old, oldest=CheckpointId(old.fence, 3))
        assert ids(await home.checkpoints.list(A)) == [CheckpointId(old.fence, 2), CheckpointId(old.fence, 3)]

    @story
    async def test_delete_forgets_all_and_may_be_repeated(self, home: Home) -> None:
        lock = await home.own(A)
        for seq in (1, 2):
            await home.checkpoints.save(lock, entry(lock, seq), oldest=NOTHING)
        for _ in range(2):
            await home.checkpoints.delete(A)
            assert await home.checkpoints.load(A) is None
            assert list(await home.checkpoints.list(A)) == []

    # --- sources --------------------------------------------------------------------------------------------------
    @story
    async def test_a_source_is_read_under_the_fingerprint_that_it_was_kept_under(self, home: Home) -> None:
        many = {f"{number:016x}": f'{{"source":"async def f{number}():\\n  ünï"}}' for number in range(450)}
        for _ in range(2):
            await home.checkpoints.keep_sources(many)
        await home.checkpoints.keep_sources({})
        assert await home.checkpoints.source("0" * 15 + "7") == many["0" * 15 + "7"]
        assert await home.checkpoints.source(f"{449:016x}") == many[f"{449:016x}"]
        assert await home.checkpoints.source("f" * 16) is None
