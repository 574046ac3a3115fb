"""Generated programs in real processes, killed with SIGKILL at random moments and resumed by others, of any version.

    python tests/programs/processes.py SEED [COUNT]            on the filesystem provider
    python tests/programs/processes.py SEED [COUNT] --redis    by workers on a redis-server of its own

Exit code 1 when one does not end as in plain Python, or when an effect happens again that a checkpoint must have known of.
The same seed writes the same programs and the same kills. `make fuzz` runs some hundreds; tests/test_process_fuzz.py a few.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import journal
from lives import AGAIN, KEY
from observing import observed
from trials import Differs, Trial, Undecided, load
from witness import WITNESS

from playbooks_providers.envelope import read_header
from playbooks_providers.ids import AgentId
from playbooks_providers.model import FINAL, Created, StartRecord, Status
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.testing import eventually, redis_server
from playbooks_worker.engine.errors import PlaybookRefused

HERE = Path(__file__).parent
FUEL = 14
MOST_KILLS = 8
BETWEEN_KILLS = 400  # bytes of a journal, in the mean
AT_ONCE = 6  # programs that one set of workers runs
REDIS_KILLS = 2  # a supervisor takes its time with executors that die again and again
LONGEST_S = 120
# the entry playbook: an error as text is the same in every process
WHOLE = """

@playbook
async def whole():
    try:
        return "completed", repr(await case())
    except (Exception, BaseExceptionGroup, asyncio.CancelledError) as error:
        return "failed", repr(chain(error))
"""


class Case(NamedTuple):
    """One program, what it answers, and how often each of its effects completes in plain Python."""

    name: str
    seed: int
    expected: list[str]
    once: Counter[str]


def written(seed: int, folder: Path, loop: asyncio.AbstractEventLoop, most_kills: int) -> Case | None:
    """Write the program of *seed* and run it in plain Python; None for what cannot be decided."""
    watched = observed(seed, FUEL)
    name = f"generated{seed}"
    try:
        module = load(name, watched.text + WHOLE, folder)
        trial = Trial(loop, watched, module, seed)
        trial.case = module.whole
        WITNESS.plain.clear()
        trial.plain()
    except (SyntaxError, PlaybookRefused, Undecided):
        return None
    finally:
        sys.modules.pop(name, None)
    chance = random.Random(seed)
    kills = [0]
    for _ in range(chance.randint(1, most_kills)):
        kills.append(kills[-1] + 1 + int(chance.expovariate(1 / BETWEEN_KILLS)))
    (folder / f"{name}.kills").write_text(json.dumps(kills[1:]))
    once = Counter({effect: number // watched.plain_runs for effect, number in WITNESS.plain.items()})
    return Case(name, seed, list(ast.literal_eval(trial.expected[1])), once)


def check(case: Case, folder: Path, status: str, result: Any) -> int:
    """Raises `Differs`; answers how often it was killed."""
    if (status, result) != ("completed", case.expected):
        raise Differs(f"{status}\n  expected {case.expected}\n  got      {result}")
    seen = journal.read(folder / f"{case.name}.journal")
    missing, repeated = case.once - seen.ended, seen.ended - case.once - seen.excused
    if missing or repeated:
        raise Differs(f"effects missing {missing}, repeated though a checkpoint knew of them {repeated}")
    if again := [name for name, times in seen.once.items() if times > 1]:
        raise Differs(f"steps begun again that must not be repeated: {again}")
    return seen.deaths


# --- on the filesystem: a process for each life, forked from one that has everything imported -----------------------


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """One for each Python."""
    started = [
        subprocess.Popen(
            [python, str(HERE / "lives.py"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, journal.FOLDER: str(folder)},
        )
        for python in pythons()
    ]
    try:
        yield started
    finally:
        for server in started:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


def pythons() -> list[str]:
    """This one, and those of sibling environments (`make install PYTHON=...`)."""
    beside = sorted(Path(sys.prefix).parent.glob(".venv-3.*/bin/python"))
    others = [str(python) for python in beside if python.parent.parent.name != f".venv-3.{sys.version_info.minor}"]
    return [sys.executable, *others]


def on_files(case: Case, folder: Path, started: list[subprocess.Popen[str]]) -> int:
    chance = random.Random(case.seed)
    code = -signal.SIGKILL
    while code in (-signal.SIGKILL, AGAIN):
        server = chance.choice(started)
        assert server.stdin is not None and server.stdout is not None
        print(case.name, file=server.stdin, flush=True)
        code = int(server.stdout.readline())
    if code:
        raise Differs((folder / f"{case.name}.error").read_text() if code == 1 else f"exit code {code}")
    return check(case, folder, *json.loads((folder / f"{case.name}.result").read_text()))


# --- on Redis: workers, whose executors die ---------------------------------------------------------------------------


@contextlib.contextmanager
def workers(folder: Path, url: str, cases: list[Case]) -> Iterator[None]:
    """Two, under two Pythons where there are."""
    env = {
        **os.environ,
        journal.FOLDER: str(folder),
        "PYTHONPATH": str(HERE),
        "PLAYBOOKS_DURABILITY__SIGNING_KEY": KEY,
        "PLAYBOOKS_WORKER__HEARTBEAT_S": "0.2",
        "PLAYBOOKS_WORKER__HTTP": "off",
    }
    files = [str(folder / f"{case.name}.py") for case in cases]
    started = []
    for number, python in enumerate(pythons()[:2]):
        with (folder / f"worker{number}.log").open("ab") as log:
            command = [python, "-m", "playbooks_worker.daemon", *files, "--name", str(number), "--redis-url", url]
            command += ["--processes", "2"]
            started.append(subprocess.Popen(command, cwd=folder, env=env, stdin=-3, stdout=log, stderr=log))
    try:
        yield
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait()


async def on_redis(cases: list[Case], url: str) -> list[tuple[Case, str, Any]]:
    """Submit them, and wait until all have ended: each with its status, and its result or error."""
    home = connect(url)
    try:
        for case in cases:
            made = await home.coordination.create(
                StartRecord(AgentId(case.name), case.name, "whole", [], {}, case.name, 0)
            )
            assert isinstance(made, Created) and made.ticket is not None
            await home.coordination.enqueue(made.ticket)
        return [await _ended(home, case) for case in cases]
    finally:
        await home.close()


async def _ended(home: RedisHome, case: Case) -> tuple[Case, str, Any]:
    async def over() -> Any:
        view = await home.coordination.describe(AgentId(case.name))
        stopped = (*FINAL, Status.BLOCKED, Status.QUARANTINED)
        return view if view is not None and view.status in stopped else None

    view = await eventually(over, LONGEST_S, f"{case.name} to end")
    if view.status not in FINAL:
        return case, f"{view.status.value}: {view.why}", None
    header = read_header(view.header)
    return case, view.status.value, header.result or header.error


# --- many -------------------------------------------------------------------------------------------------------------


class Tally:
    def __init__(self, where: str) -> None:
        self.where = where
        self.ran = self.kills = self.wrong = self.left_out = 0
        self.started = self.told = time.monotonic()

    def ended(self, case: Case, kills: int | Differs) -> None:
        if isinstance(kills, Differs):
            self.wrong += 1
            again = f"python tests/programs/processes.py {case.seed}{self.where}"
            print(f"seed {case.seed} ({case.name}.py): {kills}\n  again: {again}", flush=True)
        else:
            self.ran += 1
            self.kills += kills
        if time.monotonic() - self.told > 10:
            self.told = time.monotonic()
            print(self.line(), flush=True)

    def line(self) -> str:
        seconds = time.monotonic() - self.started
        rate = (self.ran + self.wrong) / max(seconds, 0.001)
        wrong = f"{self.wrong} wrong, {self.left_out} left out, {seconds:.1f} s, {rate:.1f} a second"
        return f"{self.ran} programs in processes{self.where}, {self.kills} kills, {wrong}"


def all_on_files(cases: list[Case], folder: Path, tally: Tally) -> None:
    with servers(folder) as started:
        for case in cases:
            try:
                tally.ended(case, on_files(case, folder, started))
            except Differs as differs:
                tally.ended(case, differs)


def all_on_redis(cases: list[Case], folder: Path, tally: Tally) -> None:
    for first in range(0, len(cases), AT_ONCE):
        some = cases[first : first + AT_ONCE]
        with redis_server() as server, workers(folder, server.url, some):
            ended = asyncio.run(on_redis(some, server.url))
        for case, status, result in ended:
            try:
                tally.ended(case, check(case, folder, status, result))
            except Differs as differs:
                tally.ended(case, differs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--redis", action="store_true", help="by workers on a redis-server")
    parser.add_argument("--in", dest="folder", type=Path, help="where programs, journals and checkpoints are written")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # generated code compares literals with `is`
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="fuzz"))).resolve()
    tally = Tally(" --redis" if given.redis else "")
    loop = asyncio.new_event_loop()
    seeds = range(given.seed, given.seed + given.count)
    kills = REDIS_KILLS if given.redis else MOST_KILLS
    cases = [case for seed in seeds if (case := written(seed, folder, loop, kills)) is not None]
    loop.close()
    tally.left_out = given.count - len(cases)
    (all_on_redis if given.redis else all_on_files)(cases, folder, tally)
    print(tally.line())
    return 1 if tally.wrong or not tally.ran else 0


if __name__ == "__main__":
    sys.exit(main())
