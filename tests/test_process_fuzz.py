"""A few random programs in real processes, killed at random moments and resumed by others, under every Python there is.

More, or one alone: `python tests/programs/processes.py SEED [COUNT] [--redis]`; `make fuzz` runs some hundreds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROCESSES = Path(__file__).parent / "programs" / "processes.py"
FIRST_SEED = "20261123"

once = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="its processes run under every Python")


@once
def test_on_files_programs_end_as_in_plain_python_and_repeat_only_what_was_in_flight(tmp_path):
    _run(tmp_path, "24")


@once
@pytest.mark.redis
@pytest.mark.slow
def test_on_redis_programs_end_as_in_plain_python_and_repeat_only_what_was_in_flight(tmp_path):
    _run(tmp_path, "6", "--redis")


def _run(folder, *arguments):
    seed = os.environ.get("PLAYBOOKS_TEST_SEED", FIRST_SEED)
    command = [sys.executable, str(PROCESSES), seed, *arguments, "--in", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert ", 0 kills" not in run.stdout.splitlines()[-1]
