"""docs/language.md is true: each of its programs runs and resumes from every checkpoint, or is refused as it says.

A block of Python in that page is a whole program, below the first one, which all others share. Three kinds, told apart by
a comment in them: `# refused: …` (at import, with these words), `# fails: …` (the agent ends failed, with these words),
`# lost: …` (so it ends where it is resumed, and only there), and programs that end the same in plain Python, in an agent,
and resumed from each of its checkpoints.
"""

from __future__ import annotations

import asyncio
import importlib
import linecache
import re
import sys
from pathlib import Path

import pytest

from playbooks_worker.engine.errors import PlaybookRefused
from playbooks_worker.engine.outcomes import Completed, Failed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, same_everywhere, start  # noqa: E402

PAGE = Path(__file__).parents[1] / "docs" / "language.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SAID = re.compile(r"# (refused|fails|lost): (.+)$", re.MULTILINE)


def blocks():
    """The shared beginning, and (line in the page, text) of each program."""
    text = PAGE.read_text()
    first, *others = _BLOCK.finditer(text)
    return first[1], [(text.count("\n", 0, block.start()) + 2, block[1]) for block in others]


SHARED, PROGRAMS = blocks()


@pytest.fixture
def program(tmp_path, monkeypatch, request):
    """Imports a program from a file of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = "language_" + re.sub(r"\W", "_", request.node.callspec.id)
    (tmp_path / f"{name}.py").write_text(SHARED + "\n\n" + request.param)
    importlib.invalidate_caches()
    linecache.checkcache()
    yield lambda: importlib.import_module(name)
    sys.modules.pop(name, None)


def of_kind(kind):
    """The programs that say so, by their line in the page."""
    found = [(line, text) for line, text in PROGRAMS if (said[1] if (said := _SAID.search(text)) else "runs") == kind]
    return {"argvalues": [text for _, text in found], "ids": [f"line {line}" for line, _ in found]}


@pytest.mark.parametrize("program", indirect=True, **of_kind("runs"))
def test_a_program_of_the_page_ends_the_same_wherever_it_is_killed(program):
    main = program().main
    assert same_everywhere(main) == Completed(asyncio.run(main()))


@pytest.mark.parametrize("program", indirect=True, **of_kind("refused"))
def test_a_program_of_the_page_is_refused_in_the_words_of_the_page(program, request):
    said = _SAID.search(request.node.callspec.params["program"])
    with pytest.raises(PlaybookRefused) as caught:
        program()
    assert str(caught.value).endswith(said[2])


@pytest.mark.parametrize("program", indirect=True, **of_kind("fails"))
def test_a_program_of_the_page_fails_in_the_words_of_the_page(program, request):
    said = _SAID.search(request.node.callspec.params["program"])
    outcome = start(program().main)
    assert isinstance(outcome, Failed)
    assert said[2] in str(outcome.error)


@pytest.mark.parametrize("program", indirect=True, **of_kind("lost"))
def test_a_program_of_the_page_fails_in_the_words_of_the_page_where_it_is_resumed(program, request):
    said = _SAID.search(request.node.callspec.params["program"])
    store = Store()
    assert isinstance(start(program().main, store=store), Completed)
    outcome = resume(store.payloads[-1])
    assert isinstance(outcome, Failed)
    assert said[2] in str(outcome.error)


def test_the_page_has_programs_of_every_kind():
    assert all(of_kind(kind)["ids"] for kind in ("runs", "refused", "fails", "lost"))
