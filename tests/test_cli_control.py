"""`cancel`, `terminate`, `pause`, `unpause`, `delete`, `inbox`, `answer`, and what `list` and `show` say of who waits: a
real Redis, and one worker process whose agents are parked as soon as they wait."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playbooks_providers.testing import redis_server
from playbooks_worker.cli.main import app

pytestmark = pytest.mark.redis

HERE = Path(__file__).parent
SOON_S = 60.0  # generous: the machine may be busy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a Redis and a worker; commands typed in it find both."""
    path = tmp_path_factory.mktemp("control")
    shutil.copy(HERE / "programs" / "talkers.py", path)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(redis_server())
        env = {
            "PLAYBOOKS_REDIS__URL": server.url,
            "PLAYBOOKS_DURABILITY__SIGNING_KEY": "a signing key of thirty-two letters",
            "PLAYBOOKS_WORKER__PARK_AFTER_S": "0.05",
            "PLAYBOOKS_WORKER__HTTP": "off",
        }
        log = stack.enter_context((path / "worker.log").open("wb"))
        worker = subprocess.Popen(
            [sys.executable, "-m", "playbooks_worker.daemon", "talkers.py"],
            cwd=path, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield path, env
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(SOON_S)


@pytest.fixture(autouse=True)
def environment(folder, monkeypatch):
    path, env = folder
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(path)


def playbooksctl(*words):
    return CliRunner().invoke(app, list(words))


def told(*words):
    """The last line of stdout with --json, and the exit code."""
    result = playbooksctl(*words, "--json")
    return json.loads(result.stdout.splitlines()[-1]), result.exit_code


def submitted(entry, agent, args="[]"):
    """An agent that has begun to wait, and is parked."""
    result = playbooksctl("submit", f"talkers:{entry}", "--agent-id", agent, "--args", args)
    assert result.exit_code == 0, result.stderr
    return until(agent, "waiting")


def until(agent, status):
    deadline = time.monotonic() + SOON_S
    while (view := told("show", agent)[0])["status"] != status:
        assert time.monotonic() < deadline, view
        time.sleep(0.05)
    return view


def test_list_and_show_say_what_a_waiting_agent_waits_for():
    view = submitted("nap", "napping")
    assert view["wake_ms"] > time.time() * 1000 and view["mail"] == 0
    shown = playbooksctl("show", "napping").stdout
    assert "waits for" in shown and "sleep until" in shown and "UTC, in 59 min" in shown
    submitted("listens", "listening")
    lines = playbooksctl("list").stdout.splitlines()
    assert lines[0].endswith("WAITS FOR")
    [line] = [line for line in lines if line.startswith("listening")]
    assert line.endswith("receive")


def test_a_person_finds_the_question_in_the_inbox_and_the_agent_goes_on_with_the_answer():
    submitted("approval", "asks")
    shown = playbooksctl("show", "asks").stdout
    assert "ann: {" in shown and "ask person:ann until 2" in shown
    listed = playbooksctl("inbox", "ann").stdout
    assert "asks" in listed and '{"pay": 10}' in listed
    assert told("inbox", "bob") == ([], 0)
    answered = playbooksctl("answer", "asks", '{"ok": true}', "--value")
    assert answered.exit_code == 0, answered.stderr
    end, code = told("wait", "asks", "--timeout", str(SOON_S))
    assert (code, end["result"]) == (0, {"ok": True})
    late = playbooksctl("answer", "asks", "no")
    assert late.exit_code == 2 and "See who does: playbooksctl inbox" in late.stderr
    assert told("inbox", "ann") == ([], 0)


def test_a_message_of_a_person_wakes_a_parked_agent():
    submitted("hears_one", "hearing")
    assert playbooksctl("send", "hearing", "7", "--value", "--from", "ann").exit_code == 0
    end, code = told("wait", "hearing", "--timeout", str(SOON_S))
    assert (code, end["result"]) == (0, 7)
    assert told("send", "hearing", "again")[1] == 2
    assert "without '#'" in playbooksctl("send", "hearing", "x", "--from", "a#b").stderr


def test_a_cancelled_agent_ends_as_cancelled_with_its_children():
    playbooksctl("submit", "talkers:parent_of_sleepers", "--agent-id", "family")
    until("family", "waiting")
    said = playbooksctl("cancel", "family", "--why", "no more need")
    assert said.exit_code == 0 and "agent family is told to cancel" in said.stdout
    end, code = told("wait", "family", "--timeout", str(SOON_S))
    assert (code, end["status"]) == (3, "cancelled") and "no more need" in end["error"]["message"]
    run = [one for one in told("runs")[0] if one["run"] == "family"]
    children = [one["agent_id"] for one in told("list")[0] if one["parent"] == "family"]
    assert [(one["agents"], len(children)) for one in run] == [(3, 2)]
    assert {until(child, "cancelled")["run"] for child in children} == {"family"}
    again = playbooksctl("cancel", "family")
    assert again.exit_code == 2 and "family is cancelled" in again.stderr


def test_an_agent_that_will_not_end_is_ended_when_its_time_is_over():
    submitted("stubborn", "mule")
    assert playbooksctl("cancel", "mule", "--within", "0.2").exit_code == 0
    end, _ = told("wait", "mule", "--timeout", str(SOON_S))
    assert end["status"] == "cancelled" and "deadline" in end["why"]


def test_a_paused_agent_waits_for_unpause_and_nothing_else():
    submitted("approval", "held")
    assert playbooksctl("pause", "held", "--why", "lunch").exit_code == 0
    assert until("held", "paused")["why"] == "lunch"
    answered = playbooksctl("answer", "held", "yes")
    assert answered.exit_code == 0 and "playbooksctl unpause held" in answered.stderr
    assert told("show", "held")[0]["status"] == "paused"
    end, code = told("wait", "held", "--timeout", "0.1")
    assert (code, end["status"]) == (124, "paused")
    assert playbooksctl("unpause", "held").exit_code == 0
    end, code = told("wait", "held", "--timeout", str(SOON_S))
    assert (code, end["result"]) == (0, "yes")
    again = playbooksctl("unpause", "held")
    assert again.exit_code == 2 and "completed, not paused" in again.stderr


def test_an_agent_that_has_yet_to_reach_its_pause_is_unpaused_and_a_paused_one_is_cancelled():
    playbooksctl("submit", "talkers:busy_beside", "--agent-id", "busy")
    until("busy", "running")
    assert "is told to pause" in playbooksctl("pause", "busy").stdout
    assert (told("show", "busy")[0]["order"] or {})["kind"] == "pause"
    assert told("unpause", "busy") == ({"agent_id": "busy", "was": "running", "status": "running"}, 0)
    assert told("show", "busy")[0]["order"] is None
    again = playbooksctl("unpause", "busy")
    assert again.exit_code == 2 and "busy is running, not paused" in again.stderr
    playbooksctl("terminate", "busy")
    submitted("nap", "dozing")
    assert "dozing is paused" in playbooksctl("pause", "dozing").stdout
    assert playbooksctl("cancel", "dozing").exit_code == 0
    assert told("wait", "dozing", "--timeout", str(SOON_S))[1] == 3
    assert told("show", "dozing")[0]["status"] == "cancelled"


def test_a_terminated_agent_runs_no_statement_more_and_its_parent_is_told():
    playbooksctl("submit", "talkers:parent_of_sleepers", "--agent-id", "parent")
    until("parent", "waiting")
    child = next(one["agent_id"] for one in told("list")[0] if one["parent"] == "parent")
    until(child, "waiting")
    ended = playbooksctl("terminate", child)
    assert ended.exit_code == 0 and "was waiting and is cancelled" in ended.stdout
    end, code = told("wait", "parent", "--timeout", str(SOON_S))
    assert (code, end["error"]["type"]) == (1, "ChildFailed")


def test_an_agent_that_has_not_ended_is_deleted_only_when_that_is_meant():
    submitted("nap", "gone")
    refused = playbooksctl("delete", "gone")
    assert refused.exit_code == 2 and "playbooksctl delete gone --yes" in refused.stderr
    assert playbooksctl("delete", "gone", "--yes").exit_code == 0
    assert playbooksctl("show", "gone").exit_code == 2


@pytest.mark.parametrize("command", ["cancel", "terminate", "pause", "unpause", "delete", "answer"])
def test_an_unknown_agent_exits_2_and_names_the_command_that_lists_them(command):
    result = playbooksctl(command, "nobody", *(["yes"] if command == "answer" else []))
    assert result.exit_code == 2
    assert "nobody" in result.stderr and "playbooksctl list" in result.stderr


def test_a_fork_of_an_agent_that_asks_a_person_asks_in_its_own_name_and_ends_for_itself():
    submitted("approval", "original")
    made = playbooksctl("fork", "original", "--agent-id", "twin")
    assert made.exit_code == 0, made.stderr
    until("twin", "waiting")
    assert {one["agent_id"] for one in told("inbox", "ann")[0]} == {"original", "twin"}
    assert playbooksctl("answer", "twin", "no").exit_code == 0
    assert told("wait", "twin", "--timeout", str(SOON_S))[0]["result"] == "no"
    assert told("show", "original")[0]["status"] == "waiting"
    assert playbooksctl("answer", "original", "yes").exit_code == 0
    assert told("wait", "original", "--timeout", str(SOON_S))[0]["result"] == "yes"
    again = playbooksctl("fork", "original")
    assert again.exit_code == 2 and "keep_when_parked" in again.stderr


def test_tail_shows_what_an_agent_on_a_worker_told_until_it_ends():
    playbooksctl("submit", "talkers:tells", "--agent-id", "teller", "--args", '["go-on"]')
    deadline = time.monotonic() + SOON_S
    while told("tail", "teller", "--no-follow")[0]["events"] < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    Path("go-on").touch()
    shown = playbooksctl("tail", "teller")
    assert shown.stdout == 'begins\n[31monce upon a time\n{"gate": "go-on"}\nthe end\n'
