"""`async for`, as source: each `__anext__` is a site, the iterator a saved local, or the whole loop a region.

Called by statements.py, through its table, and for the asynchronous `for`s of comprehensions. What can be saved is decided
at run time (async_iterators.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.targets import assign_to

if TYPE_CHECKING:
    from playbooks_worker.engine.expressions import Expressions
    from playbooks_worker.engine.statements import Statements


def lower_async_for(b: Statements, node: ast.AsyncFor) -> None:
    exhausted = b.temp() if node.orelse else None
    if exhausted is not None:
        b.into(exhausted, s.const(False))

    def stop() -> list[ast.stmt]:
        said = [] if exhausted is None else [ast.Assign([b.store(exhausted)], s.const(True))]
        return [*said, ast.Break()]

    def take(item: ast.expr) -> None:
        assign_to(b, node.target, item)

    async_loop(b, node, b.lower(node.iter), take, lambda: b.statements(node.body), stop)
    if exhausted is not None:
        b.branch(b.again(exhausted), lambda: b.statements(node.orelse), lambda: None)


def async_loop(
    b: Expressions,
    node: ast.AST,
    iterable: ast.expr,
    take: Callable[[ast.expr], None],
    body: Callable[[], None],
    stop: Callable[[], list[ast.stmt]] = lambda: [ast.Break()],
) -> None:
    """*take* writes the assignment of the item, *stop* what happens when there is none left."""
    iterator = b.unique("i")

    def turn() -> None:
        item = b.temp()

        def deliver(awaited: ast.expr) -> ast.stmt:
            over = s.at(ast.ExceptHandler(s.load(".StopAsyncIteration"), None, stop()), node)
            return ast.Try([s.at(ast.Assign([b.store(item)], awaited), node)], [over], [], [])

        b.site_on(node, s.at(s.call(".anext", s.load(iterator)), node), len(b.revivable), deliver)
        take(b.again(item))
        body()

    b.path.append(iterator)
    with b.completions.loop():
        inside, _ = b.written(turn)
    b.path.pop()
    started = s.assign(iterator, s.call(".aiter", s.load(s.FRAME), iterable))
    found = s.assign(iterator, s.call(s.attribute(s.FRAME, "kept"), s.const(iterator)))
    loop = ast.While(s.const(True), inside, [])
    b.sited(
        [
            ast.If(s.running_on(), [started], [found]),
            ast.With([ast.withitem(s.load(iterator), None)], [loop]),
        ]
    )
