"""Agents of a folder that talk while their process is killed: at every change of a file, before it and in the middle of it.

The worlds of tests/test_talk_kill.py, on files and with the commands that a person types (tests/programs/file_deaths.py).
Each death is followed by `run --resume`; every conversation then ends as without it, and no agent is left over. Every
change of every scenario is slow (PLAYBOOKS_TEST_EVERY_CHANGE=1): by default a test takes some of them, others each day.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "file_deaths.py"
DEADLINE_S = 280.0
EVERY = os.environ.get("PLAYBOOKS_TEST_EVERY_CHANGE") == "1"
STRIDE = 1 if EVERY else 29

LONG = ("delivery", "burst", "question", "join", "failed child", "passed over", "cancelled child", "timer", "person")
SHORT = ("cancel, command", "terminate", "pause")  # a command makes few changes: all of them


@pytest.mark.parametrize("when", ["before", "half"])
@pytest.mark.parametrize("scenario", [*LONG, "cancel, run", *SHORT])
def test_agents_of_a_folder_end_as_without_the_death_of_their_process(scenario: str, when: str) -> None:
    stride = 1 if scenario in SHORT else STRIDE
    first = 1 + datetime.date.today().toordinal() % stride
    words = [sys.executable, str(PROGRAM), scenario, when, str(first), "3000", str(stride)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=None if EVERY else DEADLINE_S)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == [] and told["deaths"] >= 2, (first, told)
