"""Which temporaries of a statement a site still needs: a look over the rewritten function, in the order of its text.

A checkpoint saves these and no others, so that what a finished part of a statement left behind is neither stored nor able
to make the checkpoint fail. Conservative: too many do no harm.
"""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.build import virtual_of


def live_temporaries(function: ast.AST) -> dict[int, tuple[str, ...]]:
    """For each site number the physical names of the temporaries that are read after it."""
    walker = _Walker()
    walker.walk(function)
    live: dict[int, list[str]] = {site: [] for site in walker.sites}
    numbers, positions = list(walker.sites), list(walker.sites.values())  # both in the order of the text
    for life in walker.lives.values():
        last = life.last_read
        if life.carried is not None:
            last = max(last, life.carried.end)
        for index in range(bisect_right(positions, life.born), bisect_left(positions, last + 1)):
            live[numbers[index]].append(life.name)
    return {site: tuple(dict.fromkeys(names)) for site, names in live.items()}


class _Loop:
    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start


class _Life:
    """One virtual temporary: ``carried`` is the outermost loop that reads it in every turn and did not make it."""

    def __init__(self, name: str, born: int) -> None:
        self.name = name
        self.born = born
        self.last_read = born
        self.carried: _Loop | None = None


class _Walker:
    def __init__(self) -> None:
        self.position = 0
        self.lives: dict[int, _Life] = {}
        self.sites: dict[int, int] = {}
        self.loops: list[_Loop] = []

    def walk(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            self.walk(node.value)
            for target in node.targets:
                self.walk(target)
            return
        if isinstance(node, ast.Name):
            self._name(node, read=isinstance(node.ctx, ast.Load))
            return
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self.walk(node.value)
            self._name(node.target, read=True)
            return
        loop = isinstance(node, ast.For | ast.While)
        if loop:
            self.loops.append(_Loop(self.position))
        for child in s.children(node):
            self.walk(child)
        self.position += 1
        if loop:
            self.loops.pop().end = self.position
        if (site := getattr(node, "site", None)) is not None:  # an await, a header that is entered, or left
            self.sites[site] = self.position

    def _name(self, node: ast.Name, *, read: bool) -> None:
        virtual = virtual_of(node)
        if not virtual or not node.id.startswith(".t"):
            return
        self.position += 1
        life = self.lives.setdefault(virtual, _Life(node.id, self.position))
        if read:
            life.last_read = self.position
            if life.carried is None:
                life.carried = next((loop for loop in self.loops if life.born <= loop.start), None)
