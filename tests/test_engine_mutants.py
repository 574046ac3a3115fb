"""The fuzzer notices: with one mistake in the engine, a generated program shows it within a few dozen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))

import mutants  # noqa: E402

FIRST_SEED = 1
COUNT = 250  # most need two or three, none more than a few dozen


@pytest.mark.parametrize("mistake", mutants.MISTAKES)
def test_generated_programs_show_this_mistake_in_the_engine(mistake, tmp_path):
    seed = os.environ.get("PLAYBOOKS_TEST_SEED", FIRST_SEED)
    command = [sys.executable, str(PROGRAMS / "mutants.py"), mistake, str(seed), str(COUNT), "--in", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 wrong" in run.stdout, run.stdout + run.stderr
