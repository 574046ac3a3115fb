"""Iterators over dicts and sets that a program holds itself: killed anywhere, they go on where they were, and complain of
the change of what they go over as Python's own do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import snippets  # noqa: E402 - found beside the programs it runs

HEAD = (
    snippets.HEAD
    + """
from collections import OrderedDict

def change(of):
    if isinstance(of, dict): of[4] = 4
    elif isinstance(of, set): of.add(4)  # beside the others, in every table

def told(iterator):
    try: return str(next(iterator, "end"))
    except RuntimeError as error: return str(error)

MADE = {
    "a dict": ({1: 2, 3: 4, 5: 6}, iter),
    "values": ({1: 2, 3: 4, 5: 6}, lambda d: iter(d.values())),
    "items": ({1: 2, 3: 4}, lambda d: iter(d.items())),
    "a dict from its end": ({1: 2, 3: 4, 5: 6}, reversed),
    "items from their end": ({1: 2, 3: 4}, lambda d: reversed(d.items())),
    "a set": ({1, 2, 3}, iter),
    "a frozen set": (frozenset({1, 2}), iter),
    "an ordered dict": (OrderedDict(a=1, b=2, c=3), iter),
    "its items": (OrderedDict(a=1, b=2), lambda d: iter(d.items())),
    "what is counted": ({7: 8, 9: 1}, enumerate),
}
"""
)


@pytest.fixture
def same(tmp_path):
    return lambda text: snippets.same(text, tmp_path, head=HEAD)


def test_the_change_of_a_dict_or_set_is_complained_of_before_and_after_a_resume(same):
    """Seed 2058: pickle refused the iterator of a set that had grown."""
    same("""
        for name, (of, start) in MADE.items():
            for turns in 0, 1, 4:
                of = of.copy()
                it, other, none = start(of), start(of), start(type(of)())
                for n in range(turns):
                    log(name, turns, told(it), told(other))
                change(of)
                fresh = start(of)
                await effect((name, turns))
                log(name, turns, told(it), told(it), told(other), told(none), told(fresh))
                for item in fresh:
                    await effect((name, turns, "in a loop"))
                    log(name, turns, str(item), told(fresh))
                change(none)
                await effect((name, turns, "more"))
                log(name, turns, told(it), told(none), told(fresh))
                of.clear() if hasattr(of, "clear") else None
                await effect((name, turns, "nothing"))
                log(name, turns, told(it), told(none), told(fresh))
    """)


def test_a_dict_or_set_may_change_between_a_resume_and_the_next_turn(same):
    same("""
        for name, (of, start) in MADE.items():
            of = of.copy()
            it, other = start(of), start(of)
            log(name, told(it))
            await effect((name, "before"))
            log(name, told(other))
            change(of)
            log(name, told(it), told(it))
            await effect((name, "after"))
            log(name, told(it), told(other))
    """)


def test_two_names_for_one_iterator_stay_one(same):
    same("""
        it = iter({1: 2, 3: 4, 5: 6})
        held = {"it": it, "pairs": zip(it, it), "own": iter({1, 2})}
        log("first", told(it))
        await effect("one")
        log("second", told(held["it"]), it is held["it"])
        for item in it:
            await effect(item)
            log("third", item, told(held["pairs"]), told(held["own"]))
        await effect("two")
        log("end", told(it), told(held["own"]), it is held["it"])
    """)
