"""Lives of generated programs on the filesystem, a process for each, forked from one that has everything imported.

    python tests/programs/lives.py FOLDER     the names of programs on standard input, exit codes on standard output

Called by processes.py, once for each Python. What a life does to its store is in the journal, where the process may end.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from witness import WITNESS

from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Sealer
from playbooks_providers.filesystem import FilesystemAgents, FilesystemCheckpoints, FilesystemStore
from playbooks_providers.filesystem.files import TEMP_SUFFIX
from playbooks_providers.filesystem.format import pack
from playbooks_providers.ids import AgentId
from playbooks_providers.model import StartRecord
from playbooks_worker.host import programs
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Blocked, Ended
from playbooks_worker.host.surroundings import Surroundings

KEY = "a key for tests"
AGAIN = 3  # the exit code of a life to be followed by another


class Saves:
    """The filesystem's checkpoints. A process may end before a write, in the middle of it, and after it."""

    def __init__(self, inner: FilesystemCheckpoints, store: FilesystemStore) -> None:
        self._inner = inner
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def save(self, lock: Any, entry: Any, *, oldest: Any) -> Any:
        WITNESS.stores(lock.agent, "saves", dying=lambda size: self._tear(lock.agent, entry, size))
        saved = await self._inner.save(lock, entry, oldest=oldest)
        WITNESS.stores(lock.agent, "saved")
        return saved

    def _tear(self, agent: AgentId, entry: Any, size: int) -> None:
        """Leave a part of the file: under its temporary name, or under its own, as after a loss of power."""
        path, data, chance = self._store.checkpoint_path(agent, entry.id.seq), pack(entry), random.Random(size)
        part = data[: chance.randrange(len(data))]
        if self._store.numbers(agent) and chance.random() < 0.7:
            path.write_bytes(part)
        else:
            path.with_name(f".{path.name}.torn{TEMP_SUFFIX}").write_bytes(part)


async def one_life(folder: Path, name: str) -> int:
    """The exit code."""
    program = programs.load(str(folder / f"{name}.py"))
    store = FilesystemStore(folder / "checkpoints")
    checkpoints = FilesystemCheckpoints(store)
    agents = FilesystemAgents(store, checkpoints)
    agent = AgentId(name)
    await agents.create(StartRecord(agent, program.name, "whole", [], {}, "", 0))
    entries = await checkpoints.list(agent)
    chosen = folder / f"{name}.at"  # what a person answers to "the newest checkpoint is torn": --at the one before it
    newest = json.loads(chosen.read_text()) if chosen.exists() else max((e.id.seq for e in entries), default=None)
    chosen.unlink(missing_ok=True)
    lock = await agents.lock(agent, at=newest)
    around = Surroundings(Saves(checkpoints, store), Sealer(KEY), SystemClock().now_ms, 5)
    after = max((entry.id.seq for entry in entries), default=0)
    life = Life(lock, program.playbook("whole"), around, Gate(SystemClock().monotonic), numbered_after=after)
    outcome = await life.live()
    if isinstance(outcome, Blocked) and outcome.before is not None:
        chosen.write_text(json.dumps(outcome.before.seq))
        return AGAIN
    if not isinstance(outcome, Ended):
        raise RuntimeError(f"it is {outcome}")
    await agents.finish(lock, outcome.status, outcome.final)
    said = outcome.status.value, outcome.header.result or outcome.header.error
    (folder / f"{name}.result").write_text(json.dumps(said))
    return 0


def serve(folder: Path) -> None:
    """Fork a process for each line of standard input, and say how it ended."""
    for line in sys.stdin:
        name = line.strip()
        child = os.fork()
        if child == 0:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the log of a slow machine is no answer of ours
            try:
                code = asyncio.run(one_life(folder, name))
            except BaseException:
                (folder / f"{name}.error").write_text(traceback.format_exc())
                os._exit(1)
            os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # generated code compares literals with `is`
    serve(Path(sys.argv[1]))
