"""What people want of agents in a folder, typed in another shell than `run`: while it runs them, and when nobody does."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))
from desks import DEADLINE_S, Desk  # noqa: E402

HERE = ("--storage-path", ".checkpoints")


class Shells(Desk):
    """One shell in which agents run, and another one."""

    process: subprocess.Popen[str]

    def runs(self, entry: str, agent: str = "a1", *, program: str = "errands.py") -> None:
        """`agent` has begun, in a process."""
        self.process = self.start("run", f"{program}:{entry}", "--agent-id", agent)
        self.until(lambda: self.is_here(agent) and self.view(agent)["checkpoint"], f"{agent} to begin")

    def is_here(self, agent: str) -> bool:
        return (self.path / ".checkpoints" / agent / "start.json").exists()

    def goes_on(self, agent: str = "a1") -> tuple[int, str, str]:
        """How `run --resume` ends."""
        self.process = self.start("run", "errands.py", "--resume", agent)
        return self.ends()

    def ends(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, err

    def killed(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def says(self, *words: str, code: int = 0) -> str:
        """What a command says, which works (or not, with that *code*)."""
        said = self.run(*words, *HERE)
        assert said.returncode == code, (words, said.returncode, said.stdout, said.stderr)
        assert code == 0 or len(said.stderr.splitlines()) == 1, said.stderr
        return said.stdout + said.stderr

    def view(self, agent: str = "a1") -> dict:
        return self.told("show", agent, *HERE)

    def becomes(self, status: str, agent: str = "a1") -> dict:
        return self.until(
            lambda: self.is_here(agent) and (view := self.view(agent))["status"] == status and view, f"{agent} {status}"
        )

    def log(self) -> list[str]:
        path = self.path / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def shells(tmp_path: Path):
    made = Shells(tmp_path)
    shutil.copy(PROGRAMS / "errands.py", tmp_path)
    yield made
    if hasattr(made, "process") and made.process.poll() is None:
        made.killed()


# --- while a process runs them -----------------------------------------------------------------------------------------
def test_a_running_agent_is_cancelled_with_its_children_and_their_finally_blocks_run(shells) -> None:
    shells.runs("family", "boss")
    shells.becomes("running", "child")
    assert "agent boss is told to cancel" in shells.says("cancel", "boss", "--why", "no need")
    code, _, err = shells.ends()
    assert (code, err.splitlines()[-1]) == (3, "error: agent boss is cancelled: no need")
    assert shells.log() == ["cancelled: its parent boss was cancelled", "tidied"]
    assert [shells.view(agent)["status"] for agent in ("boss", "child")] == ["cancelled", "cancelled"]
    assert "agent boss is cancelled: it cannot be cancelled" in shells.says("cancel", "boss", code=2)


def test_a_child_is_cancelled_alone_and_its_parent_hears_of_it(shells) -> None:
    shells.runs("family", "boss")
    shells.becomes("running", "child")
    shells.says("cancel", "child", "--why", "go home")
    code, out, _ = shells.ends()
    assert code == 0 and "cancelled" in out and "go home" in out
    assert shells.log() == ["cancelled: go home", "tidied"]


def test_a_paused_agent_stands_still_until_it_is_unpaused_and_its_process_waits(shells) -> None:
    shells.runs("steps")
    assert "is told to pause" in shells.says("pause", "a1", "--why", "lunch")
    seq = shells.becomes("paused")["seq"]
    assert "agent a1 is paused" in shells.says("pause", "a1")
    assert "cannot be unpaused" not in shells.says("unpause", "a1")
    shells.until(lambda: shells.view()["seq"] > seq + 3, "it to go on")
    assert shells.process.poll() is None
    assert "agent a1 is running, not paused" in shells.says("unpause", "a1", code=2)


def test_an_agent_whose_process_has_not_looked_up_is_unpaused_and_goes_on(shells) -> None:
    shells.process = shells.start("run", "errands.py:blocks", "--agent-id", "a1")
    shells.until(lambda: shells.log() == ["blocks"], "it to hold the loop")
    assert "is told to pause" in shells.says("pause", "a1")
    assert "agent a1 goes on" in shells.says("unpause", "a1")
    (shells.path / "let-go").touch()
    code, _, err = shells.ends()
    assert code == 0, err
    assert shells.log() == ["blocks", "never"]


def test_who_is_to_be_cancelled_is_not_paused_and_a_paused_one_is_cancelled_in_the_end(shells) -> None:
    shells.runs("guards")
    shells.killed()
    assert "Nobody runs it: it is cancelled when it goes on" in shells.says("cancel", "a1", "--why", "enough")
    assert "agent a1 is ready: it is to be cancelled" in shells.says("pause", "a1", code=2)
    code, _, err = shells.goes_on()
    assert code == 3 and shells.log() == ["cancelled: enough", "tidied"], err


def test_a_terminated_agent_ends_at_once_and_runs_no_statement_more(shells) -> None:
    shells.runs("family", "boss")
    shells.becomes("running", "child")
    assert "agent child was running and is cancelled" in shells.says("terminate", "child", "--why", "enough")
    code, out, _ = shells.ends()
    assert code == 0 and "enough" in out and shells.log() == []
    view = shells.view("child")
    assert (view["status"], view["why"], view["checkpoint"]) == ("cancelled", "enough", None)


def test_a_run_whose_first_agent_is_terminated_ends(shells) -> None:
    shells.runs("steps")
    shells.says("terminate", "a1", "--why", "enough")
    code, _, err = shells.ends()
    assert (code, err.splitlines()[-1]) == (3, "error: agent a1 was terminated: enough")


def test_a_message_of_a_person_reaches_a_running_agent_and_an_orphan(shells) -> None:
    shells.process = shells.start("run", "errands.py:hears", "--agent-id", "a1")
    shells.becomes("running")
    assert "sent to a1" in shells.says("send", "a1", "hello", "--from", "ann")
    code, out, _ = shells.ends()
    assert (code, json.loads(out)) == (0, ["person:ann", "hello"])
    assert "a1 is completed: nobody would read the message" in shells.says("send", "a1", "again", code=2)
    shells.process = shells.start("run", "errands.py:hears", "--agent-id", "a2")
    shells.becomes("running", "a2")
    shells.killed()
    assert "Nobody runs it: it reads the message when it goes on: playbooksctl run" in shells.says(
        "send", "a2", '{"n": 1}', "--value"
    )
    code, out, _ = shells.goes_on("a2")
    assert code == 0 and json.loads(out[out.index("[") :]) == ["person:anyone", {"n": 1}]


def test_who_answers_an_orphan_or_a_paused_agent_or_waits_for_them_is_told_by_which_command_they_go_on(shells) -> None:
    shells.runs("approval", program="talkers.py")
    shells.killed()
    orphan = shells.says("answer", "a1", "yes")
    goes_on = "playbooksctl run talkers.py --resume a1 --storage-path .checkpoints"
    assert "it is ready, at talkers:approval" in (late := shells.says("wait", "a1", "--timeout", "0", code=124))
    assert late.endswith(f"Nobody runs it: {goes_on}\n")
    assert f"Nobody runs it: it reads the answer when it goes on: {goes_on}" in orphan
    assert "the question was answered already" in shells.says("answer", "a1", "no", code=2)
    shells.runs("approval", "a2", program="talkers.py")
    assert "Nobody runs it" not in shells.says("pause", "a2")
    shells.becomes("paused", "a2")
    unpause = "playbooksctl unpause a2 --storage-path .checkpoints"
    assert unpause in shells.says("wait", "a2", "--timeout", "0", code=124)
    assert unpause in shells.says("answer", "a2", "yes")


def test_one_that_does_not_end_is_ended_at_its_deadline(shells) -> None:
    shells.runs("ignores")
    shells.says("cancel", "a1", "--within", "3")
    shells.until(lambda: shells.log() == ["not now"], "it to be cancelled")
    assert shells.ends()[0] == 3
    assert "deadline" in shells.view()["why"]


def test_an_agent_that_blocks_its_process_is_terminated_when_that_looks_up(shells) -> None:
    shells.process = shells.start("run", "errands.py:blocks", "--agent-id", "a1")
    shells.until(lambda: shells.log() == ["blocks"], "it to block")
    said = shells.says("terminate", "a1", code=3)
    assert f"It has ended when process {shells.process.pid} on " in said
    (shells.path / "let-go").touch()
    assert shells.ends()[0] == 3
    assert shells.log() == ["blocks"] and shells.view()["status"] == "cancelled"


def test_a_running_agent_is_deleted_with_yes_alone(shells) -> None:
    shells.runs("steps")
    assert "--yes --storage-path .checkpoints" in shells.says("delete", "a1", code=2)
    assert "was running and is deleted" in shells.says("delete", "a1", "--yes")
    assert shells.ends()[0] == 3 and not shells.is_here("a1")


def test_a_failed_agent_is_retried_from_its_last_checkpoint(shells) -> None:
    shells.process = shells.start("run", "errands.py:fails_once", "--agent-id", "a1")
    assert shells.ends()[0] == 1
    said = shells.says("retry", "a1")
    assert "Nobody runs it: playbooksctl run errands.py --resume a1 --storage-path .checkpoints" in said
    (shells.path / "mended").touch()
    assert "It goes on with: playbooksctl run errands.py --resume a1" in shells.says("retry", "a1", code=2)
    code, out, _ = shells.goes_on()
    assert (code, out.splitlines()[-1], shells.log()) == (0, "the second time", ["tried"])


# --- nobody runs them --------------------------------------------------------------------------------------------------
def test_an_orphan_is_cancelled_where_it_goes_on(shells) -> None:
    shells.runs("guards")
    shells.killed()
    said = shells.says("cancel", "a1", "--why", "no need")
    assert "cancelled when it goes on: playbooksctl run errands.py --resume a1 --storage-path .checkpoints" in said
    assert shells.view()["order"] == {"kind": "cancel", "why": "no need"}
    code, _, err = shells.goes_on()
    assert (code, err.splitlines()[-1]) == (3, "error: agent a1 is cancelled: no need")
    assert shells.log() == ["cancelled: no need", "tidied"]


def test_an_orphan_is_paused_at_once_and_resume_lets_it_go_on(shells) -> None:
    shells.runs("steps")
    shells.killed()
    assert "agent a1 is paused" in shells.says("pause", "a1", "--why", "lunch")
    assert "is paused no longer" in shells.says("unpause", "a1")
    shells.says("pause", "a1")
    shells.process = shells.start("run", "errands.py", "--resume", "a1")
    shells.becomes("running")


def test_a_paused_child_stays_so_when_its_run_goes_on_until_it_is_unpaused(shells) -> None:
    shells.runs("family", "boss")
    shells.becomes("running", "child")
    shells.killed()
    shells.says("pause", "child", "--why", "lunch")
    shells.process = shells.start("run", "errands.py", "--resume", "boss")
    shells.becomes("running", "boss")
    assert shells.view("child")["status"] == "paused"
    assert "agent child goes on" in shells.says("unpause", "child")
    shells.becomes("running", "child")
    shells.says("cancel", "child", "--why", "go home")
    code, _, err = shells.ends()
    assert code == 0 and "agent child is paused: lunch" in err


def test_an_orphan_is_terminated_at_once_and_its_parent_hears_of_it_when_it_goes_on(shells) -> None:
    shells.runs("family", "boss")
    shells.becomes("running", "child")
    shells.killed()
    assert "agent child was ready and is cancelled" in shells.says("terminate", "child", "--why", "enough")
    code, out, _ = shells.goes_on("boss")
    assert code == 0 and "enough" in out and shells.log() == []


def test_what_is_not_there_and_what_has_ended_is_told_in_one_line(shells) -> None:
    assert "no such folder" in shells.says("cancel", "a1", code=2)
    shells.process = shells.start("run", "errands.py:hears", "--agent-id", "a1")
    shells.becomes("running")
    for command in ("cancel", "terminate", "pause", "unpause", "retry", "delete"):
        said = shells.says(command, "a2", code=2)
        assert "no agent a2 here. See which are: playbooksctl list --storage-path .checkpoints" in said
    shells.says("terminate", "a1")
    shells.ends()
    for command in ("cancel", "terminate", "pause", "unpause", "retry"):
        assert "agent a1 is cancelled" in shells.says(command, "a1", code=2)
    told = json.loads(shells.run("pause", "a1", "--json", *HERE).stdout.splitlines()[-1])
    assert told["status"] == "cancelled" and told["error"]["type"] == "UsageError"
