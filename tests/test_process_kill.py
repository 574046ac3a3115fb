"""SIGKILL through processes, each resumed run being the next victim: in an effect, and in the middle of writing."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from playbooks_worker.host.results import jsonable

PROGRAMS = Path(__file__).parent / "programs"
SEQUENTIAL = [
    "case_nested",
    "case_loops",
    "case_iterators",
    "case_handlers",
    "case_finally",
    "case_with",
    "case_expressions",
    "case_comprehensions",
    "case_methods",
    "case_closures",
]
CONCURRENT = ["case_gather", "case_helpers"]
EVALUATED = ("('note'", "('finally'")  # plain code after the last completed await, not effects


def plain_run(case):
    """(result, effects) of an uninterrupted run in plain Python."""
    spec = importlib.util.spec_from_file_location("constructs_for_reference", PROGRAMS / "constructs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        result = asyncio.run(module.CASES[case]())
    finally:
        del sys.modules[spec.name]
    return repr(jsonable(result)), effects(Counter(map(repr, module.STARTED)))


def effects(started):
    return Counter({name: times for name, times in started.items() if not name.startswith(EVALUATED)})


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="through processes on one Python; in memory on every one")
@pytest.mark.parametrize("case", SEQUENTIAL + CONCURRENT)
def test_a_row_of_killed_processes_ends_with_the_result_of_an_uninterrupted_one(case, tmp_path):
    result, once = plain_run(case)
    ran = subprocess.run(
        [sys.executable, str(PROGRAMS / "victims.py"), case, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["status"], said["result"]) == ("completed", result)
    assert said["kills"] >= 4
    started = effects(Counter(said["started"]))
    assert not once - started, "effects that never ran"
    if case in SEQUENTIAL:  # one effect in flight at a time: one repetition for each kill at the most
        assert (started - once).total() <= said["kills"]
