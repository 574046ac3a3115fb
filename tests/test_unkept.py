"""`durability.enabled = false`: a run that keeps nothing, says so, and can do all that others can; and no worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playbooks_worker import daemon

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))
from desks import DEADLINE_S, Desk  # noqa: E402

OFF = "PLAYBOOKS_DURABILITY__ENABLED"
SAID = "durability.enabled = false: nothing of this run is kept, and it cannot be continued"

PROGRAM = """
import asyncio

from playbooks_worker import playbook


class Held:
    def __reduce__(self):
        raise TypeError("this is never pickled")


@playbook
async def main(n):
    held, total = Held(), 0
    for number in (one for one in range(n)):  # which no checkpoint could hold
        await asyncio.sleep(0)
        total += number
    return [total, type(held).__name__]


@playbook
async def fails():
    await asyncio.sleep(0)
    raise ValueError("on purpose")


@playbook
async def hangs():
    print("here", flush=True)
    await asyncio.Event().wait()
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv(OFF, "false")
    (tmp_path / "free.py").write_text(PROGRAM)
    return Desk(tmp_path)


def left(desk: Desk) -> list[str]:
    """What a run has left behind, wherever it could."""
    there = [path.name for path in (desk.path / "temporary").iterdir()]
    return there + [name for name in (".checkpoints", ".playbooks") if (desk.path / name).exists()]


def test_a_run_takes_no_checkpoint_and_leaves_nothing(desk: Desk) -> None:
    done = desk.run("run", "free.py", "--args", "[4]", "--json")
    assert done.returncode == 0 and '"result": [6, "Held"]' in done.stdout.replace("\n", "").replace("  ", "")
    assert SAID in done.stderr
    assert left(desk) == []


def test_the_same_run_needs_its_checkpoints_where_they_are_kept(desk: Desk) -> None:
    done = desk.run("run", "free.py", "--args", "[4]", **{OFF: "true"})
    assert done.returncode != 0 and "generator" in done.stderr


def test_agents_that_talk_run_too(desk: Desk) -> None:
    done = desk.run("run", "talkers.py:boss", "--args", "[3]")
    assert done.returncode == 0, done.stderr
    assert "heard" in done.stdout and left(desk) == []


def test_a_failure_is_told_as_ever(desk: Desk) -> None:
    done = desk.run("run", "free.py:fails")
    assert done.returncode == 1 and "ValueError: on purpose" in done.stderr
    assert left(desk) == []


def test_an_interrupted_run_is_gone_and_says_so(desk: Desk) -> None:
    process = subprocess.Popen(
        desk.command("run", "free.py:hangs"),
        cwd=desk.path,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "Nothing of it is kept (durability.enabled = false): start it again" in err and "--resume" not in err
    assert left(desk) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--resume",), "durability.enabled = false: nothing is kept that could be continued"),
        (
            ("--storage-path", "here"),
            "--storage-path says where agents are kept, and durability.enabled = false that none",
        ),
    ],
)
def test_what_needs_something_kept_is_refused_in_one_line(desk: Desk, words: tuple[str, ...], line: str) -> None:
    done = desk.run("run", "free.py", *words)
    assert done.returncode == 2 and line in done.stderr and len(done.stderr.splitlines()) == 1
    assert left(desk) == []


def test_a_worker_without_durability_does_not_start(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.path)
    environment = {"PLAYBOOKS_DURABILITY__SIGNING_KEY": "a signing key for tests, of good length", OFF: "false"}
    for options in (["--check-config"], []):
        done = CliRunner().invoke(daemon.app, ["free.py", *options], env=environment)
        assert done.exit_code == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(
            f"error: durability.enabled = false ({OFF} in the environment): a worker's agents"
        )


def test_there_is_no_mode(desk: Desk) -> None:
    (desk.path / "playbooks.toml").write_text('[durability]\nmode = "async"\n')
    done = desk.run("run", "free.py", "--args", "[4]")
    assert done.returncode == 2 and "unknown setting durability.mode" in done.stderr
