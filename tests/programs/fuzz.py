"""Generated programs on trial (trials.py): exit code 1 when one does not do what it does in plain Python.

    python tests/programs/fuzz.py SEED [COUNT]      the programs of COUNT seeds; `make fuzz` runs 2,000 with --jobs
    python tests/programs/fuzz.py SEED --shrink     the smallest program that still differs, from the one of SEED

Called by tests/test_engine_fuzz.py in a process of its own. A seed repeats its program, its order of branches, its kills.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import gc
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import shrinking
from observing import observed
from trials import Differs, Kept, Store, Trial, Undecided, load

from playbooks_worker.engine.errors import PlaybookRefused

FUEL = 14
_PART = 50  # seeds of one process


class Tally:
    """What came of the programs so far."""

    def __init__(self) -> None:
        self.ran = self.checkpoints = self.failed = self.refused = self.undecided = 0
        self.started = time.monotonic()

    def line(self) -> str:
        left_out = f"{self.refused} refused and {self.undecided} undecided left out"
        seconds = time.monotonic() - self.started
        return f"{self.ran} programs, {self.checkpoints} resumed, {self.failed} wrong, {left_out}, {seconds:.1f} s"


def one(seed: int, given: argparse.Namespace, tally: Tally, loop: asyncio.AbstractEventLoop) -> None:
    watched = observed(seed, given.fuel)
    name, keep = f"generated{seed}", given.folder / f"kept{seed}.json"
    if given.resume and not keep.exists():
        return
    try:
        module = load(name, watched.text, given.folder)
    except (SyntaxError, PlaybookRefused):  # the generator's few slips; a closure over an unrolled comprehension
        tally.refused += 1
        return
    trial = Trial(loop, watched, module, seed)
    try:
        if given.resume:
            resume_kept(trial, keep)
        elif given.keep:
            keep_all(trial, keep)
        else:
            trial.all()
        tally.ran += 1
    except Undecided:
        tally.undecided += 1
    except Differs as differs:
        tally.failed += 1
        print(f"seed {seed} ({given.folder / name}.py): {differs}\n  again: python tests/programs/fuzz.py {seed}")
    finally:
        tally.checkpoints += trial.resumed
        del sys.modules[name]


def keep_all(trial: Trial, keep: Path) -> None:
    """Write its checkpoints for another Python."""
    trial.plain()
    random.seed(trial.seed)
    store = Store(trial.observed, trial.observed.nothing, slow=True)
    trial.same(trial.start(store), trial.observed.nothing, "in an agent")
    rows = [[kept.payload.hex(), plainly(kept.before)] for kept in store.kept]
    keep.write_text(json.dumps({"expected": trial.expected, "whole": plainly(trial.observed.whole), "rows": rows}))


def resume_kept(trial: Trial, keep: Path) -> None:
    """The trial of checkpoints that another Python wrote."""
    stored = json.loads(keep.read_text())
    trial.expected = tuple(stored["expected"])
    trial.observed.whole = trial.observed.again(ast.literal_eval(stored["whole"]))
    store = Store(trial.observed, None)
    store.kept = [
        Kept(bytes.fromhex(p), trial.observed.again(ast.literal_eval(before))) for p, before in stored["rows"]
    ]
    trial.each(store)


def plainly(seen: object) -> str:
    return repr(tuple(map(dict, seen)) if isinstance(seen, tuple) else seen)


def share(given: argparse.Namespace) -> int:
    """Run the seeds in so many processes; what they print comes through, and how far they are."""
    started, wrong, done, resumed = time.monotonic(), 0, 0, 0

    def run(first: int) -> subprocess.CompletedProcess[str]:
        count = min(_PART, given.seed + given.count - first)
        command = [
            sys.executable,
            __file__,
            str(first),
            str(count),
            "--fuel",
            str(given.fuel),
            "--in",
            str(given.folder),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(given.jobs) as pool:
        for ended in pool.map(run, range(given.seed, given.seed + given.count, _PART)):
            *said, last = ended.stdout.splitlines() or [""]
            print(*said, sep="\n", end="\n" if said else "")
            numbers = re.match(r"(\d+) programs, (\d+) resumed, (\d+) wrong", last)
            if numbers is None or "Traceback" in ended.stderr:
                print(ended.stderr)
            if numbers is None:
                return 1
            ran, more, failed = map(int, numbers.groups())
            done, resumed, wrong = done + ran + failed, resumed + more, wrong + failed
            rate = done / (time.monotonic() - started)
            print(
                f"{done} of {given.count} programs, {resumed} resumed, {wrong} wrong, {rate:.1f} a second", flush=True
            )
    return 1 if wrong else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--fuel", type=int, default=FUEL, help="statements of a program, at most")
    parser.add_argument("--in", dest="folder", type=Path, help="where programs are written")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints beside the programs")
    parser.add_argument("--resume", action="store_true", help="resume the kept checkpoints, of another Python")
    parser.add_argument("--jobs", type=int, default=1, help="processes to share the seeds among")
    parser.add_argument("--first", action="store_true", help="end at the first program that differs")
    parser.add_argument("--shrink", action="store_true", help="drop statements of the program while it still differs")
    given = parser.parse_args(arguments)
    given.folder = given.folder or Path(tempfile.mkdtemp(prefix="fuzz"))
    warnings.simplefilter("ignore")  # generated code compares literals with `is`
    loop = asyncio.new_event_loop()
    if given.shrink:
        print(shrinking.shrunk(loop, observed(given.seed, given.fuel), given.seed, given.folder))
        return 1
    if given.jobs > 1:
        return share(given)
    gc.freeze()  # each kill collects what it left, and nothing that is here already
    tally = Tally()
    for seed in range(given.seed, given.seed + given.count):
        one(seed, given, tally, loop)
        if given.first and tally.failed:
            break
    print(tally.line())
    return 1 if tally.failed or not tally.ran else 0


if __name__ == "__main__":
    sys.exit(main())
