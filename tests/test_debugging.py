"""Tools that look at running code see the user's own lines: tracebacks, pdb, coverage. Before and after a resume."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

DEBUGGED = """
import asyncio, os
from playbooks_worker import playbook

async def effect(name):
    await asyncio.sleep(0)
    if name == "dies" and not os.path.exists("gate"):
        os.kill(os.getpid(), 9)
    return name

@playbook
async def main(topic="tea"):
    first = await effect(topic)
    inner = await nested(first)
    return inner

@playbook
async def nested(given):
    x = await effect(given + "!")
    y = await effect("dies")
    STOP
    z = x + y
    await effect(z)
    for letter in "ab":
        z += await effect(letter)
    return z
"""
LINES = {text: number for number, text in enumerate(DEBUGGED.splitlines(), 1)}
COMMANDS = ["where", "p x, y", "p given", "next", "p z", "next", "next", "p 'at', letter", "continue"]


class Desk:
    def __init__(self, path):
        self.path = path

    def run(self, *words, said=""):
        command = [sys.executable, "-m", "playbooks_worker.cli", *words]
        return subprocess.run(
            command, cwd=self.path, input=said, capture_output=True, text=True, timeout=100, env=os.environ
        )

    def write(self, text):
        (self.path / "tea.py").write_text(text)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    for name in ("PLAYBOOKS_DURABILITY__SIGNING_KEY", "PLAYBOOKS_REDIS__URL", "PYTHONBREAKPOINT"):
        monkeypatch.delenv(name, raising=False)
    return Desk(tmp_path)


@pytest.mark.parametrize("stop", ["breakpoint()", "import pdb; pdb.set_trace()"])
@pytest.mark.parametrize("resumed", [False, True], ids=["at once", "after a resume"])
def test_pdb_stops_in_the_users_source_and_steps_through_its_lines(desk, stop, resumed):
    desk.write(DEBUGGED.replace("STOP", stop))
    words = ["run", "tea.py", "--agent-id", "a1"]
    if resumed:
        assert desk.run(*words).returncode == -9
        words = ["run", "tea.py", "--resume", "a1"]
    (desk.path / "gate").touch()
    first = ["next"] if sys.version_info >= (3, 13) else []  # from then on pdb stops at its own call, not after it
    done = desk.run(*words, said="\n".join(first + COMMANDS) + "\n")
    assert done.returncode == 0, done.stderr
    file, told = str(desk.path / "tea.py"), done.stdout
    where, *answers = told.split("(Pdb)")[1 + len(first) :]
    for line, function in (("    inner = await nested(first)", "main"), ("    z = x + y", "nested")):
        assert f"{file}({LINES[line]}){function}()\n-> {line.strip()}" in where
    stops = [answer.partition("\n")[0].strip() for answer in answers]
    assert stops[:3] == ["('tea!', 'dies')", "'tea'", f"> {file}({LINES['    await effect(z)']})nested()"]
    assert stops[3] == "'tea!dies'"
    assert stops[4] == f"> {file}({LINES['    for letter in ' + chr(34) + 'ab' + chr(34) + ':']})nested()"
    assert stops[5] == f"> {file}({LINES['        z += await effect(letter)']})nested()"
    assert stops[6] == "('at', 'a')"
    assert told.splitlines()[-1].endswith("tea!diesab")


def test_a_breakpoint_set_by_line_is_met_after_a_resume_in_every_turn_of_a_loop(desk):
    desk.write(DEBUGGED.replace("STOP", "breakpoint()"))
    assert desk.run("run", "tea.py", "--agent-id", "a1").returncode == -9
    (desk.path / "gate").touch()
    line = LINES["        z += await effect(letter)"]
    said = [f"b {line}", "continue", "p letter, z", "continue", "p letter, z", "continue"]
    done = desk.run("run", "tea.py", "--resume", "a1", said="\n".join(said) + "\n")
    assert done.returncode == 0, done.stderr
    answers = [answer.partition("\n")[0].strip() for answer in done.stdout.split("(Pdb)")[1:]]
    assert [answers[2], answers[4]] == ["('a', 'tea!dies')", "('b', 'tea!diesa')"]


def test_a_traceback_shows_the_users_lines_with_the_place_in_the_line(desk):
    desk.write(DEBUGGED.replace("STOP", "x.nothing, y"))
    (desk.path / "gate").touch()
    done = desk.run("run", "tea.py", "--agent-id", "a1")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    file = desk.path / "tea.py"
    for line, function in (("    inner = await nested(first)", "main"), ("    STOP", "nested")):
        place = lines.index(f'  File "{file}", line {LINES[line]}, in {function}')
        assert lines[place + 1].strip() == line.strip().replace("STOP", "x.nothing, y")
    assert "    x.nothing, y" in lines and "    ^^^^^^^^^" in lines
    assert not [line for line in lines if "playbooks_worker" in line]  # the engine's own frames say nothing to anybody


COVERED = '''
import asyncio
from playbooks_worker import playbook

async def effect(value):
    await asyncio.sleep(0)
    return value

class Room:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        return False

@playbook
async def main(turns=3):
    """A bit of everything."""
    total: int
    total = 0
    for turn in range(turns):
        if turn == 1:
            total += await effect(1)
            continue
        elif turn == 7:
            total += await effect(7)
        else:
            total = (
                total
                + await effect(10)
            )
    else:
        await effect("else of for")
    while await effect(total > 1000):
        await effect("never")
    try:
        await effect("in try")
        raise LookupError(total)
    except KeyError:
        await effect("never")
    except LookupError as error:
        total += await effect(error.args[0])
    else:
        await effect("never")
    finally:
        total += 1
    async with Room() as room:
        async with Room(), Room():
            await inner(room)
    found = [await effect(n)
             for n in range(3)
             if await effect(n)]
    later = lambda: total
    if found and (await effect(0) or await effect(2)):
        return later(), found
    await effect("never")
    return None

@playbook
async def inner(room):
    if not room:
        return await effect("never")
    match await effect(len("ab")):
        case 1:
            await effect("never")
        case 2:
            await effect("two")
    return (
        await effect("end")
    )
'''
DRIVER = """
import asyncio, json, sys
import coverage

how, file = sys.argv[1:]
measured = coverage.Coverage(data_file=None, include=[file])
measured.start()
import covered
from playbooks_worker.engine import Agent, Completed
if how == "plain":
    result = asyncio.run(covered.main())
else:
    payloads = []
    async def story():
        return await Agent("a", persist=lambda moment, payload: payloads.append(payload)).start(covered.main)
    result = asyncio.run(story()).value
    if how == "resumed":  # the lines of one that died at its second checkpoint, and of the one that went on
        measured.stop()
        measured.erase()
        payload, payloads = payloads[int(len(payloads) / 2)], []
        measured.start()
        async def again():
            return await Agent("a", persist=lambda moment, payload: None).resume(payload)
        assert asyncio.run(again()).value == result
measured.stop()
print(json.dumps([result, sorted(measured.get_data().lines(file) or [])]))
"""


def covered(tmp_path, how):
    (tmp_path / "covered.py").write_text(COVERED)
    (tmp_path / "driver.py").write_text(DRIVER)
    done = subprocess.run(
        [sys.executable, "driver.py", how, str(tmp_path / "covered.py")],
        cwd=tmp_path, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_coverage_of_an_agent_is_that_of_the_plain_program(tmp_path):
    result, lines = covered(tmp_path, "plain")
    as_agent, its_lines = covered(tmp_path, "agent")
    text = COVERED.splitlines()
    assert as_agent == result
    assert [text[line - 1] for line in its_lines] == [text[line - 1] for line in lines]
    assert not [line for line in its_lines if "never" in text[line - 1]]


def test_after_a_resume_coverage_has_no_line_that_the_program_never_runs(tmp_path):
    """On its way to the site a frame touches the lines that it skips: these count, as in the process before."""
    result, lines = covered(tmp_path, "plain")
    as_agent, its_lines = covered(tmp_path, "resumed")
    text = COVERED.splitlines()
    assert as_agent == result
    seen = [text[line - 1].strip() for line in its_lines]
    assert not [line for line in seen if "never" in line] and set(its_lines) <= set(lines)
    assert "return later(), found" in seen
