"""The calls that make what an exit stack enters, noted where a playbook writes them: `stack.enter_context(Client(url))`.

A look over the playbook before it is rewritten (rewrite.py). What the note is good for is stacks.py's.
"""

from __future__ import annotations

import ast

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.names import SCOPES

WORDS = ("enter_context", "enter_async_context")


class Openings(ast.NodeTransformer):
    """Lets the call that makes a manager be noted, where it is the argument of the push."""

    def noted(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, SCOPES):
            return node
        self.generic_visit(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WORDS:
            if len(node.args) == 1 and isinstance(made := node.args[0], ast.Call) and not node.keywords:
                noted = ast.Call(s.at(s.load(s.OPENING), made.func), [made.func, *made.args], made.keywords)
                node.args = [s.at(noted, made)]
        return node
