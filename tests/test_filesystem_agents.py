"""The agents of a folder: started once, owned by one process, and described by what lies there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from playbooks_providers.envelope import Sealer
from playbooks_providers.errors import AgentLocked, InvalidAgentId, UnknownAgent, UnknownCheckpoint
from playbooks_providers.filesystem import FilesystemAgents, FilesystemCheckpoints, FilesystemStore
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Created, Done, Exists, Gone, Lost, Saved, Status, Ticket
from playbooks_providers.testing import entry, eventually_blocking, start_record
from playbooks_providers.testing.homes import KEY

A = AgentId("a1")
NOTHING = CheckpointId(0, 0)

HOLDER = """
import asyncio, sys
from pathlib import Path
from playbooks_providers.filesystem import *
from playbooks_providers.ids import AgentId
store = FilesystemStore(Path(sys.argv[1]))
asyncio.run(FilesystemAgents(store, FilesystemCheckpoints(store)).lock(AgentId("a1")))
print("held", flush=True)
sys.stdin.read()
"""

WRITER = """
import asyncio, sys
from pathlib import Path
from playbooks_providers.filesystem import *
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Saved
from playbooks_providers.testing import entry

async def main():
    store = FilesystemStore(Path(sys.argv[1]))
    checkpoints = FilesystemCheckpoints(store)
    lock = await FilesystemAgents(store, checkpoints).lock(AgentId("a1"))
    seq = lock.resume_from.seq if lock.resume_from else 0
    while True:
        seq += 1
        payload = seq.to_bytes(8, "big") * (1 + seq % 7 * 3000)
        answer = await checkpoints.save(lock, entry(lock, seq, payload), oldest=CheckpointId(lock.fence, seq - 2))
        assert isinstance(answer, Saved), answer
        print(lock.fence, seq, flush=True)  # acknowledged

asyncio.run(main())
"""


def opened(root: Path) -> tuple[FilesystemCheckpoints, FilesystemAgents]:
    """As another process would see the folder."""
    store = FilesystemStore(root)
    checkpoints = FilesystemCheckpoints(store)
    return checkpoints, FilesystemAgents(store, checkpoints)


def python(code: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


# --- starting -------------------------------------------------------------------------------------------------------
def test_an_agent_is_started_once(tmp_path: Path) -> None:
    async def main() -> None:
        _, agents = opened(tmp_path / "deep" / "root")
        start = start_record(A, topic="ü")
        assert await agents.create(start) == Created(Ticket(A, 0, "q"), fresh=True)
        _, agents = opened(tmp_path / "deep" / "root")
        assert await agents.create(replace(start, created_ms=5)) == Created(Ticket(A, 0, "q"), fresh=False)
        assert await agents.create(start_record(A)) == Exists(A, Status.READY, start)
        view = await agents.describe(A)
        assert view is not None
        assert (view.status, view.start, view.last, view.header) == (Status.READY, start, None, b"")
        assert await agents.agents() == [A]

    asyncio.run(main())


def test_an_agent_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    async def main() -> None:
        _, agents = opened(tmp_path / "nowhere")
        assert list(await agents.agents()) == []
        assert await agents.describe(A) is None
        assert await agents.newest("program") is None
        with pytest.raises(UnknownAgent):
            await agents.lock(A)
        with pytest.raises(InvalidAgentId):
            await agents.describe(AgentId("../a1"))
        assert not (tmp_path / "nowhere").exists()

    asyncio.run(main())


# --- owning ---------------------------------------------------------------------------------------------------------
def test_two_owners_at_once_are_refused_and_the_error_names_the_process(tmp_path: Path) -> None:
    async def main() -> None:
        _, agents = opened(tmp_path)
        await agents.create(start_record(A))
        holder = python(HOLDER, tmp_path)
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(AgentLocked, match=f"running in process {holder.pid} on "):
            await agents.lock(A)
        view = await agents.describe(A)
        assert view is not None and view.status is Status.RUNNING and str(holder.pid) in view.why
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
        view = await agents.describe(A)
        assert view is not None and view.status is Status.READY
        assert (await agents.lock(A)).fence == 2

    asyncio.run(main())


def test_an_owner_in_the_same_process_excludes_others_too(tmp_path: Path) -> None:
    async def main() -> None:
        _, agents = opened(tmp_path)
        await agents.create(start_record(A))
        lock = await agents.lock(A)
        for other in (agents, opened(tmp_path)[1]):
            with pytest.raises(AgentLocked, match=f"process {os.getpid()} "):
                await other.lock(A)
        await agents.release(lock, "done")
        assert await agents.release(lock, "again") == Gone(A)
        await opened(tmp_path)[1].lock(A)

    asyncio.run(main())


def test_looking_at_an_agent_does_not_keep_anybody_from_owning_it(tmp_path: Path) -> None:
    async def main() -> None:
        _, agents = opened(tmp_path)
        await agents.create(start_record(A))
        await agents.release(await agents.lock(A), "test")
        lookers = [
            asyncio.to_thread(lambda: [FilesystemStore(tmp_path).holder(A) for _ in range(300)]) for _ in range(3)
        ]

        async def owns() -> None:
            for _ in range(20):
                await agents.release(await agents.lock(A), "test")

        await asyncio.gather(owns(), *lookers)

    asyncio.run(main())


def test_a_forked_child_does_not_keep_its_parents_agents(tmp_path: Path) -> None:
    async def main() -> None:
        _, agents = opened(tmp_path)
        await agents.create(start_record(A))

    asyncio.run(main())
    code = """
import os
""" + HOLDER.replace('print("held"', "child = os.fork()\nif child == 0: sys.stdin.read(); os._exit(0)\nprint(child")
    parent = python(code, tmp_path)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    try:
        os.kill(child, 0)  # it is there, and waits
        store = FilesystemStore(tmp_path)
        eventually_blocking(lambda: store.holder(A) is None, 10, "the parent's lock to be free")
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate()


def test_a_fence_outlives_its_process_and_grows_with_each_owner(tmp_path: Path) -> None:
    async def main() -> None:
        checkpoints, agents = opened(tmp_path)
        await agents.create(start_record(A))
        old = await agents.lock(A)
        await checkpoints.save(old, entry(old, 1), oldest=NOTHING)
        await agents.release(old, "died")
        new_checkpoints, new_agents = opened(tmp_path)
        new = await new_agents.lock(A)
        assert (old.fence, new.fence) == (1, 2)
        assert await checkpoints.save(old, entry(old, 2), oldest=NOTHING) == Lost(A)
        assert await checkpoints.save(old, entry(old, 1), oldest=NOTHING) == Saved(CheckpointId(1, 1))
        assert await new_checkpoints.save(new, entry(new, 2), oldest=NOTHING) == Saved(CheckpointId(2, 2))

    asyncio.run(main())


def test_an_owner_whose_folder_was_removed_writes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        checkpoints, agents = opened(tmp_path)
        await agents.create(start_record(A))
        lock = await agents.lock(A)
        for path in (tmp_path / A).iterdir():
            path.unlink()
        (tmp_path / A).rmdir()
        assert await checkpoints.save(lock, entry(lock, 1), oldest=NOTHING) == Lost(A)

    asyncio.run(main())


def test_a_lost_owner_file_does_not_bring_an_old_fence_back(tmp_path: Path) -> None:
    async def main() -> None:
        checkpoints, agents = opened(tmp_path)
        await agents.create(start_record(A))
        for number in (1, 2, 3):
            lock = await agents.lock(A)
            await checkpoints.save(lock, entry(lock, number), oldest=NOTHING)
            await agents.release(lock, "test")
        for harm in ("torn", "gone"):
            (tmp_path / A / "owner.json").write_text("{")
            if harm == "gone":
                (tmp_path / A / "owner.json").unlink()
            lock = await agents.lock(A)
            assert lock.fence == 4
            await agents.release(lock, "test")

    asyncio.run(main())


def test_attempts_count_owners_since_something_was_written(tmp_path: Path) -> None:
    async def main() -> None:
        checkpoints, agents = opened(tmp_path)
        await agents.create(start_record(A))
        seen = []
        for write in (False, False, True, False, False):
            lock = await agents.lock(A)
            seen.append(lock.attempts)
            if write:
                await checkpoints.save(lock, entry(lock, 1), oldest=NOTHING)
            await agents.release(lock, "test")
        assert seen == [1, 2, 3, 1, 2]

    asyncio.run(main())


def test_an_unknown_checkpoint_names_those_that_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        checkpoints, agents = opened(tmp_path)
        await agents.create(start_record(A))
        with pytest.raises(UnknownCheckpoint, match="has no checkpoint now"):
            await agents.lock(A, at=1)
        lock = await agents.lock(A)
        for number in (1, 2):
            await checkpoints.save(lock, entry(lock, number), oldest=NOTHING)
        await agents.release(lock, "test")
        with pytest.raises(UnknownCheckpoint, match="no checkpoint 7: kept are 1, 2"):
            await agents.lock(A, at=7)
        assert (await agents.lock(A, at=1)).resume_from == CheckpointId(lock.fence, 1)

    asyncio.run(main())


# --- ends -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_an_ended_agent_is_described_by_its_final_checkpoint(status: Status, tmp_path: Path) -> None:
    async def main() -> None:
        checkpoints, agents = opened(tmp_path)
        await agents.create(start_record(A))
        lock = await agents.lock(A)
        await checkpoints.save(lock, entry(lock, 1), oldest=NOTHING)
        final = entry(lock, 2, b"", kind=str(status))  # type: ignore[arg-type]
        await checkpoints.save(lock, final, oldest=NOTHING)
        for _ in range(2):
            assert await agents.finish(lock, status, final) == Done()
        view = await opened(tmp_path)[1].describe(A)
        assert view is not None and (view.status, view.last, view.header) == (status, final.id, final.header)
        again = await opened(tmp_path)[1].lock(A)  # nobody holds it any more
        assert again.resume_from == final.id

    asyncio.run(main())


def test_an_agent_set_aside_says_why_until_somebody_goes_on_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        checkpoints, agents = opened(tmp_path)
        await agents.create(start_record(A))
        lock = await agents.lock(A)
        await checkpoints.save(lock, entry(lock, 1), oldest=NOTHING)
        for _ in range(2):
            assert await agents.stop(lock, Status.BLOCKED, "the code changed") == Done()
        assert await agents.stop(lock, Status.PAUSED, "x") == Gone(A)
        _, agents = opened(tmp_path)
        view = await agents.describe(A)
        assert view is not None and (view.status, view.why) == (Status.BLOCKED, "the code changed")
        new = await agents.lock(A)
        assert new.resume_from == CheckpointId(lock.fence, 1)
        await agents.release(new, "interrupted")
        view = await agents.describe(A)
        assert view is not None and (view.status, view.why) == (Status.READY, "")

    asyncio.run(main())


def test_the_newest_agent_of_a_program_is_an_unfinished_one_if_there_is_one(tmp_path: Path) -> None:
    async def main() -> None:
        checkpoints, agents = opened(tmp_path)
        for number in (1, 2, 3, 4):
            start = replace(start_record(f"agent-{number}"), created_ms=number, program="p" if number < 4 else "other")
            await agents.create(start)
        assert await agents.newest("p") == "agent-3"
        for number, expected in ((3, "agent-2"), (2, "agent-1"), (1, "agent-3")):
            lock = await agents.lock(AgentId(f"agent-{number}"))
            final = entry(lock, 1, b"", kind="completed")
            await agents.finish(lock, Status.COMPLETED, final)
            assert await agents.newest("p") == expected
        assert len(await checkpoints.list(AgentId("agent-1"))) == 1

    asyncio.run(main())


def test_a_deleted_agent_is_gone_as_a_whole_unless_a_process_runs_it(tmp_path: Path) -> None:
    checkpoints, agents = opened(tmp_path)
    assert asyncio.run(agents.delete(A)) == Gone(A)
    asyncio.run(agents.create(start_record(A)))
    lock = asyncio.run(agents.lock(A))
    asyncio.run(checkpoints.save(lock, entry(lock, 1), oldest=NOTHING))
    with pytest.raises(AgentLocked):
        asyncio.run(agents.delete(A))
    asyncio.run(agents.release(lock, "drain"))
    (tmp_path / ".removed-a0-left").mkdir()  # its remover was killed
    assert asyncio.run(agents.delete(A)) == Done()
    assert list(tmp_path.iterdir()) == []
    assert asyncio.run(agents.describe(A)) is None
    assert asyncio.run(checkpoints.save(lock, entry(lock, 2), oldest=NOTHING)) == Lost(A)


# --- death ----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_kill_9_at_any_moment_of_a_save_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    checkpoints, agents = opened(tmp_path)
    asyncio.run(agents.create(start_record(A)))
    rng = random.Random(2)
    fence = seq = 0
    sealer = Sealer(KEY)
    for _ in range(12):
        writer = python(WRITER, tmp_path)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(rng.randrange(1, 30))]
        time.sleep(rng.random() * 0.01)  # nothing is waited for: it makes the moment of the kill a random one
        writer.kill()
        lines += writer.stdout.read().splitlines()  # not communicate(): it passes by what readline() has buffered
        writer.wait()
        acknowledged = [tuple(map(int, line.split())) for line in lines if line.strip()]
        assert acknowledged[0] > (fence, seq)
        fence, seq = acknowledged[-1]
        newest = asyncio.run(checkpoints.load(A))
        assert newest is not None and newest.id in (CheckpointId(fence, seq), CheckpointId(fence, seq + 1))
        fence, seq = newest.id.fence, newest.id.seq
        assert sealer.open(newest, A).payload == seq.to_bytes(8, "big") * (1 + seq % 7 * 3000)
        assert all(kept.header for kept in asyncio.run(checkpoints.list(A)))
