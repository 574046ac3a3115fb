"""`explain` and `show --locals` as processes: what they print, in pipes and as JSON, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os
from playbooks_worker import playbook

class Sad:
    def __repr__(self):
        raise ValueError("no")

async def effect(name):
    await asyncio.sleep(0)
    if name == "dies":
        os.kill(os.getpid(), 9)
    return name

class Report:
    @playbook
    async def write(self):
        await effect("one")

@playbook
async def main(topic="tea"):
    words, sad = ["w"] * 50, Sad()
    print("ran")
    first = await effect(topic)
    second = await effect("dies")
    return [first, second]
"""


class Desk:
    def __init__(self, path):
        self.path = path
        (path / "tea.py").write_text(PROGRAM)

    def run(self, *words, cwd=None, **environment):
        return subprocess.run(
            [sys.executable, "-m", "playbooks_worker.cli", *words],
            cwd=cwd or self.path, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip


@pytest.fixture
def desk(tmp_path, monkeypatch):
    for name in ("PLAYBOOKS_DURABILITY__SIGNING_KEY", "PLAYBOOKS_REDIS__URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return Desk(tmp_path)


def test_explain_prints_the_sites_and_the_rewritten_source(desk):
    done = desk.run("explain", "tea.py:main")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"tea:main  {desk.path / 'tea.py'}:21  fingerprint ")
    assert "SITE  LINE  STATEMENT                      INSIDE  ALSO SAVED" in lines
    assert "   1    24  first = await effect(topic)            under way: _t1" in lines
    assert "async def main():" in lines and "\x1b" not in done.stdout
    told = json.loads(desk.run("explain", "tea:Report.write", "--json").stdout)
    assert told["playbook"] == "tea:Report.write" and [site["number"] for site in told["sites"]] == [1]


def test_explain_says_which_playbooks_there_are(desk):
    for words, said in (
        ("tea.py", "which playbook of tea.py? It has: Report.write, main"),
        ("tea.py:nothing", "tea.py has no playbook 'nothing'; it has: Report.write, main"),
        ("coffee.py:main", "no such file: coffee.py"),
        ("json:main", "json has no playbook"),
        ("tea.py:", "names no playbook after the colon"),
    ):
        done = desk.run("explain", words)
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_show_locals_prints_each_frame_with_its_variables_and_runs_nothing(desk):
    assert desk.run("run", "tea.py", "--agent-id", "a1").returncode == -9
    done = desk.run("show", "a1", "--locals", "--storage-path", ".checkpoints")
    assert done.returncode == 0, done.stderr
    assert "ran" not in done.stdout and "topic = 'tea'" in done.stdout and "... +30" in done.stdout
    assert "sad = <repr-error 'no'>" in done.stdout and "(its await came to) = 'tea'" in done.stdout
    told = json.loads(desk.run("show", "a1", "--locals", "--storage-path", ".checkpoints", "--json").stdout)
    (frame,) = told["frames"]
    assert frame["locals"]["topic"] == "'tea'" and frame["statement"] == "first = await effect(topic)"
    assert "frames" not in json.loads(desk.run("show", "a1", "--storage-path", ".checkpoints", "--json").stdout)


TASKS = """
import asyncio, os, socket
from playbooks_worker import playbook

async def effect(name, turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)
    if name == "dies":
        os.kill(os.getpid(), 9)
    return name

@playbook
async def pick(n):
    return await effect(n, 10**9)

@playbook
async def main():
    mine = [socket.socket()]
    done = asyncio.create_task(effect("done"), name="first")
    waits = asyncio.create_task(pick(3), name="second")
    plain = asyncio.create_task(effect("long", 10**9), name="third")
    also = {"mine": mine}
    await effect("one", 30)
    await effect("dies", 30)
"""


def test_show_locals_says_of_tasks_what_they_run_and_came_to_and_of_what_was_lost_where_it_stood(desk):
    (desk.path / "tasks.py").write_text(TASKS)
    assert desk.run("run", "tasks.py", "--agent-id", "a1").returncode == -9
    done = desk.run("show", "a1", "--locals", "--storage-path", ".checkpoints", "--json")
    variables = json.loads(done.stdout)["frames"][0]["locals"]
    assert variables["done"] == "<task first, returned 'done'>"
    assert variables["waits"] == "<task second of tasks:pick, under way>"
    assert variables["plain"] == "<task third of effect, under way>"
    assert variables["mine"] == "[<not restored: mine[0] (socket.socket) of tasks:main>]"


def test_show_locals_needs_the_program_and_the_key_and_says_so(desk, tmp_path_factory):
    assert desk.run("run", "tea.py", "--agent-id", "a1").returncode == -9
    store = str(desk.path / ".checkpoints")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "coffee.py").write_text(PROGRAM)
    (elsewhere / "tea.py").write_text(PROGRAM.replace("first, second", "second, first"))

    def refused(*words, code=2, **environment):
        done = desk.run("show", "a1", "--storage-path", store, *words, cwd=elsewhere, **environment)
        assert done.returncode == code and len(done.stderr.splitlines()) == 1 and "topic" not in done.stdout, done
        return done.stderr

    assert "agent a1 runs tea, and coffee.py is coffee" in refused("--locals", "--program", "coffee.py")
    assert "--program goes with --locals" in refused("--program", "tea.py")
    assert "tea:main was edited" in refused("--locals", code=3)
    (elsewhere / "tea.py").unlink()
    assert "name it with --program FILE" in refused("--locals")
    other = {"PLAYBOOKS_DURABILITY__SIGNING_KEY": "another signing key of thirty-two letters"}
    assert "signed with another key" in refused("--locals", "--program", "/nowhere/tea.py", code=3, **other)
    (desk.path / ".checkpoints" / ".signing_key").unlink()
    assert "no signing key here" in refused("--locals")
