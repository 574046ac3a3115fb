"""`playbooksctl run` and `--resume` as processes: killed, interrupted, damaged, and continued."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
import os
from playbooks_worker import playbook

async def effect(log, key, value=None):
    with open(log, "a") as file:
        file.write(key + "\\n")
    await asyncio.sleep(0)
    return value

async def until(log, gate):
    with open(log, "a") as file:
        file.write("wait\\n")
    while not os.path.exists(gate):
        await asyncio.sleep(0.01)
    return 100

@playbook
async def main(log: str, gate: str) -> dict:
    total = await effect(log, "first", 1)
    for step in range(3):
        total += await nested(log, step)
    total += await until(log, gate)
    total += await effect(log, "last", 1000)
    print("said by the program")
    return {"total": total}

@playbook
async def nested(log: str, step: int) -> int:
    values = [await effect(log, f"nested {step}", step)]
    return sum(values)

@playbook
async def stuck(gate: str) -> int:
    import time
    while not os.path.exists(gate):
        time.sleep(0.01)
    return await effect(gate, "went on", 7)

@playbook
async def fails(log: str) -> None:
    await effect(log, "before")
    raise LookupError("no more tea")
"""
KEYS = ["first", "nested 0", "nested 1", "nested 2", "wait", "last"]
RESULT = {"total": 1 + 0 + 1 + 2 + 100 + 1000}
DEADLINE_S = 60.0


class Desk:
    """A folder to work in, with a program, a log of effects and a gate that an effect waits for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "tea.py").write_text(PROGRAM)
        self.log, self.gate = path / "log", path / "gate"
        self.args = json.dumps({"log": str(self.log), "gate": str(self.gate)})

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "playbooks_worker.cli", *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **environment}
        command = self.command(*words)
        return subprocess.run(command, cwd=self.path, env=env, capture_output=True, text=True, timeout=DEADLINE_S)

    def told(self, *words: str) -> dict:
        """What the last line of stdout says with --json."""
        return json.loads(self.run(*words, "--json").stdout.splitlines()[-1])

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words), cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def effects(self) -> list[str]:
        return self.log.read_text().split("\n")[:-1] if self.log.exists() else []

    def until(self, condition, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.01)

    def waiting(self, agent: str = "a1") -> subprocess.Popen[str]:
        """A run that has reached the effect which waits for the gate."""
        process = self.start("run", "tea.py", "--args", self.args, "--agent-id", agent)
        self.until(lambda: "wait" in self.effects(), process)
        return process

    def killed(self, agent: str = "a1") -> None:
        process = self.waiting(agent)
        process.kill()
        process.communicate()

    def checkpoints(self, agent: str = "a1") -> list[Path]:
        files = (self.path / ".checkpoints" / agent).glob(f"{agent}_ckpt_*.pkl")
        return sorted(files, key=lambda path: int(path.stem.rpartition("_")[2]))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    for name in ("PLAYBOOKS_DURABILITY__SIGNING_KEY", "PLAYBOOKS_REDIS__URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return Desk(tmp_path)


# --- to the end ----------------------------------------------------------------------------------------------------------


def test_run_prints_the_result_and_exits_0(desk):
    desk.gate.touch()
    done = desk.run("run", "tea.py", "--args", desk.args)
    assert (done.returncode, done.stderr) == (0, "")
    said, _, result = done.stdout.partition("\n")
    assert said == "said by the program"
    assert json.loads(result) == RESULT
    assert desk.effects() == KEYS


def test_resources_are_closed_when_a_run_has_ended_and_not_when_it_is_killed(desk):
    program = desk.path / "tea.py"
    program.write_text(
        PROGRAM.replace("import playbook", "import playbook, resource").replace(
            "    total = await effect(log, ", "    total = await kettle.effect(log, "
        )
        + "import types\nmake = lambda: print('made') or types.SimpleNamespace(effect=effect)\n"
        + "kettle = resource('kettle', make, close=lambda kettle: print('closed'))\n"
    )
    process = desk.waiting()
    process.kill()
    assert process.communicate()[0].count("closed") == 0
    desk.gate.touch()
    resumed = desk.run("run", "tea.py", "--resume")
    assert resumed.returncode == 0 and "closed" not in resumed.stdout, "not used again, not made"
    whole = desk.run("run", "tea.py", "--args", desk.args)
    assert whole.stdout.splitlines()[:3] == ["made", "said by the program", "closed"]


def test_with_json_the_last_line_of_stdout_is_the_outcome(desk):
    desk.gate.touch()
    done = desk.run("run", "tea.py:main", "--args", desk.args, "--agent-id", "a1", "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["agent_id"], told["status"], told["result"]) == ("a1", "completed", RESULT)
    assert told["checkpoint"].endswith(f"-{told['seq']}")


def test_an_agent_that_raises_exits_1_with_a_traceback_into_the_users_own_file(desk):
    done = desk.run("run", "tea.py", "--entry", "fails", "--args", json.dumps([str(desk.log)]), "--agent-id", "a1")
    assert done.returncode == 1
    assert done.stdout == ""
    line = PROGRAM.split("\n").index('    raise LookupError("no more tea")') + 1
    assert f'tea.py", line {line}, in fails' in done.stderr
    assert "LookupError: no more tea" in done.stderr.splitlines()[-1]
    assert "playbooks_worker" not in done.stderr


def test_the_signing_key_is_made_on_first_use_for_this_user_alone(desk):
    desk.gate.touch()
    desk.run("run", "tea.py", "--args", desk.args)
    key = desk.path / ".checkpoints" / ".signing_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_text().strip()) >= 32


# --- killed and continued ------------------------------------------------------------------------------------------------


def test_a_killed_run_is_continued_from_its_last_await_and_says_so(desk):
    desk.killed()
    desk.gate.touch()
    done = desk.run("run", "tea.py", "--resume", "a1")
    assert done.returncode == 0, done.stderr
    assert "Found checkpoint" in done.stdout
    assert "values = [await effect(" in done.stdout or "total += await nested(log, step)" in done.stdout
    assert "tea.py:" in done.stdout
    assert json.loads(done.stdout.partition("said by the program\n")[2]) == RESULT
    assert desk.effects() == [*KEYS[:5], "wait", "last"]


def test_resume_needs_no_id_and_takes_the_newest_unfinished_agent_of_the_program(desk):
    desk.killed("old")
    desk.log.unlink()
    desk.killed("new")
    desk.gate.touch()
    desk.run("run", "tea.py", "--args", desk.args, "--agent-id", "newest-but-finished")
    told = [desk.told("run", "tea.py", "--resume")["agent_id"] for _ in range(3)]
    assert told == ["new", "old", "newest-but-finished"]


def test_an_agent_killed_before_its_first_await_starts_from_its_start_record(desk):
    process = desk.start("run", "tea.py:stuck", "--args", json.dumps([str(desk.gate)]), "--agent-id", "a1")
    desk.until(lambda: (desk.path / ".checkpoints/a1/owner.json").exists(), process)
    process.kill()
    process.communicate()
    desk.gate.touch()
    told = desk.told("run", "tea.py", "--resume", "a1")
    assert (told["status"], told["result"]) == ("completed", 7)


def test_resuming_an_agent_that_has_ended_tells_its_end_again_and_runs_nothing(desk):
    desk.gate.touch()
    first = desk.told("run", "tea.py", "--args", desk.args, "--agent-id", "a1")
    again = desk.told("run", "tea.py", "--resume", "a1")
    assert again == first
    assert desk.effects() == KEYS
    desk.run("run", "tea.py:fails", "--args", json.dumps([str(desk.log)]), "--agent-id", "a2")
    failed = desk.run("run", "tea.py", "--resume", "a2", "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout.splitlines()[-1])["error"] == {"type": "LookupError", "message": "no more tea"}


def test_resume_at_an_older_checkpoint_goes_on_from_there_and_counts_on(desk):
    desk.gate.touch()
    first = desk.told("run", "tea.py", "--args", desk.args, "--agent-id", "a1")
    at = first["seq"] - 2
    told = desk.told("run", "tea.py", "--resume", "a1", "--at", str(at))
    assert (told["status"], told["result"]) == ("completed", RESULT)
    assert told["seq"] > first["seq"]
    assert len(desk.effects()) > len(KEYS)


def test_ctrl_c_exits_130_and_says_how_to_continue(desk):
    process = desk.waiting()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (130, "")
    hint = err.strip().splitlines()[-1].partition("Continue it: ")[2]
    assert hint == "playbooksctl run tea.py --resume a1"
    desk.gate.touch()
    done = desk.run(*shlex.split(hint)[1:], "--json")
    assert json.loads(done.stdout.splitlines()[-1])["result"] == RESULT


def test_ctrl_c_runs_no_finally_of_a_playbook(desk):
    (desk.path / "tidy.py").write_text(
        PROGRAM
        + """
@playbook
async def tidies(log: str, gate: str) -> None:
    try:
        await until(log, gate)
    finally:
        open(gate + ".finally", "w").close()
"""
    )
    process = desk.start("run", "tidy.py:tidies", "--args", desk.args)
    desk.until(lambda: "wait" in desk.effects(), process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert not Path(f"{desk.gate}.finally").exists()


def test_a_second_ctrl_c_ends_a_run_whose_loop_is_blocked(desk):
    process = desk.start("run", "tea.py:stuck", "--args", json.dumps([str(desk.gate)]), "--agent-id", "a1")
    desk.until(lambda: (desk.path / ".checkpoints/a1/owner.json").exists(), process)
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None:
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            pass
    assert process.returncode == 130
    assert process.stderr is not None and "run tea.py --resume a1" in process.stderr.read()


def test_a_full_disk_ends_a_run_in_one_line_and_nothing_is_lost(desk):
    (desk.path / "fills.py").write_text(
        PROGRAM
        + """
import errno

real = os.write


@playbook
async def fills(log: str, gate: str) -> int:
    await effect(log, "before")
    if not os.path.exists(gate):
        os.write = full
    await effect(log, "while full")
    return 3


def full(fd: int, data: bytes) -> int:
    if len(data) > 100:
        raise OSError(errno.ENOSPC, "no space")
    return real(fd, data)
"""
    )
    done = desk.run("run", "fills.py:fills", "--args", desk.args, "--agent-id", "a1", "--json")
    assert done.returncode == 3
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["agent_id"], told["status"], told["error"]["type"]) == ("a1", "ready", "StorageFull")
    assert len(done.stderr.splitlines()) == 1 and "--resume a1" in done.stderr
    desk.gate.touch()
    assert desk.told("run", "fills.py", "--resume", "a1")["result"] == 3
    assert desk.effects() == ["before", "while full", "while full"]


def test_an_agent_that_exits_has_failed_and_the_command_has_not_gone_with_it(desk):
    (desk.path / "leaves.py").write_text(
        PROGRAM
        + """
@playbook
async def leaves(log: str, gate: str) -> int:
    await effect(log, "before")
    raise SystemExit(5)
"""
    )
    done = desk.run("run", "leaves.py:leaves", "--args", desk.args, "--agent-id", "a1", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["status"], told["error"]) == ("failed", {"type": "SystemExit", "message": "5"})


def test_a_damaged_newest_checkpoint_blocks_and_names_the_one_before_and_how_to_use_it(desk):
    desk.killed()
    *_, before, newest = desk.checkpoints()
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    desk.gate.touch()
    done = desk.run("run", "tea.py", "--resume", "a1", "--json")
    assert done.returncode == 3
    number = before.stem.rpartition("_")[2]
    assert f"--at {number}" in done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["agent_id"], told["status"], told["error"]["type"]) == ("a1", "blocked", "BadCheckpoint")
    assert desk.told("show", "a1", "--storage-path", ".checkpoints")["status"] == "blocked"
    continued = desk.told("run", "tea.py", "--resume", "a1", "--at", number)
    assert (continued["status"], continued["result"]) == ("completed", RESULT)


def test_a_truncated_checkpoint_blocks_too(desk):
    desk.killed()
    newest = desk.checkpoints()[-1]
    os.truncate(newest, newest.stat().st_size // 2)
    done = desk.run("run", "tea.py", "--resume", "a1")
    assert done.returncode == 3
    assert "--at" in done.stderr


def test_a_checkpoint_signed_with_another_key_is_not_used(desk):
    desk.killed()
    done = desk.run(
        "run", "tea.py", "--resume", "a1", PLAYBOOKS_DURABILITY__SIGNING_KEY="another key of thirty-two letters!"
    )
    assert done.returncode == 3
    assert "key" in done.stderr


def test_a_running_agent_is_not_run_twice(desk):
    process = desk.waiting()
    try:
        done = desk.run("run", "tea.py", "--resume", "a1")
        assert done.returncode == 2
        assert f"process {process.pid}" in done.stderr
        listed = json.loads(desk.run("list", "--storage-path", ".checkpoints", "--json").stdout.splitlines()[-1])
        assert [(each["agent_id"], each["status"]) for each in listed] == [("a1", "running")]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A desk whose agent a1 has completed; nobody changes it."""
    desk = Desk(tmp_path_factory.mktemp("finished"))
    desk.gate.touch()
    (desk.path / "other.py").write_text(PROGRAM)
    desk.run("run", "tea.py", "--args", desk.args, "--agent-id", "a1")
    return desk


@pytest.mark.parametrize(
    "words, said",
    [
        (["run", "tea.py", "--agent-id", "a1", "--args", "ARGS"], "completed"),
        (["run", "tea.py", "--resume", "nobody"], "nobody"),
        (["run", "tea.py:pour"], "main"),
        (["run", "tea.py", "--args", '{"log": "l", "gate": "g", "cups": 1}'], "cups"),
        (["run", "tea.py:fails", "--resume", "a1"], "tea:main"),
        (["run", "tea.py", "--resume", "a1", "--at", "999"], "999"),
        (["run", "other.py", "--resume"], "no agent"),
        (["show", "nobody", "--storage-path", ".checkpoints"], "nobody"),
    ],
)
def test_what_cannot_be_meant_exits_2_in_one_line(finished, words, said):
    done = finished.run(*[finished.args if word == "ARGS" else word for word in words])
    assert done.returncode == 2, done.stderr
    error = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and said in error[0]
    assert "Traceback" not in done.stderr
