"""`try` around sites: its body, its handlers and its `finally` are entered again, handlers by raising what they had caught.

Called by statements.py, through its table. LAW: an agent that stops runs no handler and no `finally`.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.completions import completing
from playbooks_worker.engine.names import bound_by

if TYPE_CHECKING:
    from playbooks_worker.engine.statements import Statements


def lower_try(b: Statements, node: ast.Try) -> None:
    if any(s.holds_site(statement) for statement in node.finalbody):
        lower_finally(b, node)
        return
    handlers_of = _evaluated_in_turn(b, node.handlers)
    start = len(b.sites)
    body, body_last = b.block(node.body)
    handlers: list[tuple[ast.ExceptHandler, str, list[ast.stmt], int, int]] = []
    for handler in handlers_of:
        first = len(b.sites)
        caught = b.handler_name()
        place, b.place = b.place, handler
        b.path.append(caught)
        statements, last = b.block(handler.body)
        b.path.pop()
        if last > first:
            taken = s.assign(caught, s.call(s.attribute(s.FRAME, "caught"), s.load(s.PC), s.const(caught)))
            statements = [s.at(taken, handler), *_renamed(b, handler), *statements]
        b.place = place
        handlers.append((handler, caught, statements, first, last))
    handlers_last = len(b.sites)
    orelse, orelse_last = b.block(node.orelse)
    if orelse_last > body_last:
        again: list[ast.stmt] = [
            ast.If(
                s.pc_between(first, last), [ast.Raise(s.call(s.attribute(s.FRAME, "kept"), s.const(caught)), None)], []
            )
            for _, caught, _, first, last in handlers
            if last > first
        ]
        guarded = ast.If(s.pc_at_most(body_last), body, []) if body_last > start else ast.If(s.running_on(), body, [])
        body = [*again, guarded]
    clauses: list[ast.ExceptHandler] = []
    if node.handlers:
        # LAW: an agent that stops runs no handler, whatever was raised
        clauses.append(ast.ExceptHandler(s.attribute(s.FRAME, "stopping"), None, [ast.Raise(None, None)]))
    for handler, _, statements, first, last in handlers:
        match = handler.type if handler.type is not None else s.load(".BaseException")
        if handlers_last > body_last:
            mine: ast.expr = ast.Tuple([], ast.Load())
            if last > first:
                mine = ast.IfExp(s.pc_between(first, last), s.load(".BaseException"), mine)
            match = ast.IfExp(s.running_on(), match, mine)
        clauses.append(s.at(ast.ExceptHandler(match, handler.name, statements), handler))
    b.sited([ast.Try(body, clauses, orelse, final_of(b, node))])


def _evaluated_in_turn(b: Statements, handlers: list[ast.ExceptHandler]) -> list[ast.ExceptHandler]:
    """An `except` whose expression awaits, and those after it, as a handler of everything that evaluates the expression and
    then raises what it has caught once more, among them."""
    awaiting = next((n for n, h in enumerate(handlers) if h.type is not None and s.holds_site(h.type)), None)
    if awaiting is None:
        return handlers
    handler, rest = handlers[awaiting], handlers[awaiting + 1 :]
    expression = handler.type
    assert expression is not None
    match = b.unique("m")
    matched = s.at(ast.Assign([s.at(s.store(match), expression)], expression), handler)
    matched.end_lineno, matched.end_col_offset = expression.end_lineno, expression.end_col_offset
    named = s.at(ast.ExceptHandler(s.at(s.load(match), expression), handler.name, handler.body), handler)
    trying = s.at(ast.Try([s.at(ast.Raise(None, None), handler)], [named, *rest], [], []), handler)
    everything = s.at(ast.ExceptHandler(None, None, [matched, trying]), handler)
    s.mark_sites(everything)
    return [*handlers[:awaiting], everything]


def lower_finally(b: Statements, node: ast.Try | ast.TryStar) -> None:
    """A `finally` with awaits: entered again by leaving its block again as it was left (completions.py)."""
    inner = node.body
    if node.handlers:
        trying = s.at(type(node)(node.body, node.handlers, node.orelse, []), node)
        s.mark_sites(trying)
        inner = [trying]

    noted, block = completing(b, lambda: b.statements(inner))

    def final() -> None:
        b.statements(node.finalbody)
        b.plain(s.assign(noted, s.const(None)))  # what was raised is over

    b.path.append(noted)
    body, _ = b.written(final)
    b.path.pop()
    b.sited([ast.Try(block, [], [], [unless_dead(body)])])


def final_of(b: Statements, node: ast.Try | ast.TryStar) -> list[ast.stmt]:
    """The `finally` of a `try`, if there is one, without awaits. It may leave the blocks around it in its own way."""
    noted = [part for statement in node.finalbody for part in b.completions.noted(statement)]
    return [unless_dead(noted)] if noted else []


def unless_dead(body: list[ast.stmt]) -> ast.stmt:
    """LAW: an agent that stops runs no `finally`."""
    alive = ast.UnaryOp(ast.Not(), s.attribute(s.FRAME, "agent", "dead"))
    return s.at(ast.If(alive, body, []), body[0])


def _renamed(b: Statements, handler: ast.ExceptHandler) -> list[ast.stmt]:
    """Entering a handler again binds its name: what the program had made of that name since comes back."""
    name = handler.name
    if name is None or name not in b.plain_names or not any(name in bound_by(part) for part in handler.body):
        return []
    restored = s.assign(name, s.call(s.attribute(s.FRAME, "local"), s.const(name)))
    here = ast.Compare(s.attribute(s.FRAME, "spot"), [ast.Eq()], [s.const(b.spot)])
    test = ast.BoolOp(ast.And(), [s.load(s.PC), here])
    return [s.at(ast.If(test, [restored, s.unbound_again(name)], []), handler)]
