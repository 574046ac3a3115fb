"""What cannot be resumed is refused at decoration, naming file, line and construct, with advice."""

from __future__ import annotations

import importlib
import linecache
import re
import sys
import textwrap

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine.errors import PlaybookRefused

_HEAD = """\
import asyncio
import functools
from asyncio import run as runs
from playbooks_worker import playbook

async def effect(*args): return 1
def other(function): return function
def wrapping(function):
    @functools.wraps(function)
    def call(*args): return function(*args)
    return call
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("refused"):
            del sys.modules[name]


def refused(folder, text):
    """Import a program; answers the refusal, and the source line that it names."""
    path = folder / "refused.py"
    path.write_text(_HEAD + textwrap.dedent(text))
    importlib.invalidate_caches()
    linecache.checkcache()
    with pytest.raises(PlaybookRefused) as caught:
        importlib.import_module("refused")
    found = re.fullmatch(r"(.+?):(\d+): (.+)", str(caught.value), re.DOTALL)
    assert found is not None and found[1] == str(path)
    return found[3], path.read_text().splitlines()[int(found[2]) - 1].strip()


BODIES = {
    "async generator expression": ("a = (await effect(x) for x in [1])", "a = (await", "asynchronous generator expr"),
    "except* expression": (
        "try:\n    pass\nexcept* (await effect()):\n    pass",
        "except* (await effect()):",
        "await in an `except*` expression",
    ),
    "run": ("asyncio.run(effect())", "asyncio.run(", "asyncio.run"),
    "run by another name": ("runs(effect())", "runs(", "asyncio.run"),
    "Runner": ("with asyncio.Runner() as runner:\n    pass", "with asyncio.Runner", "asyncio.Runner"),
    "imported inside": ("from asyncio import run as bounded\nbounded(effect())", "bounded(", "asyncio.run"),
    "module imported inside": ("import asyncio as aio\naio.run(effect())", "aio", "asyncio.run"),
    "blocks too deep": (
        "\n".join(f"{'    ' * n}async with a:" for n in range(12)) + "\n" + "    " * 12 + "await effect()",
        "async with a:",
        "too many blocks inside each other: move the inner ones into a playbook of their own",
    ),
    "asynchronous generator": ("yield await effect()", "async def refused(a):", "asynchronous generator refused"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_construct_that_cannot_be_resumed_is_refused_where_it_stands(name, folder):
    body, line, construct = BODIES[name]
    text = "@playbook\nasync def refused(a):\n" + textwrap.indent(body, "    ") + "\n"
    said, named = refused(folder, text)
    assert construct in said
    assert named.startswith(line)
    assert re.search(r": .{12,}$", said), "advice"


def test_a_nested_function_is_refused(folder):
    said, line = refused(folder, "def outer():\n    @playbook\n    async def inner(): pass\nouter()\n")
    assert "nested playbook outer.<locals>.inner" in said and "module level" in said
    assert "async def inner" in line or line == "@playbook"


def test_a_second_playbook_of_one_name_is_refused(folder):
    """Given handlers that a registry holds, all called `_`, Then the second is refused: no resume could tell them apart."""
    said, line = refused(
        folder, "@other\n@playbook\nasync def _(a): pass\n@other\n@playbook\nasync def _(a): return 1\n"
    )
    assert "playbook _ is defined at line" in said and "give each a name of its own" in said
    assert line == "async def _(a): return 1"


def test_one_of_two_definitions_and_a_module_that_is_loaded_again_are_fine(folder):
    path = folder / "refused_reloaded.py"
    path.write_text(
        _HEAD
        + "if len('a') == 1:\n    @playbook\n    async def b(): pass\nelse:\n    @playbook\n    async def b(): return 1\n"
    )
    importlib.invalidate_caches()
    module = importlib.import_module("refused_reloaded")
    importlib.reload(module)
    path.write_text(path.read_text().replace("if len", "\n\nif len"))
    linecache.checkcache()
    assert importlib.reload(module).b is not None


def test_an_ordinary_function_is_refused(folder):
    said, line = refused(folder, "@playbook\ndef plain(): pass\n")
    assert "def plain" in said and "`async def`" in said
    assert line == "def plain(): pass"


@pytest.mark.parametrize("decorator", ["other", "wrapping", "staticmethod", "classmethod", "functools.cache"])
def test_on_top_of_another_decorator_it_is_refused(decorator, folder):
    said, _ = refused(folder, f"@playbook\n@{decorator}\nasync def above(): pass\n")
    assert "another decorator" in said or f"on top of @{decorator}" in said
    assert "put @playbook directly above `async def`" in said


def test_under_other_decorators_it_is_fine(folder):
    (folder / "refused_not.py").write_text(
        _HEAD + "class A:\n    @staticmethod\n    @other\n    @playbook\n    async def b(): pass\n"
    )
    importlib.invalidate_caches()
    assert importlib.import_module("refused_not").A.b is not None


def test_a_lambda_is_refused():
    with pytest.raises(PlaybookRefused, match="async def|not found"):
        playbook(lambda: None)


def test_code_without_source_is_refused():
    namespace = {"playbook": playbook, "__name__": "refused_nowhere"}
    with pytest.raises(
        PlaybookRefused, match=r"<string>:\d: no source: a playbook needs its source: save it in a file"
    ):
        exec("@playbook\nasync def made(): pass\n", namespace)


def test_a_builtin_or_a_class_is_refused():
    for thing in (len, int, object()):
        with pytest.raises(PlaybookRefused, match="`async def`"):
            playbook(thing)


@pytest.mark.parametrize("edit", ["shifted", "changed", "constant"])
def test_a_file_edited_after_it_was_imported_is_refused(edit, folder):
    """Given a module whose file changed since, When a function of it becomes a playbook, Then it is refused."""
    path = folder / "refused_edited.py"
    text = "async def late(a):\n    b = a + 1\n    return b\n"
    path.write_text(text)
    importlib.invalidate_caches()
    late = importlib.import_module("refused_edited").late
    edited = {"shifted": "\n\n" + text, "changed": text.replace("a + 1", "a.b"), "constant": text.replace("1", "2")}
    path.write_text(edited[edit])
    linecache.checkcache()
    with pytest.raises(PlaybookRefused, match="changed after it was imported"):
        playbook(late)
