"""A torn, empty or garbage file hides nothing, and a full disk loses nothing."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from playbooks_providers.envelope import Sealer
from playbooks_providers.errors import BadCheckpoint, StorageFailed, StorageFull
from playbooks_providers.filesystem import FilesystemAgents, FilesystemCheckpoints, FilesystemStore
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Lock, Saved, Status
from playbooks_providers.testing import entry, eventually, start_record
from playbooks_providers.testing.homes import KEY

A = AgentId("a1")
NOTHING = CheckpointId(0, 0)


def opened(root: Path) -> tuple[FilesystemCheckpoints, FilesystemAgents]:
    """As another process would see the folder."""
    store = FilesystemStore(root)
    checkpoints = FilesystemCheckpoints(store, retry_s=0.01)
    return checkpoints, FilesystemAgents(store, checkpoints)


async def three_saved(root: Path) -> Lock:
    """Checkpoints 1 to 3, and then the process died."""
    checkpoints, agents = opened(root)
    await agents.create(start_record(A))
    lock = await agents.lock(A)
    for number in (1, 2, 3):
        await checkpoints.save(lock, entry(lock, number, b"state %d" % number), oldest=NOTHING)
    await agents.release(lock, "test")
    return lock


def file(root: Path, number: int) -> Path:
    return root / A / f"{A}_ckpt_{number}.pkl"


def cut(length: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, length)


def flip(place: int) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[place] ^= 0xFF
        path.write_bytes(data)

    return harm


def become(content: Callable[[Path], bytes]) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        path.write_bytes(content(path))

    return harm


HARM: dict[str, Callable[[Path], None]] = {
    "empty": cut(0),
    "cut in the magic": cut(5),
    "cut in the numbers": cut(20),
    "cut in the header": cut(100),
    "cut in the payload": lambda path: os.truncate(path, path.stat().st_size - 3),
    "garbage": become(lambda path: os.urandom(500)),
    "longer than it says": become(lambda path: path.read_bytes() + b"x"),
    "a flipped fence": flip(8),
    "a flipped length": flip(30),
    "a flipped byte of the header": flip(100),
    "a flipped byte of the payload": flip(-1),
    "another checkpoint's bytes": become(lambda path: file(path.parent.parent, 1).read_bytes()),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_a_damaged_newest_checkpoint_is_found_out_and_the_one_before_opens(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    async def main() -> None:
        await three_saved(tmp_path)
        harm(file(tmp_path, 3))
        checkpoints, agents = opened(tmp_path)
        lock = await agents.lock(A)
        kept = [kept.id for kept in await checkpoints.list(A)]
        assert [id.seq for id in kept] == [1, 2, 3] and kept == sorted(kept)
        assert lock.resume_from == kept[-1]
        newest = await checkpoints.load(A)
        assert newest is not None and newest == await checkpoints.load(A, kept[-1])
        sealer = Sealer(KEY)
        with pytest.raises(BadCheckpoint):
            sealer.open(newest, A)
        before = await checkpoints.load(A, kept[-2])
        assert before is not None and sealer.open(before, A).payload == b"state 2"

    asyncio.run(main())


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_the_first_checkpoint_of_a_new_owner_may_be_the_damaged_one(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    async def main() -> None:
        await three_saved(tmp_path)
        checkpoints, agents = opened(tmp_path)
        lock = await agents.lock(A)
        await checkpoints.save(lock, entry(lock, 4), oldest=NOTHING)
        await agents.release(lock, "test")
        harm(file(tmp_path, 4))
        checkpoints, agents = opened(tmp_path)
        resume_from = (await agents.lock(A)).resume_from
        assert resume_from is not None and resume_from.seq == 4
        damaged = await checkpoints.load(A, resume_from)
        assert damaged is not None and damaged.id == resume_from
        with pytest.raises(BadCheckpoint):
            Sealer(KEY).open(damaged, A)

    asyncio.run(main())


def test_one_that_is_not_whole_is_listed_with_an_empty_header(tmp_path: Path) -> None:
    async def main() -> None:
        await three_saved(tmp_path)
        cut(60)(file(tmp_path, 2))
        checkpoints, _ = opened(tmp_path)
        assert [bool(kept.header) for kept in await checkpoints.list(A)] == [True, False, True]

    asyncio.run(main())


def test_an_agent_goes_on_from_an_older_checkpoint_and_counts_on(tmp_path: Path) -> None:
    async def main() -> None:
        await three_saved(tmp_path)
        cut(0)(file(tmp_path, 3))
        checkpoints, agents = opened(tmp_path)
        lock = await agents.lock(A, at=2)
        assert lock.resume_from is not None and lock.resume_from.seq == 2
        saved = entry(lock, 4, b"state 4")
        assert await checkpoints.save(lock, saved, oldest=lock.resume_from) == Saved(saved.id)
        assert await checkpoints.load(A) == saved
        assert [kept.id.seq for kept in await checkpoints.list(A)] == [2, 3, 4]

    asyncio.run(main())


def test_what_a_killed_writer_left_is_removed_by_the_next_owner(tmp_path: Path) -> None:
    async def main() -> None:
        await three_saved(tmp_path)
        (tmp_path / A / f".{A}_ckpt_4.pkl.0123abcd.tmp").write_bytes(b"half")
        checkpoints, agents = opened(tmp_path)
        assert len(await checkpoints.list(A)) == 3
        await agents.lock(A)
        assert not list((tmp_path / A).glob("*.tmp")) and not list((tmp_path / A).glob(".*.tmp"))

    asyncio.run(main())


def test_strange_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        await three_saved(tmp_path)
        for name in ("notes.txt", f"{A}_ckpt_x.pkl", f"{A}_ckpt_-1.pkl", "other_ckpt_9.pkl", f"{A}_ckpt_9.pkl.bak"):
            (tmp_path / A / name).write_text("hello")
        (tmp_path / "not an agent").mkdir()
        (tmp_path / "empty-folder").mkdir()
        (tmp_path / ".signing_key").write_text("x")
        checkpoints, agents = opened(tmp_path)
        assert [kept.id.seq for kept in await checkpoints.list(A)] == [1, 2, 3]
        assert await agents.agents() == [A]
        await checkpoints.delete(A)
        assert (tmp_path / A / "notes.txt").exists()

    asyncio.run(main())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_save_waits_for_room_on_a_full_disk(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = os.write, 0

    def full(fd: int, data: bytes) -> int:
        nonlocal refusals
        if full_now and len(data) > 10:
            refusals += 1
            real(fd, bytes(data)[:10])  # some of it still found room
            raise OSError(number, os.strerror(number))
        return real(fd, data)

    full_now = False

    async def main() -> None:
        nonlocal full_now
        checkpoints, agents = opened(tmp_path)
        await agents.create(start_record(A))
        lock = await agents.lock(A)
        first, second = entry(lock, 1), entry(lock, 2)
        await checkpoints.save(lock, first, oldest=NOTHING)
        monkeypatch.setattr(os, "write", full)
        full_now = True
        saving = asyncio.create_task(checkpoints.save(lock, second, oldest=second.id))
        await eventually(lambda: refusals >= 3, 20, "some refusals")
        assert not saving.done()
        assert await checkpoints.load(A) == first
        full_now = False
        assert await saving == Saved(second.id)
        assert await checkpoints.load(A) == second
        assert not list((tmp_path / A).glob(".*.tmp"))

    asyncio.run(main())


def test_a_full_disk_is_a_storage_full_for_whoever_starts_an_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def main() -> None:
        _, agents = opened(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(StorageFull, match="no room left"):
                await agents.create(start_record(A))
        assert list(await agents.agents()) == []
        await agents.create(start_record(A))
        lock = await agents.lock(A)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(StorageFull):
                await agents.stop(lock, Status.BLOCKED, "why")
        view = await agents.describe(A)
        assert view is not None and view.status is Status.RUNNING

    asyncio.run(main())


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "root").write_text("a file")
        checkpoints, agents = opened(tmp_path / "root")
        for request in (agents.create(start_record(A)), agents.agents()):
            with pytest.raises(StorageFailed) as caught:
                await request
            assert "\n" not in str(caught.value) and "--storage-path" in str(caught.value)
        assert await checkpoints.load(A) is None

    asyncio.run(main())


def test_a_damaged_start_record_names_the_file_and_harms_no_other_agent(tmp_path: Path) -> None:
    async def main() -> None:
        await three_saved(tmp_path)
        _, agents = opened(tmp_path)
        await agents.create(start_record("b1"))
        (tmp_path / "b1" / "start.json").write_text("{")
        with pytest.raises(StorageFailed, match=r"start\.json is not a start record"):
            await agents.describe(AgentId("b1"))
        assert await agents.newest("program") == A

    asyncio.run(main())
