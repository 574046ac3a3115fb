"""Loading PROGRAM: names, shadowing, errors of one line. Each test imports in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAYBOOK = "from playbooks_worker import playbook\n@playbook\nasync def main(topic, *, depth=1):\n    return topic\n"
LOAD = """
import sys
from playbooks_worker.host.programs import ProgramError, load_all
try:
    for program in load_all(sys.argv[1:]).values():
        print(program.name, program.build, *sorted(program.playbooks), program.info().signatures["main"])
        assert sys.modules[program.name] is program.module
except ProgramError as error:
    print("refused:", error)
"""


def load(*programs: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD, *programs],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_file_is_imported_as_its_stem_with_its_folder_first(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "helper.py").write_text("TOPIC = 'tea'\n")
    (tmp_path / "there" / "job.py").write_text(
        "import sys, helper\nassert __name__ == 'job' and sys.modules['job'].__dict__ is globals()\n" + PLAYBOOK
    )
    said = load("there/job.py", cwd=tmp_path)
    assert said.startswith("job ") and said.endswith(
        "main [('topic', 'POSITIONAL_OR_KEYWORD', False), ('depth', 'KEYWORD_ONLY', True)]"
    )


def test_a_module_is_found_in_the_current_folder_and_may_be_in_a_package(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "job.py").write_text(PLAYBOOK)
    assert load("pack.job", cwd=tmp_path).startswith("pack.job ")


def test_the_build_changes_with_the_source_and_only_with_it(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(PLAYBOOK)
    first = load("job.py", cwd=tmp_path)
    assert load("job.py", cwd=tmp_path) == first
    (tmp_path / "job.py").write_text(PLAYBOOK + "# changed\n")
    assert load("job.py", cwd=tmp_path).split()[1] != first.split()[1]


@pytest.mark.parametrize(
    ("name", "source", "why"),
    [
        ("json.py", PLAYBOOK, "would shadow the standard library's module 'json'"),
        ("playbooks_worker.py", PLAYBOOK, "would shadow the module 'playbooks_worker' that is already loaded"),
        ("fakeredis.py", PLAYBOOK, "would shadow the installed module 'fakeredis'"),
        ("job.v2.py", PLAYBOOK, "cannot be the name of a module"),
        ("job.py", "x = (\n", "job.py does not compile: {folder}/job.py:1: '(' was never closed"),
        ("job.py", "\nimport nothing_such\n", "No module named 'nothing_such' ({folder}/job.py:2)"),
        ("job.py", "import sys\nsys.exit(3)\n", "could not be imported: SystemExit: 3 ({folder}/job.py:2)"),
        ("job.py", "x = 1\n", "job.py has no playbook"),
        ("job.py", PLAYBOOK + "@playbook\nasync def stream():\n    yield 1\n", "refused: {folder}/job.py:"),
    ],
)
def test_what_cannot_be_hosted_is_refused_in_one_line(tmp_path: Path, name: str, source: str, why: str) -> None:
    (tmp_path / name).write_text(source)
    said = load(name, cwd=tmp_path)
    assert said.startswith("refused: ") and "\n" not in said
    assert why.format(folder=tmp_path) in said


def test_a_missing_file_or_module_says_so_and_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "nearby.py").write_text(PLAYBOOK)
    assert load("gone.py", cwd=tmp_path) == "refused: no such file: gone.py"
    assert load("./job", cwd=tmp_path).startswith("refused: ./job is a folder")
    assert load("gone", cwd=tmp_path) == "refused: no module named 'gone'"
    assert load("not a module", cwd=tmp_path).startswith("refused: 'not a module' is neither")


def test_two_programs_of_one_name_are_refused_before_either_runs(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "job.py").write_text("raise RuntimeError('ran')\n")
    assert "would both be the program 'job'" in load("a/job.py", "b/job.py", cwd=tmp_path)


def test_a_folder_of_the_same_name_shadows_nothing(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "job").mkdir(parents=True)
    (tmp_path / "job.py").write_text(PLAYBOOK)
    assert load("job.py", cwd=tmp_path, PYTHONPATH=str(tmp_path / "elsewhere")).startswith("job ")
