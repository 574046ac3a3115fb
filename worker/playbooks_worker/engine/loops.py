"""Branches and loops around sites: re-entry takes the branch, or the turn, that holds the site.

Called by statements.py, through its table. The iterator of a `for` is a saved local (`Expressions.loop`).
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.targets import assign_to

if TYPE_CHECKING:
    from playbooks_worker.engine.statements import Statements


def lower_if(b: Statements, node: ast.If) -> None:
    b.branch(b.lower(node.test), lambda: b.statements(node.body), lambda: b.statements(node.orelse))


def lower_while(b: Statements, node: ast.While) -> None:
    if not s.holds_site(node.test):
        with b.completions.loop():
            body, last = b.block(node.body)
        orelse, _ = b.block(node.orelse)
        test = ast.IfExp(s.load(s.PC), s.pc_at_most(last), node.test)
        b.sited([ast.While(test, body, orelse)], skips=not orelse)
        return
    # The awaits of the test belong to each turn; `else` runs after the loop when the test said so.
    exhausted = b.temp()
    b.into(exhausted, s.const(False))

    def stop() -> None:
        b.into(exhausted, s.const(True))
        b.plain(ast.Break())

    def turn() -> None:
        b.branch(ast.UnaryOp(ast.Not(), b.lower(node.test)), stop, lambda: None)
        b.statements(node.body)

    with b.completions.loop():
        body, last = b.written(turn)
    entered = ast.IfExp(s.load(s.PC), s.pc_at_most(last), s.const(True))
    b.sited([ast.While(entered, body, [])], skips=True)
    if node.orelse:
        b.branch(b.again(exhausted), lambda: b.statements(node.orelse), lambda: None)


def lower_for(b: Statements, node: ast.For) -> None:
    def take(item: str) -> None:
        assign_to(b, node.target, s.load(item))

    def orelse() -> None:
        b.statements(node.orelse)

    b.loop(b.lower(node.iter), take, lambda: b.statements(node.body), orelse)
