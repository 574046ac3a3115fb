"""`try` with `except*` around sites: the body and `else` are entered again, a handler with awaits is an atomic region.

Called by statements.py, through its table. Handlers cannot be entered again: Python splits the group between them and joins
what they raise, and no emitted code could stand in the middle of that. LAW: an agent that stops runs no handler, although
Python goes on to the next one whatever the last one raised.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.trying import final_of, lower_finally

if TYPE_CHECKING:
    from playbooks_worker.engine.statements import Statements


def lower_try_star(b: Statements, node: ast.TryStar) -> None:
    if any(s.holds_site(statement) for statement in node.finalbody):
        lower_finally(b, node)
        return
    start = len(b.sites)
    body, body_last = b.block(node.body)
    clauses = [_handler(b, handler) for handler in node.handlers]
    first_of_else = len(b.sites)
    orelse, last = b.block(node.orelse)
    if last > first_of_else:
        body = [ast.If(s.pc_at_most(body_last) if body_last > start else s.running_on(), body, [])]
    trying = s.at(ast.TryStar(body, clauses, orelse, final_of(b, node)), node)
    # Python joins what handlers raise in a group, also when it is the end of the agent
    ended = ast.Raise(s.call(".ended", s.load(s.FRAME)), s.const(None))
    b.sited([ast.Try([trying], [ast.ExceptHandler(s.attribute(s.FRAME, "stopping"), None, [ended])], [], [])])


def _handler(b: Statements, handler: ast.ExceptHandler) -> ast.ExceptHandler:
    if s.holds_site(handler.type):
        raise b.definition.refuse(handler, "await in an `except*` expression", "evaluate it before the `try`")
    body = handler.body
    if any(s.holds_site(statement) for statement in body):
        place, b.place = b.place, handler
        region = ast.withitem(s.call(".region", s.load(s.FRAME)), None)
        body = [s.at(ast.With([region], b.block(body)[0]), handler)]
        b.place = place
    match = ast.IfExp(
        s.attribute(s.FRAME, "handles"), handler.type or s.load(".BaseException"), ast.Tuple([], ast.Load())
    )
    return s.at(ast.ExceptHandler(match, handler.name, body), handler)
