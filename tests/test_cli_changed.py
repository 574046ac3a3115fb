"""A program edited under its agents, as a person meets it: `check` before, `run --resume` or `retry` after."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from playbooks_providers.envelope import Sealer
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.model import Choice, SessionInfo, StartRecord, Status, Taken
from playbooks_providers.redis import connect
from playbooks_worker.cli.main import app

KEY = "a signing key of thirty-two letters"
PROGRAM = """
import asyncio, os
from playbooks_worker import playbook

async def effect(name):
    print("effect", name, flush=True)
    if name == "dies" and not os.path.exists("gate"):
        os.kill(os.getpid(), 9)
    await asyncio.sleep(0)
    return name

@playbook
async def main(topic="tea"):
    first = await effect(topic)
    second = await effect("dies")
    return [first, second]
"""
EDITED = PROGRAM.replace("return [first, second]", "return ['new', first, second]")
MOVED = PROGRAM.replace(
    "    first = await effect(topic)", "    await effect('before')\n    first = await effect(topic)"
)


class Desk:
    def __init__(self, path):
        self.path = path
        self.write(PROGRAM)

    def write(self, text):
        (self.path / "tea.py").write_text(text)

    def run(self, *words, **environment):
        return subprocess.run(
            [sys.executable, "-m", "playbooks_worker.cli", *words],
            cwd=self.path, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def told(self, *words):
        done = self.run(*words, "--json")
        return json.loads(done.stdout.splitlines()[-1]), done.returncode

    def left(self, *agents):
        for agent in agents:
            assert self.run("run", "tea.py", "--agent-id", agent).returncode == -9
        (self.path / "gate").touch()


def effects(done):
    return [line.removeprefix("effect ") for line in done.stdout.splitlines() if line.startswith("effect ")]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    for name in ("PLAYBOOKS_DURABILITY__SIGNING_KEY", "PLAYBOOKS_REDIS__URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return Desk(tmp_path)


def test_an_edited_program_blocks_its_agent_and_shows_the_diff(desk):
    desk.left("a1")
    desk.write(EDITED)
    done = desk.run("run", "tea.py", "--resume", "a1")
    assert done.returncode == 3 and not effects(done)
    *diff, error = done.stderr.splitlines()
    assert "-    return [first, second]" in diff and "+    return ['new', first, second]" in diff
    assert error.startswith("error: agent a1 is blocked: playbook tea:main was edited since its checkpoint")
    assert "--accept-changed" in error and "--restart" in error
    shown, _ = desk.told("show", "a1", "--storage-path", ".checkpoints")
    assert shown["status"] == "blocked" and shown["changes"] == diff
    assert shown["why"].startswith("playbook tea:main was edited") and "\n" not in shown["why"]
    told, code = desk.told("run", "tea.py", "--resume", "a1")
    assert code == 3 and told["changes"] == diff and "\n" not in told["error"]["message"]


def test_a_person_accepts_the_change_and_the_agent_goes_on(desk):
    desk.left("a1")
    desk.write(EDITED)
    done = desk.run("run", "tea.py", "--resume", "a1", "--accept-changed")
    assert done.returncode == 0, done.stderr
    assert effects(done) == ["dies"] and done.stdout.endswith('[\n  "new",\n  "tea",\n  "dies"\n]\n')


def test_where_the_sites_do_not_line_up_accepting_is_refused_and_restarting_works(desk):
    desk.left("a1")
    desk.write(MOVED)
    done = desk.run("run", "tea.py", "--resume", "a1", "--accept-changed")
    assert done.returncode == 3 and not effects(done)
    assert "the change cannot be accepted: playbook tea:main: site 1 was" in done.stderr.splitlines()[-1]
    done = desk.run("run", "tea.py", "--resume", "a1", "--restart")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:4] == [
        "Starting again: agent a1 starts with tea:main", "effect before", "effect tea", "effect dies",
    ]  # fmt: skip
    told, _ = desk.told("show", "a1", "--storage-path", ".checkpoints")
    assert told["status"] == "completed" and told["seq"] > 3  # numbers of the agent's whole life


def test_an_accepted_change_needs_no_further_word_though_the_process_died_before_its_next_checkpoint(desk):
    desk.left("a1")
    (desk.path / "gate").unlink()
    desk.write(EDITED.replace("first = await effect(topic)", "first = await effect(topic)\n    await effect('dies')"))
    assert desk.run("run", "tea.py", "--resume", "a1", "--accept-changed").returncode == -9  # in the new effect
    (desk.path / "gate").touch()
    done = desk.run("run", "tea.py", "--resume", "a1")
    assert done.returncode == 0, done.stderr


def test_check_says_which_agents_would_block_and_exits_with_1(desk):
    desk.left("a1", "a2")
    assert desk.run("run", "tea.py", "--agent-id", "done").returncode == 0
    done = desk.run("check", "tea.py", "--storage-path", ".checkpoints")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "agents of tea: 2 would resume, 0 would block"
    assert "done" not in done.stdout
    desk.write(EDITED)
    done = desk.run("check", "tea.py", "--storage-path", ".checkpoints")
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and lines[-1] == "agents of tea: 0 would resume, 2 would block"
    assert "a1     ready   would block: playbook tea:main was edited since its checkpoint" in lines
    assert "playbook tea:main was edited since its checkpoint: a1, a2" in lines
    assert "  its sites line up: --accept-changed would go on" in lines
    assert lines.count("+    return ['new', first, second]") == 1  # each change once, however many agents
    told, code = desk.told("check", "tea.py", "--storage-path", ".checkpoints")
    assert code == 1 and (told["resumes"], told["blocks"]) == (0, 2)
    (change,) = told["agents"][0]["changes"]
    assert change["accept_changed"] and change["playbook"] == "tea:main" and change["site"] == 1
    desk.write(MOVED)
    done = desk.run("check", "tea.py", "--storage-path", ".checkpoints")
    assert "  --accept-changed would be refused: playbook tea:main: site 1 was" in done.stdout


def test_check_reads_nothing_that_is_not_signed_with_the_key_and_writes_nothing(desk):
    desk.left("a1")
    other = "another signing key of thirty-two letters"
    done = desk.run("check", "tea.py", "--storage-path", ".checkpoints", PLAYBOOKS_DURABILITY__SIGNING_KEY=other)
    assert done.returncode == 1 and "signed with another key" in done.stdout
    (desk.path / ".checkpoints" / ".signing_key").rename(desk.path / "key")
    done = desk.run("check", "tea.py", "--storage-path", ".checkpoints")
    assert done.returncode == 2 and "no signing key here" in done.stderr and len(done.stderr.splitlines()) == 1
    (desk.path / "key").rename(desk.path / ".checkpoints" / ".signing_key")

    def everything():
        return {path: path.read_bytes() for path in (desk.path / ".checkpoints").rglob("*") if path.is_file()}

    before = everything()
    assert desk.run("check", "tea.py", "--storage-path", ".checkpoints").returncode == 0
    assert everything() == before


def test_check_looks_at_what_an_agent_without_a_checkpoint_was_started_with(desk):
    (desk.path / "gate").touch()
    desk.write(PROGRAM.replace("first = await effect(topic)", "os.kill(os.getpid(), 9)"))
    assert desk.run("run", "tea.py", "--agent-id", "a1", "--args", '["green"]').returncode == -9
    desk.write(PROGRAM)
    assert desk.run("check", "tea.py", "--storage-path", ".checkpoints").returncode == 0
    desk.write(PROGRAM.replace('main(topic="tea")', "main()").replace("effect(topic)", "effect('x')"))
    done = desk.run("check", "tea.py", "--storage-path", ".checkpoints")
    assert done.returncode == 1 and "would block: arguments don't fit main()" in done.stdout


def test_what_cannot_be_meant_is_refused_in_one_line(desk):
    for words, said in (
        (("run", "tea.py", "--restart"), "go with --resume"),
        (("run", "tea.py", "--accept-changed"), "go with --resume"),
        (("run", "tea.py", "--resume", "a1", "--restart", "--accept-changed"), "give one of them"),
        (("run", "tea.py", "--resume", "a1", "--restart", "--at", "3"), "give one of them"),
        (("retry", "a1", "--restart", "--accept-changed"), "give one of them"),
        (("check", "coffee.py"), "no such file"),
        (("check", "tea.py", "--storage-path", "nowhere"), "no such folder"),
        (("retry", "a b"), "invalid agent id"),
    ):
        done = desk.run(*words)
        assert done.returncode == 2, words
        assert said in done.stderr and len(done.stderr.splitlines()) == 1, (words, done.stderr)
    assert desk.run("run", "tea.py", "--agent-id", "done").returncode in (0, -9)
    (desk.path / "gate").touch()
    assert desk.run("run", "tea.py", "--agent-id", "d2").returncode == 0
    done = desk.run("run", "tea.py", "--resume", "d2", "--restart")
    assert done.returncode == 2 and "agent d2 is completed: it does not go on" in done.stderr


# --- on Redis ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_desk(desk, monkeypatch, redis_url):
    monkeypatch.setenv("PLAYBOOKS_REDIS__URL", redis_url)
    monkeypatch.setenv("PLAYBOOKS_DURABILITY__SIGNING_KEY", KEY)
    monkeypatch.chdir(desk.path)
    return desk


def arrange(redis_url, story):
    async def main():
        home = connect(redis_url)
        try:
            return await story(home)
        finally:
            await home.close()

    return asyncio.run(main())


async def taken(home, agent="a1"):
    await home.coordination.register(SessionInfo(SessionId("s"), "w", "host", 1, "b", int(time.time() * 1000)))
    made = await home.coordination.create(StartRecord(AgentId(agent), "tea", "main", [], {}, "tea", 1))
    answer = await home.coordination.take(made.ticket, SessionId("s"), Nonce("n"))
    assert isinstance(answer, Taken)
    return answer.lock


@pytest.mark.redis
def test_retry_makes_a_blocked_agent_ready_as_a_person_has_chosen_and_puts_it_into_its_queue(redis_desk, redis_url):
    async def blocked(home):
        await home.coordination.stop(await taken(home), Status.BLOCKED, "agent a1: edited\nthe diff")

    arrange(redis_url, blocked)
    shown = CliRunner().invoke(app, ["show", "a1"]).stdout
    assert "edited" in shown and "the diff" in shown
    result = CliRunner().invoke(app, ["retry", "a1", "--accept-changed", "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {
        "agent_id": "a1", "status": "ready", "was": "blocked", "choice": "accept-changed",
    }  # fmt: skip

    async def read(home):
        (ticket,) = await home.coordination.read(SessionId("s2"), ["tea"], limit=5, wait_s=5)
        return await home.coordination.take(ticket, SessionId("s2"), Nonce("n2"))

    assert arrange(redis_url, read).lock.choice is Choice.ACCEPT_CHANGED
    refused = CliRunner().invoke(app, ["retry", "a1"])
    assert refused.exit_code == 2 and "agent a1 is running: there is nothing to retry" in refused.stderr
    unknown = CliRunner().invoke(app, ["retry", "nobody"])
    assert unknown.exit_code == 2 and "no agent nobody" in unknown.stderr


@pytest.mark.redis
def test_check_reads_the_agents_on_redis(redis_desk, redis_url):
    """As a worker would have left it: the life of the agent, on the contracts of Redis."""
    (redis_desk.path / "gate").touch()
    assert redis_desk.run("run", "tea.py", "--agent-id", "a1").returncode == 0

    async def copied(home):
        from pathlib import Path

        from playbooks_providers.filesystem import FilesystemCheckpoints, FilesystemStore
        from playbooks_providers.ids import CheckpointId
        from playbooks_providers.model import Entry

        files = FilesystemCheckpoints(FilesystemStore(Path(".checkpoints")))
        lock = await taken(home)
        first = next(iter(await files.list(AgentId("a1"))))
        entry = await files.load(AgentId("a1"), first.id)
        opened = Sealer(KEY).open(entry, AgentId("a1"))
        from dataclasses import replace

        header = replace(opened.header, fence=lock.fence, nonce=lock.nonce)
        sealed = Sealer(KEY).seal(header, opened.payload)
        moved = Entry(CheckpointId(lock.fence, header.seq), *sealed)
        await home.checkpoints.save(lock, moved, oldest=CheckpointId(0, 0))
        sources = {path.stem: path.read_text() for path in Path(".checkpoints/.sources").glob("*.json")}
        await home.checkpoints.keep_sources(sources)

    arrange(redis_url, copied)
    assert redis_desk.run("check", "tea.py").returncode == 0
    redis_desk.write(EDITED)
    done = redis_desk.run("check", "tea.py")
    assert done.returncode == 1 and "+    return ['new', first, second]" in done.stdout.splitlines()
