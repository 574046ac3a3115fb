"""`with` and `async with` around sites, as source: each item becomes a header that can be entered again.

The exit of an `async with` is a site behind its body: entered again, the body is left once more as it was left
(completions.py). Called by statements.py, through its table. What stands between the emitted `with` and the user's
manager is headers.py.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.completions import completing
from playbooks_worker.engine.targets import assign_to

if TYPE_CHECKING:
    from playbooks_worker.engine.statements import Statements


def lower_with(b: Statements, node: ast.With | ast.AsyncWith) -> None:
    is_async = isinstance(node, ast.AsyncWith)
    body_holds = any(s.holds_site(statement) for statement in node.body)

    def item(index: int) -> None:
        if index == len(node.items):
            b.statements(node.body)
            return
        here = node.items[index]
        inner = body_holds or s.holds_site(here.optional_vars) or any(map(s.holds_site, node.items[index + 1 :]))
        if inner or is_async:
            _with_item(b, here, is_async, lambda: item(index + 1))
        else:  # only its header holds awaits: an ordinary `with`, over what remains
            manager = b.lower(here.context_expr)
            rest = [ast.withitem(manager, here.optional_vars), *node.items[index + 1 :]]
            b.plain(ast.With(rest, node.body))

    item(0)


def _with_item(b: Statements, item: ast.withitem, is_async: bool, body: Callable[[], None]) -> None:
    header = b.new_header(item.context_expr)
    sites: list[int] = []
    resumed: list[ast.stmt] = []
    if header.names:
        names = ast.Tuple([s.store(name) for name in header.names], ast.Store())
        resumed = [ast.Assign([names], s.call(s.attribute(s.FRAME, "of_header"), s.const(header.number)))]
    if is_async:
        sites.append(b.new_site(item.context_expr, entering=header.number).number)
        here = ast.Compare(s.load(s.PC), [ast.Eq()], [s.const(sites[0])])
        resumed.append(ast.If(here, [s.assign(s.PC, s.const(0))], []))
    entered = b.unique("v")
    spot, b.spot, b.spots = b.spot, b.spots, b.spots + 1
    marker = b.spot_marker()
    b.path.append(header.number)

    def inside() -> None:
        if item.optional_vars is not None:
            assign_to(b, item.optional_vars, s.load(entered))
        body()

    if is_async:
        noted, statements = completing(b, inside, arrives=True)
        b.path.append(noted)
        sites.append(b.new_site(item.context_expr).number)
        b.path.pop()
    else:
        statements, _ = b.written(inside)
    b.path.pop()
    b.spot = spot
    numbers = (s.const(number) for number in (header.number, *sites))
    managed = s.call(".acm" if is_async else ".cm", s.load(s.FRAME), *numbers, header.manager)
    kind = ast.AsyncWith if is_async else ast.With
    opened = kind([ast.withitem(s.at(managed, item.context_expr), s.store(entered))], [marker, *statements])
    if is_async:  # read by liveness.py
        managed.site, opened.site = sites  # type: ignore[attr-defined, union-attr]
    b.sited([ast.If(s.load(s.PC), resumed, []), opened] if resumed else [opened])
