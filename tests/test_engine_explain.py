"""A playbook explained, and a checkpoint looked at: nothing of either runs."""

from __future__ import annotations

import ast
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import CodeChanged, Completed
from playbooks_worker.engine.explain import explained
from playbooks_worker.engine.looking import look

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, start  # noqa: E402

RAN: list[str] = []


async def effect(name):
    RAN.append(name)
    await asyncio.sleep(0)
    return name


class Room:
    def __init__(self):
        self.open = False

    def __reduce__(self):
        raise TypeError("a room of this process")

    async def __aenter__(self):
        self.open = True
        return self

    async def __aexit__(self, *raised):
        return False


@dataclass
class Note:
    text: str


@playbook
async def leaf(note, _t1=2):
    """Has names that look like ours."""
    total = []
    for word in note.text.split():
        async with Room() as room:
            total.append(await effect(word) + await effect(str(_t1)))
    later = lambda: total  # noqa: E731
    return later(), room.open


@playbook
async def main(topic, *rest, loud=False):
    note = Note(topic)
    try:
        found = await leaf(note)
    finally:
        del note
    return found


def test_every_site_is_told_with_its_line_its_surroundings_and_what_is_saved():
    told = explained(leaf.__playbook__)
    assert told.playbook == "test_engine_explain:leaf" or told.playbook.endswith(":leaf")
    assert (told.variables, told.shared) == (("note", "_t1", "word", "room", "later", "total"), ("total",))
    assert [(site.number, site.kind, site.statement) for site in told.sites] == [
        (1, "enter", "async with Room() as room:"),
        (2, "await", "total.append(await effect(word) + await effect(str(_t1)))"),
        (3, "await", "total.append(await effect(word) + await effect(str(_t1)))"),
        (4, "leave", "async with Room() as room:"),
    ]
    line = leaf.__playbook__.definition.node.lineno
    assert [site.line - line for site in told.sites] == [4, 5, 5, 4]
    assert told.sites[1].inside == (f"for (line {line + 3})", f"async with (line {line + 4})")
    iterator, *_ = told.sites[1].kept
    assert iterator.startswith("__i")  # one underscore is taken: the program has a `_t1`
    assert set(told.sites[1].kept) < set(told.sites[2].kept) < set(told.sites[2].in_flight)


def test_the_rewritten_source_is_legal_python_with_readable_names():
    told = explained(leaf.__playbook__)
    (function,) = ast.parse(told.source).body
    assert isinstance(function, ast.AsyncFunctionDef) and function.name == "leaf"
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    assert {"__f", "__pc", "__go", "_t1", "total", "effect"} <= names
    assert not any("." in name for name in names)
    assert told.source.splitlines()[0] == "# __f: the frame"


def test_explaining_changes_nothing_of_the_playbook():
    code = leaf.__playbook__.code
    assert explained(leaf.__playbook__) == explained(leaf.__playbook__)
    assert leaf.__playbook__.code is code


def payloads():
    store = Store()
    assert start(main, "a b", store=store) == Completed((["a2", "b2"], True))
    return store.payloads


def test_the_frames_of_a_checkpoint_are_shown_with_their_variables():
    for number, payload in enumerate(payloads()[:4]):
        RAN.clear()
        outer, inner = look("a", payload)
        assert RAN == []
        assert (outer.playbook.rpartition(":")[2], outer.depth) == ("main", 0)
        assert outer.statement == "found = await leaf(note)" and outer.outcome is None
        assert {name: value for name, value in outer.variables.items() if name != "note"} == {
            "topic": "a b", "rest": (), "loud": False,
        }  # fmt: skip
        assert inner.variables["note"] == Note("a b") and inner.variables["note"] is outer.variables["note"]
        assert inner.variables["word"] == "aabb"[number] and inner.variables["_t1"] == 2
        assert repr(inner.variables["room"]) == f"<made anew by the `with` in line {inner.line - 1}>"
        assert inner.variables["total"] == ["a2"][: number // 2]
        assert inner.outcome == (True, ("a", "2", "b", "2")[number])
        assert not any(name.startswith(".") for name in {**outer.variables, **inner.variables})


def test_looking_is_refused_where_a_resume_would_be(monkeypatch):
    payload = payloads()[0]
    monkeypatch.setattr(leaf.__playbook__, "fingerprint", "0" * 16)
    with pytest.raises(CodeChanged, match="leaf was edited"):
        look("a", payload)


def test_what_cannot_be_loaded_is_shown_as_a_marker(monkeypatch):
    payload = payloads()[0]
    monkeypatch.delattr(sys.modules[__name__], "Note")
    outer, inner = look("a", payload)
    assert "not restored" in repr(outer.variables["note"]) and "Note" in repr(outer.variables["note"])
    assert inner.variables["note"] is outer.variables["note"]
