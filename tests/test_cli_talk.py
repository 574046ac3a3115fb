"""`playbooksctl run` of agents that talk, as processes: killed again and again, answered from another shell."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from desks import DEADLINE_S, Desk  # noqa: E402


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("entry", "args", "expected"),
    [
        ("boss", [2], [[["heard", 0], ["heard", 1]], 1]),
        ("asker", [], ["ONE", "TWO", 2]),
        ("failing_child", [], [["ChildFailed", "failed", True], ["ChildFailed"]]),
        (
            "cancels_a_child",
            [],
            [["tidied: no more need", "tidied: its parent boss has cancelled it"], "completed"],
        ),
        ("looks_at_a_child", [], [True, [7], "completed"]),
    ],
    ids=["boss", "asker", "failing_child", "cancels_a_child", "looks_at_a_child"],
)
def test_conversations_in_one_process_on_files(desk, entry, args, expected) -> None:
    told = desk.told("run", f"talkers.py:{entry}", "--agent-id", "boss", "--args", json.dumps(args))
    assert told["status"] == "completed"
    assert told["result"] == expected


def test_a_run_ends_when_its_first_agent_has_and_nobody_else_has_anything_to_do(desk) -> None:
    told = desk.told("run", "talkers.py:leaves_a_listener")
    assert told["result"] == "done"
    [run] = desk.told("runs", "--storage-path", ".checkpoints")
    assert (run["agents"], run["unfinished"], run["status"]) == (2, 1, "completed")


def test_a_negotiation_that_is_killed_again_and_again_ends_as_if_nothing_had_happened(desk) -> None:
    """Every agent of the run comes back; each offer is made once, in order, and the person's answer counts."""
    rounds = 0
    process = desk.start("run", "negotiation.py", "--agent-id", "deal")
    desk.until(lambda: newest(desk), "it to begin")
    while not desk.asks():
        time.sleep(0.1 * (rounds % 3))
        process.send_signal(signal.SIGKILL if rounds % 2 else signal.SIGINT)
        process.communicate()
        rounds += 1
        assert rounds < 60
        process = desk.start("run", "negotiation.py", "--resume", "deal")
        desk.until(lambda: desk.asks() or newest(desk) > 3 * rounds, "it to go on")
    process.kill()
    process.communicate()
    process = desk.start("run", "negotiation.py", "--resume", "--snoop", "--json")
    said = desk.run("answer", "deal", "yes", "--storage-path", ".checkpoints")
    assert said.returncode == 0, said.stderr
    again = desk.run("answer", "deal", "no", "--storage-path", ".checkpoints")
    assert again.returncode != 0
    out, _ = process.communicate(timeout=DEADLINE_S)
    result = json.loads(out.splitlines()[-1])["result"]
    assert result == {"item": "a bicycle", "price": 128, "offers": 6, "approved": "yes", "seller": "sold"}


def test_snoop_tells_each_letter_once_also_when_the_run_is_interrupted_and_goes_on(desk) -> None:
    told: list[str] = []
    process = desk.start("run", "negotiation.py", "--agent-id", "deal", "--snoop")
    while sum(" asks " in line for line in told) < 2:
        told.append(process.stderr.readline())
    process.send_signal(signal.SIGINT)
    told += process.communicate(timeout=DEADLINE_S)[1].splitlines(keepends=True)
    process = desk.start("run", "negotiation.py", "--resume", "--snoop")
    desk.until(desk.asks, "the question to the boss")
    assert desk.run("answer", "deal", "yes", "--storage-path", ".checkpoints").returncode == 0
    told += process.communicate(timeout=DEADLINE_S)[1].splitlines(keepends=True)
    letters = [line for line in told if line.startswith(("buy-", "sell-")) or " starts " in line]
    assert len(letters) > 8
    assert len(letters) == len(set(letters)), "".join(told)


def newest(desk: Desk) -> int:
    files = (desk.path / ".checkpoints").glob("*/*_ckpt_*.pkl")
    return sum(int(file.stem.rpartition("_")[2]) > 0 for file in files)


def test_at_a_terminal_the_question_is_asked_at_the_prompt(desk) -> None:
    main, other = pty.openpty()
    env = {**os.environ, "NEGOTIATION_THINKS_S": "0.01", "TERM": "dumb"}
    process = subprocess.Popen(
        desk.command("run", "negotiation.py"), cwd=desk.path, env=env, stdin=other, stdout=other, stderr=other
    )
    os.close(other)
    seen = b""
    try:
        while b"(yes/no)" not in seen:
            seen += os.read(main, 4096)
        os.write(main, b"no\n")
        while b'"kept"' not in seen:
            seen += os.read(main, 4096)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        os.close(main)


@pytest.fixture
def terminal(desk):
    """Begins a command at a terminal. Answers what writes to it, and what waits until it shows something."""
    opened = []

    def begin(*words: str):
        main, other = pty.openpty()
        process = subprocess.Popen(
            desk.command(*words),
            cwd=desk.path,
            env={**os.environ, "TERM": "dumb"},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        opened.append((process, main))
        seen = bytearray()

        def shows(what: bytes) -> None:
            deadline = time.monotonic() + DEADLINE_S
            while what not in seen:
                readable, _, _ = select.select([main], [], [], max(0.0, deadline - time.monotonic()))
                assert readable, f"not in time: {what!r}, behind {seen.decode()}"
                try:
                    seen.extend(os.read(main, 4096))
                except OSError as ended:
                    raise AssertionError(f"it has ended, and shows no {what!r}: {seen.decode()}") from ended
            del seen[: seen.index(what) + len(what)]

        return process, lambda line: os.write(main, line), shows

    yield begin
    for process, main in opened:
        process.kill()
        process.wait()
        os.close(main)


def test_at_a_terminal_a_question_that_was_answered_from_another_shell_makes_room_for_the_next(desk, terminal) -> None:
    process, types, shows = terminal("run", "talkers.py:two_approvals", "--agent-id", "a1")
    shows(b"the first?")
    assert desk.run("answer", "a1", "yes", "--storage-path", ".checkpoints").returncode == 0
    shows(b"press Enter for the next question")
    types(b"to nobody\n")
    shows(b"the second?")
    types(b"no\n")
    shows(b'"yes",')
    shows(b'"no"')
    assert process.wait(DEADLINE_S) == 0


def test_a_question_at_the_prompt_survives_ctrl_c_and_is_asked_again(desk, terminal) -> None:
    process, types, shows = terminal("run", "talkers.py:two_approvals", "--agent-id", "a1")
    shows(b"the first?")
    types(b"yes\n")
    shows(b"the second?")
    types(b"half an ans")
    process.send_signal(signal.SIGINT)
    shows(b"--resume a1")
    assert process.wait(DEADLINE_S) == 130
    process, types, shows = terminal("run", "talkers.py", "--resume")
    shows(b"the second?")
    types(b"no\n")
    shows(b'"yes",')
    shows(b'"no"')
    assert process.wait(DEADLINE_S) == 0


def test_at_a_terminal_the_line_below_says_what_is_awaited_now(desk) -> None:
    (desk.path / "slow.py").write_text(
        "import asyncio\nfrom playbooks_worker import playbook\n\n@playbook\nasync def main():\n"
        "    await asyncio.sleep(0)\n    await asyncio.sleep(1000)\n"
    )
    main, other = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(desk.command("run", "slow.py"), cwd=desk.path, env=env, stderr=other)
    os.close(other)
    seen = b""
    try:
        while b"line 7: await asyncio.sleep(1000)" not in seen:
            seen += os.read(main, 4096)
    finally:
        process.kill()
        process.wait()
        os.close(main)


def test_tail_shows_what_an_agent_told_as_text(desk) -> None:
    desk.run("run", "talkers.py:tells", "--agent-id", "t")
    told = desk.run("tail", "t", "--storage-path", ".checkpoints")
    assert told.stdout == 'begins\n[31monce upon a time\n{"gate": ""}\nthe end\n'


def test_tail_as_json_is_a_line_for_each_event_and_the_answer(desk) -> None:
    desk.run("run", "talkers.py:tells", "--agent-id", "t")
    *events, answer = map(
        json.loads, desk.run("tail", "t", "--storage-path", ".checkpoints", "--json").stdout.splitlines()
    )
    assert [event["event"] for event in events][-2:] == [{"gate": ""}, "the end"]
    assert answer == {"agent_id": "t", "status": "completed", "events": 6}


def test_tail_follows_an_agent_through_a_kill_until_it_ends(desk) -> None:
    words = ("talkers.py:tells", "--agent-id", "t", "--args", '["gate"]')
    first = desk.start("run", *words)
    file = desk.path / ".checkpoints" / "t" / "events.log"
    desk.until(lambda: file.exists() and b"gate" in file.read_bytes(), "the first events")
    tail = desk.start("tail", "t", "--storage-path", ".checkpoints")
    assert tail.stdout.readline() == "begins\n"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert desk.run("tail", "t", "--no-follow", "--storage-path", ".checkpoints").stdout.endswith('{"gate": "gate"}\n')
    (desk.path / "gate").touch()
    desk.run("run", "talkers.py", "--resume", "t")
    said, notes = tail.communicate(timeout=DEADLINE_S)
    assert said.endswith("the end\n")
    assert tail.returncode == 0
    assert "an earlier attempt" in notes
    standing = desk.run("tail", "t", "--storage-path", ".checkpoints").stdout
    assert standing == 'begins\n[31monce upon a time\n{"gate": "gate"}\nthe end\n'


def test_tail_of_an_agent_that_is_not_there_says_so(desk) -> None:
    desk.run("run", "talkers.py:tells", "--agent-id", "t")
    told = desk.run("tail", "nobody", "--storage-path", ".checkpoints")
    assert told.returncode == 2
    assert "nobody" in told.stderr


def test_a_fork_in_a_folder_goes_on_from_the_checkpoint_that_was_named(desk) -> None:
    desk.run("run", "talkers.py:tells", "--agent-id", "t")
    made = desk.run("fork", "t", "--at", "2", "--agent-id", "twin", "--storage-path", ".checkpoints")
    assert made.returncode == 0, made.stderr
    assert "twin goes on from checkpoint 2 of t" in made.stdout
    assert desk.told("show", "twin", "--storage-path", ".checkpoints")["status"] == "ready"
    assert desk.told("run", "talkers.py", "--resume", "twin")["status"] == "completed"
    assert desk.run("tail", "twin", "--storage-path", ".checkpoints").stdout == "the end\n"
    again = desk.run("fork", "t", "--agent-id", "twin", "--storage-path", ".checkpoints")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    unknown = desk.run("fork", "t", "--at", "99", "--storage-path", ".checkpoints")
    assert unknown.returncode == 2
