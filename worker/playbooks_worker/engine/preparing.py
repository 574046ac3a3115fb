"""One playbook before it is rewritten: a copy in which names are spelled as its class sees them, and in which everything is
noted that rewriting must know.

Called by rewrite.py. Knows nothing of sites, but which nodes hold one.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from playbooks_worker.engine import asking, openings
from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.binding import note_unbound
from playbooks_worker.engine.names import SCOPES, Mangler, Names, evaluated_outside, names_of
from playbooks_worker.engine.renaming import renamed, targets_of
from playbooks_worker.engine.source import Definition


def prepared(definition: Definition) -> tuple[ast.AsyncFunctionDef, Names, frozenset[str]]:
    """A copy of the definition's node, to be rewritten, its names, and those that somebody may find unbound."""
    node = s.copied(definition.node)
    if definition.cls is not None:
        Mangler(definition.cls).generic_visit(node)
    names = names_of(node)
    if "__class__" in definition.shared and "super" not in {*names.plain, *names.cells, *names.globals_}:
        _explicit_super(node)
    _Undeclared().take_out(node)
    unbound = note_unbound(node, names)
    text = "\n".join(definition.own_lines())
    if any(word in text for word in openings.WORDS):
        openings.Openings().noted(node.body)
    if any(word in text for word in asking.WORDS):
        asking.Asking((*names.plain, *names.cells)).noted(node.body)
        unbound = frozenset(names.plain)
    for statement in node.body:
        s.mark_sites(statement)
    if names.cells:
        apart = _Apart(names.cells)
        node.body = [apart.visit(statement) for statement in node.body]
    return node, names, unbound


_BLOCKS = ("body", "orelse", "finalbody")


class _Undeclared(ast.NodeTransformer):
    """Takes out declarations of names: emitted code makes its own, at its top, and other ones for cells. Nothing comes in
    their place, as Python has no code for them either, and nobody's debugger stops there."""

    def take_out(self, function: ast.AsyncFunctionDef) -> None:
        self.generic_visit(function)

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, ast.expr) else super().visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        blocks = {name: block[0] for name in _BLOCKS if isinstance(block := getattr(node, name, None), list) and block}
        super().generic_visit(node)
        for name, first in blocks.items():
            if not getattr(node, name):
                setattr(node, name, [s.at(ast.Pass(), first)])
        return node

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        return None

    visit_Nonlocal = visit_Global

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Functions do not evaluate the annotations of their variables."""
        if not isinstance(node.target, ast.Name):
            return node
        return None if node.value is None else s.at(ast.Assign([node.target], node.value), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node


class _Apart(ast.NodeTransformer):
    """Gives the variables of comprehensions names of their own where they have that of a cell of the playbook. Since Python
    3.12 a comprehension's variables are those of the function that it stands in (PEP 709); one that a `lambda` shares would
    hide there the cell that the playbook has from us."""

    def __init__(self, cells: Sequence[str]) -> None:
        self._cells = frozenset(cells)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp) -> ast.AST:
        self.generic_visit(node)
        if s.holds_site(node):  # it is unrolled, under other names
            return node
        bound = [name for generator in node.generators for name in targets_of(generator.target) if name in self._cells]
        return renamed(node, {name: s.OWN + name for name in bound}, ()) if bound else node

    visit_ListComp = visit_SetComp = visit_DictComp = _comprehension

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        node.generators[0].iter = self.visit(node.generators[0].iter)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._defaults(node.args)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        self._defaults(node.args)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.bases = [self.visit(each) for each in node.bases]
        node.keywords = [self.visit(each) for each in node.keywords]
        return node

    def _defaults(self, arguments: ast.arguments) -> None:
        arguments.defaults = [self.visit(each) for each in arguments.defaults]
        arguments.kw_defaults = [None if each is None else self.visit(each) for each in arguments.kw_defaults]


def _explicit_super(node: ast.AsyncFunctionDef) -> None:
    """`super()` asks the running function for its first argument; ours has none."""
    first = next((a.arg for a in (*node.args.posonlyargs, *node.args.args)), None)
    if first is None:
        return
    nested: list[ast.AST] = list(node.body)
    while nested:
        child = nested.pop()
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == "super":
            if not child.args and not child.keywords:
                child.args = [s.at(s.load("__class__"), child), s.at(s.load(first), child)]
        nested.extend(evaluated_outside(child) if isinstance(child, SCOPES) else s.children(child))
