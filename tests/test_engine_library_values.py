"""Values of the standard library and of libraries, killed at every await; and from each Python to each other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from playbooks_worker.engine import Completed

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))
import crossing  # noqa: E402
from harness import same_everywhere  # noqa: E402
from pythons import others  # noqa: E402

# loops that were killed are collected with what they held, which Python remarks on
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("error::DeprecationWarning"),
]


@pytest.mark.parametrize("name", [name for name in crossing.CASES if not name.startswith("local_code.")])
def test_values_come_back_as_what_they_were(name):
    case = crossing.CASES[name]
    outcome = same_everywhere(case)
    assert isinstance(outcome, Completed), outcome
    assert repr(outcome.value) == repr(asyncio.run(case()))


def test_checkpoints_of_one_python_go_on_under_each_other(tmp_path):
    """Given checkpoints after each await, written by this Python, When each other Python resumes them, Then they end the
    same. (Each Python runs this test: all pairs.)"""
    assert crossing.write(tmp_path) > 35
    for python in others():
        run = subprocess.run(
            [python, str(PROGRAMS / "crossing.py"), str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert run.returncode == 0, f"{python}: {run.stdout}{run.stderr}"
