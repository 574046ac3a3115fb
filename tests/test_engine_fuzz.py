"""Random programs, half of them with branches that share objects: in an agent they do what they do in plain Python, and
resumed from any checkpoint, after a kill or a stop, they go on with exactly what was left to do.

`make fuzz` and a look at one program: `python tests/programs/fuzz.py SEED [COUNT]`, `--shrink` for the smallest that fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
COUNT = 60
FIRST_SEED = 20261123  # always the same programs, so that a red run is this change's; `make fuzz` writes new ones


def test_generated_programs_run_and_resume_as_plain_python_does(tmp_path):
    first = int(os.environ.get("PLAYBOOKS_TEST_SEED", FIRST_SEED))
    run = _fuzz(sys.executable, str(first), str(COUNT), "--in", str(tmp_path))
    print(f"seed {first}: {run.stdout}")
    assert run.returncode == 0, run.stdout + run.stderr
    undecided = int(re.search(r"(\d+) undecided", run.stdout)[1])
    assert undecided <= COUNT // 10, "too many generated programs whose branches decide how they end"


def test_checkpoints_of_one_python_resume_on_the_others(tmp_path):
    """Given payloads written by this Python, When each other Python resumes them, Then they end the same."""
    others = [found for minor in (11, 12, 13) if minor != sys.version_info.minor and (found := _python(minor))]
    if len(others) < 2 and os.environ.get("CI"):
        pytest.fail("CI makes an environment for each Python before the first test (.ci/run)")
    if not others:
        pytest.skip("no environment of another Python beside this one")
    run = _fuzz(sys.executable, "7000", "12", "--in", str(tmp_path), "--keep")
    assert run.returncode == 0, run.stdout + run.stderr
    for other in others:
        run = _fuzz(other, "7000", "12", "--in", str(tmp_path), "--resume")
        assert run.returncode == 0, f"{other}: {run.stdout}{run.stderr}"


def _fuzz(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, str(PROGRAMS / "fuzz.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def _python(minor: int) -> str | None:
    """The interpreter of a sibling environment, as `make test PYTHON=…` makes them."""
    beside = Path(sys.prefix).parent / f".venv-3.{minor}" / "bin" / "python"
    return str(beside) if beside.exists() else None
