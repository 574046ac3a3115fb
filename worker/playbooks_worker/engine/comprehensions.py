"""Comprehensions with awaits are unrolled into loops, so that each await in them is a site of its own.

Their variables get hidden names (they must not leak), also inside the lambdas and inner comprehensions that read them.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from playbooks_worker.engine import syntax as s

if TYPE_CHECKING:
    from playbooks_worker.engine.expressions import Expressions

Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp


def lower_comprehension(b: Expressions, node: Comprehension) -> ast.expr:
    """Write the loops; answers the temporary that holds the result."""
    for generator in node.generators:
        if generator.is_async:
            raise b.definition.refuse(node, "asynchronous comprehension", "collect the items in a plain coroutine")
    first, *_ = node.generators
    source = b.lower(first.iter)
    hidden = {name: b.unique("c") for generator in node.generators for name in _targets(generator.target)}
    b.hidden.extend(hidden.values())
    _refuse_captures(b, node, set(hidden))
    node = _renamed(node, hidden)
    empty: ast.expr
    if isinstance(node, ast.DictComp):
        empty = ast.Dict([], [])
    else:
        empty = ast.List([], ast.Load()) if isinstance(node, ast.ListComp) else s.call(".set")
    held = b.hold(source)
    result = b.temp()
    b.into(result, empty)

    def element() -> None:
        if isinstance(node, ast.DictComp):
            key, value = b.sequence([node.key, node.value])
            # Python evaluates the key of a comprehension first, the value of an assignment first
            key = b.hold(key)
            b.plain(ast.Assign([ast.Subscript(b.again(result), key, ast.Store())], value))
            return
        method = "append" if isinstance(node, ast.ListComp) else "add"
        b.plain(ast.Expr(s.call(ast.Attribute(b.again(result), method, ast.Load()), b.lower(node.elt))))

    _loops(b, node.generators, 0, held, element)
    for name in hidden.values():
        b.plain(s.assign(name, s.const(None)))  # what they held is no part of the state any more
    return result


def _loops(
    b: Expressions,
    generators: list[ast.comprehension],
    index: int,
    source: ast.expr | None,
    element: Callable[[], None],
) -> None:
    if index == len(generators):
        element()
        return
    generator = generators[index]

    def conditions(position: int) -> None:
        if position == len(generator.ifs):
            _loops(b, generators, index + 1, None, element)
            return
        b.branch(b.lower(generator.ifs[position]), lambda: conditions(position + 1), lambda: None)

    b.loop(
        source if source is not None else b.lower(generator.iter),
        lambda item: b.plain(ast.Assign([generator.target], s.load(item))),
        lambda: conditions(0),
        lambda: None,
    )


def _targets(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _refuse_captures(b: Expressions, node: Comprehension, hidden: set[str]) -> None:
    for child in ast.walk(node):
        if isinstance(child, ast.Lambda):  # a generator expression cannot outlive the checkpoint it would be wrong in
            for name in ast.walk(child):
                if isinstance(name, ast.Name) and name.id in hidden:
                    raise b.definition.refuse(
                        child,
                        f"a comprehension with awaits whose variable {name.id!r} is used in a nested function",
                        "write it as a `for` loop",
                    )


def _renamed(node: Comprehension, hidden: dict[str, str]) -> Comprehension:
    copied = copy.deepcopy(node)
    first = copied.generators[0].iter
    renamer = _Rename(hidden)
    for field, value in ast.iter_fields(copied):
        if isinstance(value, ast.expr):
            setattr(copied, field, renamer.visit(value))
    copied.generators = [renamer.visit(generator) for generator in copied.generators]
    copied.generators[0].iter = first
    return copied


class _Rename(ast.NodeTransformer):
    """Renames names, except where an inner comprehension binds its own."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._names.get(node.id, node.id)
        return node

    def _inner(self, node: Comprehension | ast.GeneratorExp) -> ast.AST:
        bound = {name for generator in node.generators for name in _targets(generator.target)}
        inner = _Rename({old: new for old, new in self._names.items() if old not in bound})
        first, *others = node.generators
        first.iter = self.visit(first.iter)  # evaluated outside the inner comprehension
        first.target = inner.visit(first.target)
        first.ifs = [inner.visit(test) for test in first.ifs]
        for generator in others:
            inner.visit(generator)
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                setattr(node, field, inner.visit(value))
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _inner
