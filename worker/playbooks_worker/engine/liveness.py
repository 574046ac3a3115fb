"""Which temporaries of a statement a site still needs: a backward look over the rewritten function.

A checkpoint saves these and no others, so that what a finished part of a statement left behind is neither stored nor able
to make the checkpoint fail. Conservative: too many do no harm.
"""

from __future__ import annotations

import ast
from collections import defaultdict

from playbooks_worker.engine.build import virtual_of


def live_temporaries(function: ast.AST) -> dict[int, tuple[str, ...]]:
    """For each site number the physical names of the temporaries that are read after it."""
    walker = _Walker()
    walker.walk(function)
    live: dict[int, tuple[str, ...]] = {}
    for site, position in walker.sites.items():
        names: dict[str, None] = {}
        for virtual, loads in walker.loads.items():
            born = walker.stores.get(virtual, position)
            if born < position and (loads[-1] > position or walker.carried(position, born, loads)):
                names[walker.names[virtual]] = None
        live[site] = tuple(names)
    return live


class _Walker:
    def __init__(self) -> None:
        self.position = 0
        self.loads: dict[int, list[int]] = defaultdict(list)
        self.stores: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self.sites: dict[int, int] = {}
        self.loops: list[tuple[int, int]] = []

    def walk(self, node: ast.AST) -> None:
        if getattr(node, "revives", False):
            return
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
        start = self.position
        for child in ast.iter_child_nodes(node):
            self.walk(child)
        self.position += 1
        if isinstance(node, ast.For | ast.While):
            self.loops.append((start, self.position))
        if isinstance(node, ast.Await) and hasattr(node, "site"):
            self.sites[node.site] = self.position

    def _name(self, node: ast.Name, *, read: bool) -> None:
        virtual = virtual_of(node)
        if not virtual or not node.id.startswith(".t"):
            return
        self.position += 1
        self.names[virtual] = node.id
        if read:
            self.loads[virtual].append(self.position)
        else:
            self.stores.setdefault(virtual, self.position)

    def carried(self, position: int, born: int, loads: list[int]) -> bool:
        """Whether a loop around the site reads the temporary again in its next turn."""
        for start, end in self.loops:
            if born < start < position <= end and any(start < load <= end for load in loads):
                return True
        return False
