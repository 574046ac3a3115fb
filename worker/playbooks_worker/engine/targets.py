"""Targets of assignments and deletions whose parts hold awaits: each part is evaluated where Python evaluates it.

Used wherever something is bound: assignments, `for`, comprehensions, `with`.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from playbooks_worker.engine import syntax as s

if TYPE_CHECKING:
    from playbooks_worker.engine.expressions import Expressions


def assign_to(b: Expressions, target: ast.expr, value: ast.expr) -> None:
    """Store *value* (already evaluated, or evaluated by this very statement) in *target*."""
    if not s.holds_site(target):
        b.plain(ast.Assign([target], value))
    elif isinstance(target, ast.Tuple | ast.List):
        held = [b.temp() for _ in target.elts]
        pattern: list[ast.expr] = []
        for temp, element in zip(held, target.elts, strict=True):
            name: ast.expr = b.store(temp)
            pattern.append(ast.Starred(name, ast.Store()) if isinstance(element, ast.Starred) else name)
        b.plain(ast.Assign([ast.Tuple(pattern, ast.Store())], value))
        for temp, element in zip(held, target.elts, strict=True):
            assign_to(b, element.value if isinstance(element, ast.Starred) else element, b.again(temp))
    else:
        held_value = b.hold(value)
        b.plain(ast.Assign([place_of(b, target, ast.Store())], held_value))


def place_of(b: Expressions, target: ast.expr, ctx: ast.expr_context) -> ast.expr:
    """An attribute or subscript with its awaits lowered, to be stored to or deleted."""
    if isinstance(target, ast.Attribute):
        return s.at(ast.Attribute(b.lower(target.value), target.attr, ctx), target)
    assert isinstance(target, ast.Subscript)
    value, index = b.sequence([target.value, target.slice])
    return s.at(ast.Subscript(value, index, ctx), target)
