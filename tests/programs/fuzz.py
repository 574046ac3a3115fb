"""Runs generated programs: plain, in an agent, and from each of its checkpoints. Exit code 1 when one differs.

Called by tests/test_engine_fuzz.py in a process of its own, and by people with a seed to look at.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import linecache
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fuzzing
import generator

from playbooks_worker.engine import Agent, Completed, Failed
from playbooks_worker.engine.errors import PlaybookRefused

_LONGEST_S = 30


def load(name, text, folder):
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    linecache.checkcache(str(path))
    spec.loader.exec_module(module)
    return module


def events():
    return [event for event in fuzzing.LOG if event[0] != "open"]


def ended(outcome):
    if isinstance(outcome, Completed):
        return "completed", repr(outcome.value)
    if isinstance(outcome, Failed):
        return "failed", repr(fuzzing.chain(outcome.error))
    return type(outcome).__name__, getattr(outcome, "why", "")


def plain(loop, case):
    fuzzing.LOG.clear()
    try:
        return "completed", repr(loop.run_until_complete(case()))
    except Exception as error:
        return "failed", repr(fuzzing.chain(error))


def in_agent(loop, operation):
    async def bounded():
        return await asyncio.wait_for(operation, _LONGEST_S)

    return ended(loop.run_until_complete(bounded()))


def resumed(loop, payload, expected, left):
    """What differs when *payload* is resumed; None when nothing does."""
    fuzzing.LOG.clear()
    got = in_agent(loop, Agent("a", persist=lambda moment, payload: None).resume(payload))
    return difference(expected, got, left, events())


def difference(expected, got, whole, found):
    if expected == got and whole == found:
        return None
    at = next((n for n, (one, two) in enumerate(zip(whole, found, strict=False)) if one != two), len(found))
    at = min(at, len(whole), len(found))
    lines = [f"expected {str(expected)[:600]}", f"got      {str(got)[:600]}"]
    if whole != found:
        lines += [f"event {at}: expected {whole[max(0, at - 2) : at + 3]}", f"  got {found[max(0, at - 2) : at + 3]}"]
    return "\n  ".join(lines)


def check(loop, module, keep=None):
    """Answers (checkpoints, what differs)."""
    expected = plain(loop, module.case)
    whole = events()
    fuzzing.LOG.clear()
    kept = []

    def persist(moment, payload):
        if moment.kind == "step":
            kept.append((payload, len(events())))

    got = in_agent(loop, Agent("a", persist=persist).start(module.case))
    wrong = difference(expected, got, whole, events())
    if wrong is not None:
        return 0, f"in an agent: {wrong}"
    if keep is not None:
        rows = [[payload.hex(), whole[position:]] for payload, position in kept]
        keep.write_text(json.dumps({"expected": expected, "rows": rows}))
    for number, (payload, position) in enumerate(kept, 1):
        wrong = resumed(loop, payload, expected, whole[position:])
        if wrong is not None:
            return number, f"resumed from checkpoint {number} of {len(kept)}: {wrong}"
    return len(kept), None


def check_kept(loop, keep):
    """The same for checkpoints that another Python wrote."""
    stored = json.loads(keep.read_text())
    for number, (payload, left) in enumerate(stored["rows"], 1):
        wrong = resumed(loop, bytes.fromhex(payload), tuple(stored["expected"]), [tuple(event) for event in left])
        if wrong is not None:
            return number, f"resumed from checkpoint {number} of another Python: {wrong}"
    return len(stored["rows"]), None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--fuel", type=int, default=14, help="statements of a program, at most")
    parser.add_argument("--in", dest="folder", type=Path, help="where programs are written")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints beside the programs")
    parser.add_argument("--resume", action="store_true", help="resume the kept checkpoints, of another Python")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="fuzz"))
    warnings.simplefilter("ignore")  # generated code compares literals with `is`
    loop = asyncio.new_event_loop()
    started, checkpoints, ran, failed = time.monotonic(), 0, 0, 0
    for seed in range(given.seed, given.seed + given.count):
        text = generator.program(seed, given.fuel)
        keep = folder / f"kept{seed}.json"
        try:
            compile(text, "generated", "exec")
            module = load(f"generated{seed}", text, folder)
        except (SyntaxError, PlaybookRefused):  # the generator's few slips; a closure over an unrolled comprehension
            continue
        if given.resume and not keep.exists():
            continue
        number, wrong = check_kept(loop, keep) if given.resume else check(loop, module, keep if given.keep else None)
        ran += 1
        checkpoints += number
        if wrong is not None:
            failed += 1
            print(f"seed {seed} ({folder / f'generated{seed}.py'}): {wrong}")
    seconds = time.monotonic() - started
    print(f"{ran} programs, {checkpoints} checkpoints, {failed} wrong, {seconds:.1f} s")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
