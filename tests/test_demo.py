"""`make demo`, whole: it ends well only when both kills came in time and nothing ran twice but what was in flight."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.redis, pytest.mark.slow]

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"


def test_the_demo_survives_both_kills_and_proves_it_from_log_and_stream():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PLAYBOOKS_")}
    done = subprocess.run([sys.executable, str(DEMO)], capture_output=True, text=True, timeout=170, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SIGKILL to") == 2
    assert done.stdout.count("taken over by") == 2
    assert "is completed" in done.stdout
    assert "by 3 owners one after the other" in done.stdout
    assert "WRONG" not in done.stdout
