"""A folder with programs, and `playbooksctl` typed in it as processes: several shells of one person."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
DEADLINE_S = 90.0


class Desk:
    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copy(HERE / "talkers.py", path)
        shutil.copy(HERE.parent.parent / "examples" / "negotiation.py", path)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "playbooks_worker.cli", *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "NEGOTIATION_THINKS_S": "0.01", **environment}
        return subprocess.run(
            self.command(*words), cwd=self.path, env=env, capture_output=True, text=True, timeout=DEADLINE_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, *words: str, **options) -> subprocess.Popen[str]:
        env = {**os.environ, "NEGOTIATION_THINKS_S": "0.01"}
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            self.command(*words), cwd=self.path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            **options,
        )  # fmt: skip

    def told(self, *words: str):
        return json.loads(self.run(*words, "--json").stdout.splitlines()[-1])

    def asks(self) -> list[dict]:
        return self.told("inbox", "--storage-path", ".checkpoints")

    def until(self, condition, what: str):
        deadline = time.monotonic() + DEADLINE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not in time: {what}"
            time.sleep(0.05)
        return found
