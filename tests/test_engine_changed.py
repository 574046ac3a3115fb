"""Code that changed under an agent: what does not count resumes, what counts blocks and is shown, and an accepted change
goes on only where the saved site is still the same await."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from playbooks_worker.engine import Blocked, Completed, changes_of, diff, kept_sources, place, refusal
from playbooks_worker.engine.kept import version_then

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, load, resume, run, start  # noqa: E402

from playbooks_worker.engine import Agent  # noqa: E402

SOURCE = '''
from playbooks_worker import playbook
import asyncio

FACTOR = 2
SAID = []

async def effect(name):
    SAID.append(name)
    await asyncio.sleep(0)
    return name

class Room:
    async def __aenter__(self):
        return self
    async def __aexit__(self, *raised):
        return False

def named(function):
    return function

@playbook
async def leaf(words, times=1):
    """Says each word."""
    said = []
    for word in words:
        async with Room():
            said.append(await effect(word * times))
    return said

@playbook
async def main():
    words = ["a", "b"]
    said = await leaf(words, times=FACTOR)
    return said, await effect("end")
'''


@pytest.fixture
def program(tmp_path):
    """Loads the program, edited, under one name."""
    name = "changed_program"

    def edited(*edits, source=SOURCE):
        text = source
        for before, after in edits:
            assert before in text, before
            text = text.replace(before, after)
        return load(name, text, tmp_path)

    yield edited
    sys.modules.pop(name, None)


def saved(program, at, **more):
    """The payload of checkpoint *at* of a whole run, what came out, and the sources as they were."""
    store = Store()
    module = program(**more)
    outcome = start(module.main, store=store)
    assert isinstance(outcome, Completed), outcome
    return store.payloads[at], outcome, kept_sources()


def accept(payload, kept):
    async def main():
        accepted = {change.frame.fingerprint: kept.get(change.frame.fingerprint) for change in changes_of(payload)}
        return await Agent("a", persist=Store().persist).resume(payload, accepted)

    return run(main())


NOT_COUNTED = {
    "a comment": [("    said = []\n", "    said = []  # what was said\n\n")],
    "layout": [
        (
            "said.append(await effect(word * times))",
            "said.append(\n                await effect(word*times)\n            )",
        )
    ],
    "quotes": [('effect("end")', "effect('end')")],
    "parentheses": [("word * times", "(word * times)")],
    "a docstring": [('    """Says each word."""\n', "")],
    "another docstring": [("Says each word.", "Says every word,\n    one after the other.")],
    "a decorator": [("@playbook\nasync def leaf", "@named\n@playbook\nasync def leaf")],
    "a helper": [("    SAID.append(name)\n", "    SAID.append(name + '!')\n")],
    "a global": [("SAID = []", "SAID = ['before']")],
    "lines before it": [("FACTOR = 2\n", "FACTOR = 2\n" * 40)],
    "another playbook": [
        ("@playbook\nasync def main", "@playbook\nasync def other():\n    pass\n\n@playbook\nasync def main")
    ],
    "its place in the file": [
        ("\n@playbook\nasync def main", "\n@playbook\nasync def main"),
        ("FACTOR = 2", "FACTOR = 2\nimport json"),
    ],
}


@pytest.mark.parametrize("edits", NOT_COUNTED.values(), ids=NOT_COUNTED)
def test_what_does_not_count_resumes(program, edits):
    payload, outcome, _ = saved(program, 1)
    program(*edits)
    assert changes_of(payload) == ()
    assert resume(payload) == outcome


COUNTED = {
    "a statement": [("    said = []\n", "    said = list()\n")],
    "a constant": [('words = ["a", "b"]', 'words = ["a", "c"]')],
    "a name": [("for word in words", "for word in reversed(words)")],
    "a statement more": [("    return said\n", "    print(said)\n    return said\n")],
    "a statement less": [("    said = []\n", "    pass\n")],
    "a default": [("times=1", "times=3")],
    "a parameter more": [("times=1", "times=1, loud=False")],
    "a parameter keyword-only": [("leaf(words, times=1", "leaf(words, *, times=1")],
    "an annotation of a parameter": [("def leaf(words,", "def leaf(words: list,")],
    "await of something else": [('await effect("end")', 'await effect("the end")')],
}


@pytest.mark.parametrize("edits", COUNTED.values(), ids=COUNTED)
def test_what_counts_blocks_with_a_diff_of_the_statements(program, edits):
    payload, _, kept = saved(program, 1)
    program(*edits)
    outcome = resume(payload)
    assert isinstance(outcome, Blocked)
    assert "was edited since its checkpoint" in outcome.why and "\n" not in outcome.why
    assert outcome.changes == changes_of(payload) and len(outcome.changes) == 1
    (change,) = outcome.changes
    lines = diff(change, kept[change.frame.fingerprint])
    assert lines[0].startswith(f"--- {change.frame.playbook}") and lines[1].startswith("+++ ")
    assert any(line.startswith("-") for line in lines[2:]) or any(line.startswith("+") for line in lines[2:])
    assert all(line[:1] in "-+ @" for line in lines)


def test_a_diff_shows_what_counts_and_nothing_else(program):
    payload, _, kept = saved(program, 1)
    program(
        ("    said = []\n", "    # a remark\n    said = []\n    print(words)\n"),
        ("Says each word.", "Says words."),
        ("word * times", "( word*times )"),
    )
    (change,) = changes_of(payload)
    lines = diff(change, kept[change.frame.fingerprint])
    assert [line for line in lines if line[0] in "-+"][2:] == ["+    print(words)"]
    assert place(change, kept[change.frame.fingerprint]) == (
        "changed_program:leaf stands at site 2, line 28: said.append(await effect(word * times)); "
        "now that is line 30: said.append(await effect(( word*times )))"
    )


def test_without_the_source_as_it_was_there_is_no_diff_and_nothing_is_accepted(program):
    payload, _, kept = saved(program, 1)
    program(("    said = []\n", "    said = list()\n"))
    (change,) = changes_of(payload)
    other = next(text for key, text in kept.items() if key != change.frame.fingerprint)
    for text in (None, "", "{}", "[1]", '{"format":1}', other, kept[change.frame.fingerprint].replace("word", "wort")):
        assert version_then(change.frame.fingerprint, text) is None
        assert diff(change, text) == []
        assert "is not kept here" in refusal(change, text)
    assert "is not kept here" in accept(payload, {}).why


def test_every_version_of_a_playbook_is_read_again_as_it_was_rewritten(program):
    module = program(source=METHODS)
    kept = kept_sources()
    for made in (module.Agent.run.__playbook__, module.plain.__playbook__):
        then = version_then(made.fingerprint, kept[made.fingerprint])
        assert then.rewritten.sites == made.rewritten.sites
        assert then.definition.cls == made.definition.cls


METHODS = '''
from playbooks_worker import playbook
import asyncio
class Agent:
    if True:
        @playbook
        async def run(self):
            text = """
not indented
            """
            self.__own = await asyncio.sleep(0, text)
            return super().__repr__(), self.__own
@playbook
async def plain():
\tawait asyncio.sleep(0)
'''

ACCEPTED = {
    "a statement after the site": [("    return said\n", "    said.append('more')\n    return said\n")],
    "an await after the site": [("    return said\n", "    said.append(await effect('more'))\n    return said\n")],
    "a statement before the site": [("    said = []\n", "    said = []\n    print('hello')\n")],
    "a new variable after the site": [("    return said\n", "    count = len(said)\n    return said, count\n")],
    "a condition around the site": [
        ("            said.append(await effect(word * times))\n",
         "            if word:\n                said.append(await effect(word * times))\n"),
    ],
    "a default": [("times=1", "times=3")],
}  # fmt: skip
EXPECTED = {
    "a statement after the site": ["aa", "bb", "more"],
    "an await after the site": ["aa", "bb", "more"],
    "a new variable after the site": (["aa", "bb"], 2),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_accepted_change_goes_on_in_the_new_code(program, name):
    for at in (0, 1):  # inside the first turn and the second
        payload, _, kept = saved(program, at)
        program(*ACCEPTED[name])
        assert isinstance(resume(payload), Blocked)
        (change,) = changes_of(payload)
        assert refusal(change, kept[change.frame.fingerprint]) is None
        assert accept(payload, kept) == Completed((EXPECTED.get(name, ["aa", "bb"]), "end"))


def test_the_next_checkpoint_after_an_accepted_change_is_of_the_new_code(program):
    payload, _, kept = saved(program, 1)
    program(("    return said\n", "    said.append('more')\n    return said\n"))
    store = Store()

    async def main():
        accepted = {change.frame.fingerprint: kept[change.frame.fingerprint] for change in changes_of(payload)}
        return await Agent("a", persist=store.persist).resume(payload, accepted)

    assert run(main()) == Completed((["aa", "bb", "more"], "end"))
    assert store.payloads
    for later in store.payloads:
        assert changes_of(later) == ()
        assert resume(later) == Completed((["aa", "bb", "more"], "end"))


REFUSED = {
    "another await at the site": (
        [("await effect(word * times)", "await effect(word)")],
        "site 2 was `said.append(await effect(word * times))`, and is now `said.append(await effect(word))`",
    ),
    "an await before the site": (
        [("    said = []\n", "    said = []\n    await effect('first')\n")],
        "site 2 was `said.append(await effect(word * times))`, and is now `async with Room():`",
    ),
    "fewer sites": (
        [("async with", "with"), ("await effect(word * times)", "word")],
        "site 2 (said.append(await effect(word * times))) is gone: it has 0 sites now",
    ),
    "another loop": (
        [("for word in words", "for word in reversed(words)")],
        "site 2 was `said.append(await effect(word * times))`",
    ),
    "another header": ([("async with Room()", "async with (Room())as r")], "site 2 was"),
    "a loop around it": (
        [("    for word in words:\n        async with", "    for i in [1]:\n     for word in words:\n        async with")],
        "site 2 was",
    ),
    "a variable shared with a nested function": (
        [("    return said\n", "    later = lambda: said\n    return later()\n")],
        "nested functions share other variables with it than they did (said)",
    ),
    "a parameter more": ([("times=1", "times=1, loud=False")], "it has parameters now that have no value (loud)"),
    "another name": ([("async def leaf", "async def speak")], "is not in the program any more"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_change_where_the_sites_do_not_line_up_is_refused_with_the_reason(program, name):
    edits, reason = REFUSED[name]
    payload, _, kept = saved(program, 1)
    program(*edits)
    outcome = accept(payload, kept)
    assert isinstance(outcome, Blocked) and reason in outcome.why, outcome
    assert outcome.changes and "\n" not in outcome.why


def test_an_in_flight_await_that_was_accepted_runs_again_in_the_new_code(program):
    source = textwrap.dedent("""
        from playbooks_worker import playbook
        import asyncio
        async def effect(name):
            await asyncio.sleep(0)
            return name
        @playbook
        async def main():
            one = await effect("one")
            two = await effect("two" + one)
            return one, two
    """)
    store = Store(kill_at=1)
    module = program(source=source)
    start(module.main, store=store)
    kept = kept_sources()
    program(("return one, two", "return two, one"), source=source)
    assert accept(store.payloads[0], kept) == Completed(("twoone", "one"))
