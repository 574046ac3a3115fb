"""What a person may type, and what is told when it is wrong: before anything is started, in one line, with exit code 2."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from playbooks_worker.cli.main import COMMANDS, app
from playbooks_worker.cli.output import CommandError, Exit, Output, exit_of
from playbooks_worker.cli.target import Target, arguments, target
from playbooks_worker.cli.views import table_of


def playbooksctl(*words: str):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    "text, entry, program, called",
    [
        ("audit.py", None, "audit.py", "main"),
        ("audit.py:sweep", None, "audit.py", "sweep"),
        ("audit.py", "sweep", "audit.py", "sweep"),
        ("audit.py:sweep", "sweep", "audit.py", "sweep"),
        ("some.package:Report.write", None, "some.package", "Report.write"),
        ("/odd:folder/audit.py", None, "/odd:folder/audit.py", "main"),
    ],
)
def test_a_program_and_its_playbook_are_named_in_one_word_or_two(text, entry, program, called):
    found = target(text, entry)
    assert (found.program, found.entry) == (program, called)


def test_no_playbook_named_means_main_but_is_remembered_as_not_named():
    assert target("audit.py") == Target("audit.py", None)


@pytest.mark.parametrize(
    "text, entry", [("audit.py:sweep", "main"), ("audit.py:", None), (":main", None), ("a.py:1x", None)]
)
def test_a_target_that_cannot_be_meant_is_refused(text, entry):
    with pytest.raises(CommandError) as caught:
        target(text, entry)
    assert caught.value.code is Exit.USAGE


def test_arguments_are_keywords_in_an_object_and_positions_in_an_array():
    assert arguments('{"topic": "tea", "depth": 2}') == ([], {"topic": "tea", "depth": 2})
    assert arguments('["tea", 2]') == (["tea", 2], {})
    assert arguments(None) == ([], {})


@pytest.mark.parametrize("text", ["tea", '"tea"', "3", "null", "{topic: 1}"])
def test_arguments_of_any_other_shape_are_refused(text):
    with pytest.raises(CommandError) as caught:
        arguments(text)
    assert "--args" in str(caught.value)


def test_exit_codes_are_the_ones_that_scripts_rely_on():
    codes = {
        status: exit_of(status) for status in ("completed", "failed", "blocked", "quarantined", "cancelled", "ready")
    }
    assert codes == {"completed": 0, "failed": 1, "blocked": 3, "quarantined": 3, "cancelled": 3, "ready": None}
    assert (Exit.USAGE, Exit.TIMED_OUT, Exit.INTERRUPTED) == (2, 124, 130)


@pytest.mark.parametrize(
    "words, said",
    [
        (["run", "nowhere.py"], "no such file"),
        (["run", "p.py", "a1"], "--resume"),
        (["run", "p.py", "--at", "3"], "--resume"),
        (["run", "p.py", "--resume", "--args", "[]"], "--args"),
        (["run", "p.py:one", "--entry", "two"], "two entries"),
        (["run", "p.py", "--args", "tea"], "--args"),
        (["dev", "nowhere.py"], "no such file"),
        (["wait"], "ID"),
        (["fly"], "fly"),
    ],
)
def test_bad_usage_exits_2_and_says_what_is_wrong_on_stderr(words, said):
    result = playbooksctl(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_with_json_an_error_is_the_last_line_of_stdout_too():
    result = playbooksctl("run", "nowhere.py", "--json")
    assert result.exit_code == 2
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["error"]["type"] == "ProgramError"
    assert "no such file" in told["error"]["message"]


@pytest.mark.parametrize("words", [["wait"], ["fly"], ["run", "p.py", "--at", "0"]])
def test_what_the_parser_refuses_is_answered_in_json_too(words):
    done = subprocess.run(
        [sys.executable, "-m", "playbooks_worker.cli", *words, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["error"]["type"] == "UsageError" and told["error"]["message"]
    assert told["agent_id"] is told["status"] is told["checkpoint"] is None


def test_an_error_and_what_to_do_next_are_one_line():
    result = playbooksctl("list", "--redis-url", "redis://127.0.0.1:1")
    assert result.exit_code == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and "--redis-url" in line


@pytest.mark.parametrize("columns", [60, 100])
def test_the_help_of_each_command_fits_its_terminal_explains_each_word_and_tells_no_types_of_python(columns):
    for name, _, _ in COMMANDS:
        page = CliRunner().invoke(app, [name, "--help"], prog_name="playbooksctl", terminal_width=columns)
        assert page.exit_code == 0 and max(map(len, page.stdout.splitlines())) <= columns, name
        usage, _, rest = page.stdout.partition("\n\n")
        assert "<" not in page.stdout.replace("<high|normal|low>", ""), name
        for argument in usage.split("[OPTION]...")[1].split():
            word = argument.removesuffix("...").removeprefix("[")
            word = word.removesuffix("]") if argument.startswith("[") else word
            assert re.search(rf"^  {re.escape(word)}  +\S", rest, re.MULTILINE), (name, word)


def test_the_help_of_all_tells_where_settings_come_from_and_what_exit_codes_mean():
    page = CliRunner().invoke(app, ["--help"], prog_name="playbooksctl", terminal_width=60).stdout
    headings = [line.rstrip(":") for line in page.splitlines() if line.endswith(":") and line[0].isalpha()]
    assert headings == ["Options", "Commands", "Environment", "Files", "Exit status", "Examples"]
    told = page.partition("Exit status:")[2].partition("Examples:")[0]
    assert [int(line) for line in told.splitlines() if line.strip().isdigit()] == sorted(Exit)


def test_help_imports_nothing_that_only_a_command_needs():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "playbooks_worker.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    heavy = (
        "redis",
        "structlog",
        "rich",
        "pydantic",
        "dill",
        "playbooks_worker.engine",
        "playbooks_providers.settings",
    )
    assert not imported.intersection(heavy)
    assert {"run", "submit", "wait", "list", "show", "workers", "dev"} <= set(done.stdout.split())


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_on_a_terminal_of_any_width_an_id_is_in_one_piece_and_so_are_short_words(columns, monkeypatch):
    ids = ["negotiation-5c2b8e9f01", "negotiation-5c2b8e9f01.seller-7df749f07bd89db6"]
    table = table_of(("AGENT", "STATUS", "WAITS FOR"))
    for id in ids:
        table.add_row(id, "completed", "a letter of somebody who has not written for a long time")
    monkeypatch.setenv("COLUMNS", str(columns))
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setattr(printed, "isatty", lambda: True, raising=False)
    Output(False).show(table)
    for word in (*ids, "completed", "AGENT", "WAITS"):
        assert word in printed.getvalue()
