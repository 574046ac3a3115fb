"""Agents of a folder that talk while their process is killed: at every change of a file, before it and in the middle of it.

The worlds of tests/test_talk_kill.py, on files and with the commands that a person types (tests/programs/file_deaths.py).
Each death is followed by `run --resume`; every conversation then ends as without it, and no agent is left over. A test takes
some of the changes, others each day; `make fuzz` takes all of them, as `PLAYBOOKS_TEST_EVERY_CHANGE=1` does here.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))
from file_deaths import SCENARIOS, WHEN  # noqa: E402

DEADLINE_S = 280.0
EVERY = os.environ.get("PLAYBOOKS_TEST_EVERY_CHANGE") == "1"
STRIDE = 1 if EVERY else 11
SHORT = ("cancel, command", "terminate", "pause")  # a command makes few changes: all of them


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_agents_of_a_folder_end_as_without_the_death_of_their_process(scenario: str, when: str) -> None:
    stride = 1 if scenario in SHORT else STRIDE
    first = 1 + datetime.date.today().toordinal() % stride
    words = [sys.executable, str(PROGRAMS / "file_deaths.py"), scenario, when, str(first), str(stride)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=None if EVERY else DEADLINE_S)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == [] and told["deaths"] >= 1, (first, told)
