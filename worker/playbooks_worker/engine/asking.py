"""Where a playbook asks for its own variables: `locals()`, `vars()`, `dir()`, `eval(…)`, `exec(…)`.

A look over the playbook before it is rewritten (rewrite.py). What is answered there is seen.py's.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Any

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.names import SCOPES

WORDS = ("locals", "vars", "dir", "eval", "exec")


class Asking(ast.NodeTransformer):
    """Lets the calls go through `seen.as_seen`. *own* are names that the playbook gives another meaning."""

    def __init__(self, own: Collection[str]) -> None:
        self._names = frozenset(WORDS) - frozenset(own)

    def noted(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, SCOPES) else super().visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in self._names:
            node.func = s.at(s.call(s.at(s.load(s.SEEN), node.func), node.func), node.func)
        return node
