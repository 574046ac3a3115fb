"""Comprehensions with awaits are unrolled into loops, so that each await in them is a site of its own.

Their variables get hidden names (they must not leak; renaming.py). Those that a `lambda` reads live in a cell of their own
for each run of the comprehension, as in Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.async_loops import async_loop
from playbooks_worker.engine.renaming import Comprehension, renamed, shared_names, targets_of
from playbooks_worker.engine.targets import assign_to

if TYPE_CHECKING:
    from playbooks_worker.engine.expressions import Expressions


def lower_comprehension(b: Expressions, node: Comprehension) -> ast.expr:
    """Write the loops; answers the temporary that holds the result."""
    first, *_ = node.generators
    source = b.lower(first.iter)
    hidden = {name: b.unique("c") for generator in node.generators for name in targets_of(generator.target)}
    b.hidden.extend(hidden.values())
    shared = shared_names(node, hidden)
    node = renamed(node, hidden, shared)
    empty: ast.expr
    if isinstance(node, ast.DictComp):
        empty = ast.Dict([], [])
    else:
        empty = ast.List([], ast.Load()) if isinstance(node, ast.ListComp) else s.call(".set")
    held = b.hold(source)
    for name in shared:
        b.plain(s.assign(hidden[name], s.call(".cell")))
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
        collect = ast.Attribute(b.again(result), method, ast.Load())
        b.evaluate(node.elt, lambda value: ast.Expr(s.call(collect, value)))

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

    iterable = source if source is not None else b.lower(generator.iter)
    if generator.is_async:
        async_loop(
            b, generator.iter, iterable, lambda item: assign_to(b, generator.target, item), lambda: conditions(0)
        )
    else:
        b.loop(
            iterable,
            lambda item: assign_to(b, generator.target, s.load(item)),
            lambda: conditions(0),
            lambda: None,
        )
