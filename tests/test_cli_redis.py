"""`submit`, `wait`, `list`, `show` and `workers` against a real Redis, with the state of agents made by the contracts."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner

from playbooks_providers.envelope import Header, Sealer
from playbooks_providers.errors import Unreachable
from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId
from playbooks_providers.model import Entry, ProgramInfo, Saved, SessionInfo, StartRecord, Status, Taken
from playbooks_providers.redis import connect
from playbooks_worker.cli import connect as cli_connect
from playbooks_worker.cli import submit as submit_module
from playbooks_worker.cli.main import app

pytestmark = pytest.mark.redis

KEY = "a signing key of thirty-two letters"
SESSION = SessionId("0123456789abcdef")
SIGNATURES = {"main": [("topic", "POSITIONAL_OR_KEYWORD", False), ("depth", "POSITIONAL_OR_KEYWORD", True)]}
STACK = '[["tea:main",12,"notes.append(await digest(source))",0],["tea:digest",20,"return await read(source)",1]]'


@pytest.fixture(autouse=True)
def environment(monkeypatch, redis_url, tmp_path):
    monkeypatch.setenv("PLAYBOOKS_REDIS__URL", redis_url)
    monkeypatch.setenv("PLAYBOOKS_DURABILITY__SIGNING_KEY", KEY)
    monkeypatch.chdir(tmp_path)


def playbooksctl(*words: str):
    return CliRunner().invoke(app, list(words))


def told(*words: str):
    """The last line of stdout with --json, and the exit code."""
    result = playbooksctl(*words, "--json")
    return json.loads(result.stdout.splitlines()[-1]), result.exit_code


def arrange(redis_url, story):
    """Run ``story(home)`` against the Redis of the test."""

    async def main():
        home = connect(redis_url)
        try:
            return await story(home)
        finally:
            await home.close()

    return asyncio.run(main())


async def a_worker(home, program="tea", signatures=SIGNATURES):
    await home.coordination.register(SessionInfo(SESSION, "worker-1", "host", 4711, "build", int(time.time() * 1000)))
    await home.coordination.publish(SESSION, [ProgramInfo(program, program, "build", signatures)])


def start(agent="a1", **changed):
    fields = dict(program="tea", entry="main", args=["green"], kwargs={}, queue="tea", created_ms=1_700_000_000_000)
    return StartRecord(agent=AgentId(agent), **{**fields, **changed})


def entry_of(lock, seq, kind="step", **facts):
    header = Header(
        agent=lock.agent, program="tea", fence=lock.fence, seq=seq, nonce=lock.nonce, time_ms=int(time.time() * 1000),
        kind=kind, stack_json=STACK if kind == "step" else "[]", lowering=1, attempts=1, **facts,
    )  # fmt: skip
    payload = b"state" if kind == "step" else b""
    sealed, stored = Sealer(KEY).seal(header, payload)
    return Entry(CheckpointId(lock.fence, seq), sealed, stored)


async def an_agent(home, agent="a1", steps=0, kind=None, **facts):
    """Created, taken by the worker's session, *steps* checkpoints written, and ended by a final one if *kind* says so."""
    created = await home.coordination.create(start(agent))
    taken = await home.coordination.take(created.ticket, SESSION, Nonce("n1"))
    assert isinstance(taken, Taken)
    lock = taken.lock
    for seq in range(1, steps + 1):
        entry = entry_of(lock, seq)
        assert isinstance(await home.checkpoints.save(lock, entry, oldest=CheckpointId(lock.fence, 1)), Saved)
    if kind is not None:
        final = entry_of(lock, steps + 1, kind, **facts)
        await home.checkpoints.save(lock, final, oldest=CheckpointId(lock.fence, 1))
        await home.coordination.finish(lock, Status(kind), final)
    return lock


# --- submit --------------------------------------------------------------------------------------------------------------


def test_submit_prints_the_id_of_an_agent_that_is_now_in_its_programs_queue(redis_url):
    arrange(redis_url, a_worker)
    result = playbooksctl("submit", "tea", "--args", '{"topic": "green"}')
    assert result.exit_code == 0, result.stderr
    agent = result.stdout.strip()
    assert agent.startswith("tea-")

    async def read(home):
        return await home.coordination.read(SESSION, ["tea"], limit=1, wait_s=5)

    tickets = arrange(redis_url, read)
    assert [ticket.agent for ticket in tickets] == [agent]


def test_submitting_to_a_queue_that_is_held_says_so_in_one_line(redis_url):
    arrange(redis_url, a_worker)
    arrange(redis_url, lambda home: home.coordination.set_cap("tea", 0))
    result = playbooksctl("submit", "tea", "--args", '["green"]')
    assert result.exit_code == 0
    go = "playbooksctl queue tea --max-agents none"
    assert result.stderr == f"warning: queue 'tea' is held, and no agent of it is taken until: {go}\n"
    arrange(redis_url, lambda home: home.coordination.set_cap("tea", 1))
    assert playbooksctl("submit", "tea", "--args", '["green"]').stderr == ""


def test_submitting_the_same_again_prints_the_id_again_and_starts_nothing(redis_url):
    arrange(redis_url, a_worker)
    first, _ = told("submit", "tea", "--args", '["green"]', "--agent-id", "a1")
    second, code = told("submit", "tea", "--args", '["green"]', "--agent-id", "a1")
    assert (first["agent_id"], first["fresh"], code) == ("a1", True, 0)
    assert (second["agent_id"], second["fresh"]) == ("a1", False)


def test_submitting_something_else_under_an_id_that_is_taken_exits_2_naming_its_status(redis_url):
    arrange(redis_url, a_worker)
    playbooksctl("submit", "tea", "--args", '["green"]', "--agent-id", "a1")
    result = playbooksctl("submit", "tea", "--args", '["black"]', "--agent-id", "a1")
    assert result.exit_code == 2
    assert "a1" in result.stderr and "ready" in result.stderr


@pytest.mark.parametrize(
    "words, said",
    [
        (["submit", "tea:pour"], "main"),
        (["submit", "tea"], "topic"),
        (["submit", "tea", "--args", '["green", 2, 3]'], "too many"),
        (["submit", "tea", "--agent-id", "-x", "--args", '["green"]'], "-x"),
        (["submit", "tea", "--agent-id", "a b", "--args", '["green"]'], "a b"),
    ],
)
def test_what_the_workers_programs_do_not_accept_is_refused_before_an_agent_exists(redis_url, words, said):
    arrange(redis_url, a_worker)
    result = playbooksctl(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert told("list") == ([], 0)


def test_a_queue_that_no_live_worker_takes_from_is_used_with_a_warning(redis_url):
    arrange(redis_url, a_worker)
    result = playbooksctl("submit", "tea", "--args", '["green"]', "--agent-id", "a1", "--queue", "night")
    assert result.exit_code == 0
    assert "warning" in result.stderr and "night" in result.stderr
    assert told("show", "a1")[0]["queue"] == "night"


def test_a_file_is_understood_as_the_program_that_workers_make_of_it(redis_url):
    arrange(redis_url, a_worker)
    told_, code = told("submit", "some/folder/tea.py:main", "--args", '["green"]')
    assert (code, told_["program"], told_["entry"]) == (0, "tea", "main")


def test_submit_waits_for_a_worker_and_then_lists_the_programs_that_are_known(redis_url, monkeypatch):
    monkeypatch.setattr(submit_module, "WAIT_FOR_PROGRAM_S", 0.3)
    arrange(redis_url, a_worker)
    result = playbooksctl("submit", "coffee")
    assert result.exit_code == 2
    assert "'coffee'" in result.stderr and "known: tea" in result.stderr


def test_submit_goes_on_as_soon_as_a_worker_knows_the_program(redis_url):
    late = threading.Timer(0.5, lambda: arrange(redis_url, a_worker))
    late.start()
    result = playbooksctl("submit", "tea", "--args", '["green"]')
    late.join()
    assert result.exit_code == 0, result.stderr


# --- wait ----------------------------------------------------------------------------------------------------------------


def test_wait_prints_the_result_of_a_completed_agent_and_exits_0(redis_url):
    arrange(redis_url, lambda home: an_agent(home, steps=2, kind="completed", result={"cups": 3}))
    told_, code = told("wait", "a1")
    assert code == 0
    assert (told_["agent_id"], told_["status"], told_["result"], told_["verified"]) == (
        "a1",
        "completed",
        {"cups": 3},
        True,
    )
    assert told_["checkpoint"].endswith("-3")
    assert json.loads(playbooksctl("wait", "a1").stdout) == {"cups": 3}


def test_wait_prints_the_traceback_of_a_failed_agent_and_exits_1(redis_url):
    error = {"type": "KeyError", "message": "'cup'", "traceback": "Traceback ...\n  File tea.py, line 3\n"}
    arrange(redis_url, lambda home: an_agent(home, steps=1, kind="failed", error=error))
    told_, code = told("wait", "a1")
    assert code == 1
    assert told_["error"] == {"type": "KeyError", "message": "'cup'"}
    result = playbooksctl("wait", "a1")
    assert "tea.py, line 3" in result.stderr and "KeyError: 'cup'" in result.stderr
    assert result.stdout == ""


def test_wait_exits_3_for_an_agent_that_is_blocked_and_says_why(redis_url):
    async def story(home):
        lock = await an_agent(home, steps=1)
        await home.coordination.stop(lock, Status.BLOCKED, "the code changed")

    arrange(redis_url, story)
    told_, code = told("wait", "a1")
    assert code == 3
    assert (told_["status"], told_["error"]["message"]) == ("blocked", "the code changed")


def test_wait_that_runs_out_exits_124_and_says_where_the_agent_stands(redis_url):
    arrange(redis_url, lambda home: an_agent(home, steps=1))
    told_, code = told("wait", "a1", "--timeout", "0.2")
    assert code == 124
    assert (told_["status"], told_["error"]["type"]) == ("running", "TimeoutError")
    assert "line 20" in told_["error"]["message"]


def test_wait_ends_when_the_agent_does(redis_url):
    lock = arrange(redis_url, lambda home: an_agent(home, steps=1))

    async def finish(home):
        final = entry_of(lock, 2, "completed", result="done")
        await home.checkpoints.save(lock, final, oldest=CheckpointId(lock.fence, 1))
        await home.coordination.finish(lock, Status.COMPLETED, final)

    late = threading.Timer(0.3, lambda: arrange(redis_url, finish))
    late.start()
    result = playbooksctl("wait", "a1", "--timeout", "30")
    late.join()
    assert (result.exit_code, result.stdout.strip()) == (0, "done")


def test_a_result_that_another_key_signed_is_not_believed(redis_url, monkeypatch):
    arrange(redis_url, lambda home: an_agent(home, kind="completed", result=1))
    monkeypatch.setenv("PLAYBOOKS_DURABILITY__SIGNING_KEY", "another key of thirty-two letters!")
    told_, code = told("wait", "a1")
    assert code == 3
    assert told_["error"]["type"] == "BadCheckpoint"
    assert "result" not in told_


def test_without_a_key_the_result_is_told_with_a_warning(redis_url, monkeypatch):
    arrange(redis_url, lambda home: an_agent(home, kind="completed", result=1))
    monkeypatch.delenv("PLAYBOOKS_DURABILITY__SIGNING_KEY")
    result = playbooksctl("wait", "a1")
    assert (result.exit_code, result.stdout.strip()) == (0, "1")
    assert "not checked" in result.stderr


# --- list, show, workers -------------------------------------------------------------------------------------------------


def test_list_tells_every_agent(redis_url):
    async def story(home):
        await an_agent(home, "a1", steps=2)
        await an_agent(home, "a2", kind="completed", result=1)
        await home.coordination.create(start("a3"))

    arrange(redis_url, story)
    agents, code = told("list")
    assert code == 0
    assert {each["agent_id"]: (each["status"], each["seq"]) for each in agents} == {
        "a1": ("running", 2),
        "a2": ("completed", 1),
        "a3": ("ready", 0),
    }
    table = playbooksctl("list").stdout
    assert [line.split()[0] for line in table.splitlines()][:1] == ["AGENT"]
    assert {line.split()[0] for line in table.splitlines()[1:]} == {"a1", "a2", "a3"}


def test_list_shows_the_newest_and_those_of_a_status_and_counts_the_rest(redis_url):
    async def story(home):
        await an_agent(home, "a0", steps=2)
        for number in range(1, 5):
            await home.coordination.create(start(f"a{number}"))
            await asyncio.sleep(0.002)  # their births are milliseconds

    arrange(redis_url, story)
    assert [each["agent_id"] for each in told("list", "--limit", "2")[0]] == ["a4", "a3"]
    assert {each["agent_id"] for each in told("list", "--status", "running", "--status", "failed")[0]} == {"a0"}
    assert len(told("list", "--limit", "0")[0]) == 5
    result = playbooksctl("list", "--status", "ready", "--limit", "3")
    assert "older ones, not shown: 1" in result.stderr
    assert "no agents that are failed" in playbooksctl("list", "--status", "failed").stderr
    result = playbooksctl("list", "--status", "asleep")
    assert result.exit_code == 2 and "There are: ready, running" in result.stderr


def test_show_tells_status_worker_fence_checkpoint_and_the_call_stack(redis_url):
    async def story(home):
        await a_worker(home)
        return await an_agent(home, steps=2)

    lock = arrange(redis_url, story)
    told_, code = told("show", "a1")
    assert code == 0
    assert (told_["status"], told_["worker"], told_["pid"]) == ("running", "worker-1", 4711)
    assert (told_["session"], told_["fence"]) == (SESSION, lock.fence)
    assert (told_["checkpoint"], told_["seq"]) == (f"{lock.fence}-2", 2)
    assert [(frame["playbook"], frame["line"], frame["statement"]) for frame in told_["stack"]] == [
        ("tea:main", 12, "notes.append(await digest(source))"),
        ("tea:digest", 20, "return await read(source)"),
    ]
    text = playbooksctl("show", "a1").stdout
    for part in ("running", "worker-1", str(lock.fence), "tea:digest line 20", "return await read(source)"):
        assert part in text


def test_workers_tells_sessions_what_they_hold_and_the_programs(redis_url):
    async def story(home):
        await a_worker(home)
        created = await home.coordination.create(start())
        await home.coordination.enqueue(created.ticket)
        await home.coordination.read(SESSION, ["tea"], limit=1, wait_s=5)

    arrange(redis_url, story)
    workers, code = told("workers")
    assert code == 0
    assert [(each["worker"], each["pid"], each["agents"]) for each in workers] == [("worker-1", 4711, ["a1"])]
    text = playbooksctl("workers").stdout
    assert "worker-1" in text and "programs: tea" in text


@pytest.mark.parametrize("command", ["wait", "show"])
def test_an_unknown_agent_exits_2_and_names_the_command_that_lists_them(command):
    result = playbooksctl(command, "nobody")
    assert result.exit_code == 2
    assert "nobody" in result.stderr and "playbooksctl list" in result.stderr


@pytest.mark.parametrize("words", [["list"], ["workers"], ["show", "a1"], ["wait", "a1"], ["submit", "tea"]])
def test_a_redis_that_is_not_there_exits_3_at_once_with_what_to_do(words, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        began = time.monotonic()
        result = playbooksctl(*words, "--redis-url", f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
    assert result.exit_code == 3
    assert "--redis-url" in result.stderr and "playbooksctl dev" in result.stderr
    assert time.monotonic() - began < 8


def test_where_no_redis_is_configured_and_none_answers_the_folder_of_run_is_meant(tmp_path, monkeypatch):
    """Whoever has only ever typed `run` here has no Redis."""

    async def nobody(redis_url):
        raise Unreachable("nobody listens there")
        yield

    monkeypatch.delenv("PLAYBOOKS_REDIS__URL", raising=False)
    monkeypatch.setattr(cli_connect, "redis_home", asynccontextmanager(nobody))
    result = playbooksctl("list")
    assert result.exit_code == 3
    assert "nobody listens there" in result.stderr
    (tmp_path / ".checkpoints").mkdir()
    result = playbooksctl("list")
    assert result.exit_code == 0, result.stderr
    assert "no agents" in result.stderr


def test_list_without_a_redis_points_at_the_folder_of_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAYBOOKS_REDIS__URL", "redis://127.0.0.1:1/0")
    (tmp_path / ".checkpoints").mkdir()
    result = playbooksctl("list")
    assert result.exit_code == 3
    assert "--storage-path .checkpoints" in result.stderr


def test_a_dev_in_this_folder_is_found_after_flag_environment_and_file(redis_url, monkeypatch, tmp_path):
    arrange(redis_url, lambda home: an_agent(home, kind="completed", result=1))
    monkeypatch.delenv("PLAYBOOKS_REDIS__URL")
    monkeypatch.delenv("PLAYBOOKS_DURABILITY__SIGNING_KEY")
    (tmp_path / ".playbooks").mkdir()
    (tmp_path / "key").write_text(KEY)
    (tmp_path / ".playbooks" / "dev.json").write_text(
        json.dumps({"redis_url": redis_url, "signing_key_file": str(tmp_path / "key")})
    )
    told_, code = told("wait", "a1")
    assert (code, told_["result"], told_["verified"]) == (0, 1, True)
