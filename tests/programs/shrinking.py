"""The smallest program that still differs: statements are dropped, and blocks put in the place of what holds them, for as
long as the trial of the rest fails. Called by fuzz.py.
"""

from __future__ import annotations

import ast
import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path

from observing import Counted, Ordered
from trials import Differs, Trial, Undecided, load

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LONGEST_S = 1
_TRIES = 2  # of each candidate: a failure may need an order of branches


def shrunk(loop: asyncio.AbstractEventLoop, watched: Ordered | Counted, seed: int, folder: Path) -> str:
    """The text, with what differs above it as a comment."""
    text, why = watched.text, _difference(loop, watched, watched.text, seed, folder)
    if why is None:
        return f"# the program of seed {seed} does what it should\n"
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(text):
            found = _difference(loop, watched, candidate, seed, folder)
            if found is not None and _kind(found) == _kind(why):
                text, why, smaller = candidate, found, True
                break
    return "".join(f"# {line}\n" for line in why.splitlines()) + text


def _kind(why: str) -> list[str]:
    """What is said to differ, in words that a smaller program says too: or it would become another mistake's."""
    outcomes = re.findall(r"^  (?:expected|got) +(\w+)", why, re.MULTILINE)
    errors = re.findall(r"\w+Error\b|CannotSave|made again|cannot be entered", why)
    return [*sorted(set(errors)), *outcomes] or why.split(":")[-1].split()[-3:]


def _difference(
    loop: asyncio.AbstractEventLoop, watched: Ordered | Counted, text: str, seed: int, folder: Path
) -> str | None:
    try:
        trial = Trial(loop, watched, load("shrunk", text, folder), seed, longest_s=_LONGEST_S)
        for number in range(_TRIES):
            random.seed(seed + number)
            trial.all()
    except Differs as differs:
        return str(differs)
    except (Undecided, Exception):  # it cannot even be compiled, or needs what was dropped
        return None
    return None


def _candidates(text: str) -> Iterator[str]:
    """Every text with one statement less, the biggest first."""
    places = [
        (node.end_lineno - node.lineno, number)
        for number, node in enumerate(ast.walk(ast.parse(text)))
        if isinstance(node, ast.stmt) and not isinstance(node, ast.ImportFrom)
    ]
    for _, number in sorted(places, reverse=True):
        for keeps_its_body in (False, True):
            tree = ast.parse(text)
            dropped = list(ast.walk(tree))[number]
            if keeps_its_body and (isinstance(dropped, _DEFINITIONS) or not hasattr(dropped, "body")):
                continue
            _Without(dropped, dropped.body if keeps_its_body else []).visit(tree)
            yield ast.unparse(ast.fix_missing_locations(tree))


class _Without(ast.NodeTransformer):
    def __init__(self, dropped: ast.stmt, instead: list[ast.stmt]) -> None:
        self.dropped = dropped
        self.instead = instead

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(getattr(node, "body", None), list) and not node.body:
            node.body = [ast.Pass()]
        return node

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt]:
        return self.instead if node is self.dropped else super().visit(node)
