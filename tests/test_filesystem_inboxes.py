"""Inboxes as files: what was accepted is there once, in order, whatever was killed, cut off or written at the same time."""

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

from playbooks_providers.errors import StorageFailed
from playbooks_providers.filesystem import FilesystemAgents, FilesystemCheckpoints, FilesystemStore
from playbooks_providers.filesystem.inboxes import FilesystemInboxes
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.letters import Delivered, Letter
from playbooks_providers.model import Choice, Lock
from playbooks_providers.testing import entry, start_record

A = AgentId("a1")
ROOMY = 100_000

SENDER = """
import asyncio, sys
from pathlib import Path
from playbooks_providers.filesystem import *
from playbooks_providers.filesystem.inboxes import FilesystemInboxes
from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Delivered, Letter

async def main():
    store = FilesystemStore(Path(sys.argv[1]))
    inboxes = FilesystemInboxes(store, FilesystemAgents(store, FilesystemCheckpoints(store)))
    name, number, last = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    while number <= last:
        body = number.to_bytes(8, "big") * (1 + number % 7 * 300)
        answer = await inboxes.deliver(AgentId("a1"), Letter(name, 7, number, body), limit=100_000)
        assert isinstance(answer, Delivered), answer
        print(number, flush=True)  # acknowledged
        number += 1

asyncio.run(main())
"""


class Folder:
    def __init__(self, root: Path) -> None:
        self.store = FilesystemStore(root)
        self.checkpoints = FilesystemCheckpoints(self.store)
        self.agents = FilesystemAgents(self.store, self.checkpoints)
        self.inboxes = FilesystemInboxes(self.store, self.agents)
        self.file = root / A / "inbox.log"
        asyncio.run(self.agents.create(start_record(A)))

    def deliver(self, number: int, body: bytes = b"hello", sender: str = "b2") -> object:
        answer = asyncio.run(self.inboxes.deliver(A, Letter(sender, 7, number, body), limit=ROOMY))
        return replace(answer, ticket=None, session=None) if isinstance(answer, Delivered) else answer

    def numbers(self, after: int = 0, sender: str = "b2") -> list[int]:
        mail = asyncio.run(self.inboxes.mail(A, after, limit=ROOMY))
        assert [one.place for one in mail] == sorted({one.place for one in mail})
        return [one.number for one in mail if one.sender == sender]

    def lock(self, *, at: int | None = None, choice: Choice = Choice.RESUME) -> Lock:
        return asyncio.run(self.agents.lock(A, at=at, choice=choice))


def test_a_file_cut_off_at_any_byte_holds_the_letters_before_and_takes_those_after(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    ends = []
    for number in range(1, 5):
        folder.deliver(number, b"x" * number)
        ends.append(folder.file.stat().st_size)
    data = folder.file.read_bytes()
    for size in range(data.index(b"\n") + 1, len(data)):
        folder.file.write_bytes(data[:size])
        cut = Folder(tmp_path)
        whole = [number for number, end in enumerate(ends, start=1) if end <= size]
        assert cut.numbers() == whole
        for number in range(1, 6):
            assert cut.deliver(number, b"x" * number) == Delivered(
                number not in whole, place=0 if number in whole else number
            )
        assert cut.numbers() == Folder(tmp_path).numbers() == [1, 2, 3, 4, 5]


def test_damage_in_front_of_a_whole_letter_is_an_error_that_says_where(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(1, 4):
        folder.deliver(number)
    data = folder.file.read_bytes()
    folder.file.write_bytes(data[: len(data) // 2] + b"?" + data[len(data) // 2 + 1 :])
    damaged = Folder(tmp_path)
    with pytest.raises(StorageFailed, match="inbox.log is damaged"):
        damaged.numbers()
    with pytest.raises(StorageFailed, match="inbox.log is damaged"):
        damaged.deliver(4)
    view = asyncio.run(damaged.agents.describe(A))
    assert view is not None and view.mail == 0


def test_what_is_forgotten_leaves_the_file_and_its_numbers_are_still_known(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    lock = folder.lock()
    largest = 0
    for number in range(1, 201):
        assert folder.deliver(number, b"x" * 4000) == Delivered(True, place=number)
        if number % 5 == 0:
            asyncio.run(folder.inboxes.forget_mail(lock, number - 1))
        largest = max(largest, folder.file.stat().st_size)
    assert folder.numbers() == Folder(tmp_path).numbers() == [200]
    assert largest < 150_000
    for number in (1, 100, 200):
        assert Folder(tmp_path).deliver(number) == Delivered(fresh=False)
    (mail,) = asyncio.run(folder.inboxes.mail(A, 0, limit=9))
    assert mail.place == 200
    view = asyncio.run(folder.agents.describe(A))
    assert view is not None and view.mail == 1


def test_a_reader_that_has_read_the_file_before_sees_what_another_process_wrote_anew(tmp_path: Path) -> None:
    one, other = Folder(tmp_path), Folder(tmp_path)
    lock = one.lock()
    for number in range(1, 41):
        one.deliver(number, b"x" * 4000)
        assert other.numbers(after=number - 1) == [number]
    asyncio.run(one.inboxes.forget_mail(lock, 39))  # written anew
    assert other.numbers() == [40]
    assert other.deliver(41) == Delivered(True, place=41)
    assert one.numbers() == [40, 41]


def test_who_is_restarted_or_taken_back_is_another_agent_with_an_empty_inbox(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    lock = folder.lock()
    assert lock.birth == lock.start.created_ms
    births = {lock.birth}
    for seq in (1, 2):
        asyncio.run(folder.checkpoints.save(lock, entry(lock, seq), oldest=CheckpointId(0, 0)))
    for at, choice, reborn in ((None, Choice.RESUME, False), (1, Choice.RESUME, True), (None, Choice.RESTART, True)):
        folder.deliver(1)
        folder.store.let_go(A, lock.fence)
        lock = folder.lock(at=at, choice=choice)
        assert (lock.birth not in births) is reborn
        births.add(lock.birth)
        assert folder.numbers() == ([] if reborn else [1])
        view = asyncio.run(folder.agents.describe(A))
        assert view is not None and view.birth == lock.birth == max(births)
    assert folder.deliver(1) == Delivered(True, place=1)
    assert Folder(tmp_path).numbers() == [1]


def test_several_processes_deliver_at_once_and_each_keeps_its_order(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    names = [f"s{number}" for number in range(3)]
    arguments = [[sys.executable, "-c", SENDER, str(tmp_path), name, "1", "60"] for name in names]
    senders = [subprocess.Popen(one, stdout=subprocess.DEVNULL) for one in arguments]
    assert [sender.wait(timeout=120) for sender in senders] == [0, 0, 0]
    for name in names:
        assert folder.numbers(sender=name) == list(range(1, 61))


@pytest.mark.slow
def test_kill_9_at_any_moment_of_a_delivery_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    lock = folder.lock()
    rng = random.Random(7)
    expected, forgotten = 0, 0
    for _ in range(12):
        arguments = [sys.executable, "-c", SENDER, str(tmp_path), "b2", str(max(1, expected)), "100000"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as sender:
            assert sender.stdout is not None
            sender.stdout.readline()
            time.sleep(rng.random() * 0.05)  # somewhere in the middle of a write
            os.kill(sender.pid, signal.SIGKILL)
            acknowledged = [int(line) for line in sender.stdout.read().split(b"\n")[:-1]]
        there = folder.numbers()
        assert there == list(range(forgotten + 1, there[-1] + 1))
        assert there[-1] >= max([expected, *acknowledged])
        expected, forgotten = there[-1], there[-1] - 1
        asyncio.run(folder.inboxes.forget_mail(lock, forgotten))
