"""examples/payment.py: a run is killed between a payment and its checkpoint, and resumed. The payment is there once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "payment.py"
DEADLINE_S = 60.0
FOR_EVER_S = 3600.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PLAYBOOKS_DURABILITY__SIGNING_KEY", "PLAYBOOKS_REDIS__URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(EXAMPLE, tmp_path)
    return tmp_path


def ctl(*words: str) -> list[str]:
    return [sys.executable, "-m", "playbooks_worker.cli", *words]


def paid(folder: Path) -> list[str]:
    """To whom the bank has paid, in order."""
    bank = folder / "bank.jsonl"
    return [json.loads(line)["to"] for line in bank.read_text().splitlines()] if bank.exists() else []


def killed_after(folder: Path, payments: int, *words: str) -> None:
    """Run until the bank has made so many payments, of which the last one was not answered; then SIGKILL."""
    running = subprocess.Popen(ctl(*words), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while len(paid(folder)) < payments:
            assert running.poll() is None, f"it ended: {' '.join(words)}"
            assert time.monotonic() < deadline, "the bank was not asked in time"
            time.sleep(0.01)
    finally:
        running.kill()
        running.wait()


def told(folder: Path, *words: str) -> dict[str, object]:
    done = subprocess.run(
        ctl(*words, "--json"), cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.stdout, done.stderr
    said: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_a_payment_whose_answer_was_lost_with_the_process_is_found_and_not_made_again(folder: Path) -> None:
    """The bank never answers in time: each run is killed behind one payment; each next one finds it and makes the next."""
    arguments = json.dumps({"bank": "bank.jsonl", "answer_s": FOR_EVER_S})
    killed_after(folder, 1, "run", "payment.py", "--args", arguments, "--agent-id", "a1")
    killed_after(folder, 2, "run", "payment.py", "--resume", "a1")
    killed_after(folder, 3, "run", "payment.py", "--resume", "a1")
    said = told(folder, "run", "payment.py", "--resume", "a1")
    assert (said["status"], said["result"]) == ("completed", [1, 2, 3])
    assert paid(folder) == ["Ada", "Grace", "Barbara"]


def test_a_payment_that_the_bank_never_made_is_made_after_the_crash(folder: Path) -> None:
    arguments = json.dumps({"bank": "bank.jsonl", "answer_s": FOR_EVER_S})
    killed_after(folder, 1, "run", "payment.py", "--args", arguments, "--agent-id", "a1")
    (folder / "bank.jsonl").unlink()  # as if it had died on the way to the bank
    killed_after(folder, 1, "run", "payment.py", "--resume", "a1")
    assert paid(folder) == ["Ada"]


def test_without_the_policy_the_same_crash_pays_twice(folder: Path) -> None:
    """What the example is for: were it of no effect, the tests above would show nothing."""
    program = folder / "payment.py"
    program.write_text(program.read_text().replace("@step(on_unknown=find_payment)", "@step"))
    arguments = json.dumps({"bank": "bank.jsonl", "answer_s": FOR_EVER_S})
    killed_after(folder, 1, "run", "payment.py", "--args", arguments, "--agent-id", "a1")
    killed_after(folder, 2, "run", "payment.py", "--resume", "a1")
    assert paid(folder) == ["Ada", "Ada"]
