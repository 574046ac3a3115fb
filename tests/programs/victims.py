"""Runs one case of `constructs` as a row of processes on the filesystem provider, each killed with SIGKILL but the last.

    python victims.py CASE FOLDER

Each process resumes what the one before it left, and kills itself in turn: when the second effect since its start begins,
or in the middle of writing its second checkpoint (the parent flips between the two). Prints one line of JSON: the result,
the effects that began, in order, those that had been checkpointed when they began again, and the number of kills.

A forked child is a process like any other to the kernel, and starts in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Sealer
from playbooks_providers.filesystem import FilesystemAgents, FilesystemCheckpoints, FilesystemStore
from playbooks_providers.ids import AgentId
from playbooks_providers.model import StartRecord, Status
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Ended
from playbooks_worker.host.programs import load
from playbooks_worker.host.surroundings import Surroundings

AGENT = AgentId("victim")
KILLS_LIMIT = 2000


class Fatal:
    """Counts down to the kill of this process."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.effects = 0
        self.writes = 0

    def effect_begins(self) -> None:
        self.effects += 1
        if self.way == "effect" and self.effects == 2:
            os.kill(os.getpid(), signal.SIGKILL)


class FatalCheckpoints:
    """The filesystem's checkpoints; one write dies half done, with half a file under the checkpoint's temporary name."""

    def __init__(self, inner: FilesystemCheckpoints, folder: Path, fatal: Fatal) -> None:
        self._inner = inner
        self._folder = folder
        self._fatal = fatal

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def save(self, lock, entry, *, oldest):
        self._fatal.writes += 1
        if self._fatal.way == "write" and self._fatal.writes == 2:
            torn = self._folder / AGENT / f"{AGENT}_ckpt_{entry.id.seq}.pkl"
            torn.write_bytes((entry.header + entry.payload)[: len(entry.payload) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return await self._inner.save(lock, entry, oldest=oldest)


async def one_process(case: str, folder: Path, log: Path, fatal: Fatal) -> Status:
    program = load(str(Path(__file__).parent / "constructs.py"))
    constructs = sys.modules["constructs"]

    class Log(list):
        def append(self, name):
            with log.open("a") as file:
                file.write(json.dumps(repr(name)) + "\n")
                file.flush()
            if not str(name).startswith(("('note'", "('finally'")):
                fatal.effect_begins()

    constructs.STARTED = Log()
    store = FilesystemStore(folder)
    plain = FilesystemCheckpoints(store)
    agents = FilesystemAgents(store, plain)
    await agents.create(StartRecord(AGENT, program.name, case, [], {}, "", 0))
    newest = await newest_whole(plain)
    lock = await agents.lock(AGENT, at=newest)
    around = Surroundings(FatalCheckpoints(plain, folder, fatal), Sealer("a key for tests"), SystemClock().now_ms, 5)
    after = max([entry.id.seq for entry in await plain.list(AGENT)], default=0)
    life = Life(lock, constructs.CASES[case], around, Gate(SystemClock().monotonic), numbered_after=after)
    outcome = await life.live()
    assert isinstance(outcome, Ended), outcome
    await agents.finish(lock, outcome.status, outcome.final)
    (folder / "result").write_text(
        json.dumps([outcome.status.value, repr(outcome.header.result or outcome.header.error)])
    )
    return outcome.status


async def newest_whole(checkpoints: FilesystemCheckpoints) -> int | None:
    """What a person would answer to "the newest checkpoint is torn": `--at` the one before it."""
    whole = [entry.id.seq for entry in await checkpoints.list(AGENT) if entry.header]
    return whole[-1] if whole else None


def main(case: str, folder: Path) -> None:
    log = folder / "effects"
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(one_process(case, folder, log, Fatal(("effect", "write")[kills % 2])))
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        kills += 1
        assert kills < KILLS_LIMIT, "no progress"
    if os.WEXITSTATUS(status):
        sys.exit(1)
    started = [json.loads(line) for line in log.read_text().splitlines()]
    ended, result = json.loads((folder / "result").read_text())
    print(json.dumps({"status": ended, "result": result, "kills": kills, "started": Counter(started)}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
