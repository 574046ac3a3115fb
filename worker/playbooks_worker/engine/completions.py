"""How a block was left: noted as it happens, so that re-entry behind the block can leave it in the same way again.

A *completion* is None (it fell through) or a pair: ``("return", value)``, ``("break", None)``, ``("continue", None)``,
``("raise", exception)``. It stands in a hidden local of the emitted code, which a checkpoint saves while what follows the
block is in flight: a `finally` with awaits (trying.py), the exit of an `async with` (contexts.py).

Whatever leaves a block last is how it was left: an exception, else the last `return`, `break` or `continue` that was on its
way out, else its end. So a completion that an inner `finally` overrode is overwritten here, too.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.names import SCOPES

if TYPE_CHECKING:
    from playbooks_worker.engine.build import Builder

RETURN, BREAK, CONTINUE, RAISE = "return", "break", "continue", "raise"


class Completion:
    """One block whose completion is noted in the hidden local ``name``; ``kinds`` are the ways out that its text has."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kinds: set[str] = set()


class Completions:
    """The blocks around the place being written whose completions are noted, and the loops between them."""

    def __init__(self) -> None:
        self._around: list[Completion | None] = []  # None is a loop
        self._made = 0

    @contextlib.contextmanager
    def loop(self) -> Iterator[None]:
        """While the body of a loop is written: its `break` and `continue` leave nothing outside it."""
        self._around.append(None)
        try:
            yield
        finally:
            self._around.pop()

    @contextlib.contextmanager
    def block(self) -> Iterator[Completion]:
        """While a block is written whose completion is to be noted."""
        self._made += 1
        completion = Completion(f".d{self._made}")
        self._around.append(completion)
        try:
            yield completion
        finally:
            self._around.pop()

    def noted(self, statement: ast.stmt) -> list[ast.stmt]:
        """*statement* (which holds no site) with a note before each `return`, `break` and `continue` in it."""
        if not any(self._around):
            return [statement]
        return _Leaves(self._left(loops=True), self._left(loops=False)).all([statement])

    def _left(self, *, loops: bool) -> list[Completion]:
        """The blocks that a `return` leaves, or (not *loops*) a `break`: those inside the innermost loop."""
        found: list[Completion] = []
        for around in reversed(self._around):
            if around is not None:
                found.append(around)
            elif not loops:
                break
        return found


class _Leaves(ast.NodeTransformer):
    """Puts a note before each statement that leaves blocks."""

    def __init__(self, by_return: list[Completion], by_break: list[Completion]) -> None:
        self._by_return = by_return
        self._by_break = by_break

    def all(self, body: list[ast.stmt]) -> list[ast.stmt]:
        output: list[ast.stmt] = []
        for statement in body:
            visited = self.visit(statement)
            output.extend(visited if isinstance(visited, list) else [visited])
        return output

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, (ast.expr, *SCOPES)) or getattr(node, "noted", False):
            return node
        if isinstance(node, ast.Return):
            return self._noted(node, RETURN, self._by_return)
        if isinstance(node, ast.Break):
            return self._noted(node, BREAK, self._by_break)
        if isinstance(node, ast.Continue):
            return self._noted(node, CONTINUE, self._by_break)
        if isinstance(node, ast.For | ast.While | ast.AsyncFor):
            outer, self._by_break = self._by_break, []
            node.body = self.all(node.body)
            self._by_break = outer
            node.orelse = self.all(node.orelse)
            return node
        return self.generic_visit(node)

    def _noted(self, node: ast.Return | ast.Break | ast.Continue, kind: str, left: list[Completion]) -> list[ast.stmt]:
        node.noted = True  # type: ignore[union-attr]  # a block can be written into another
        if not left:
            return [node]
        for completion in left:
            completion.kinds.add(kind)
        value: ast.expr = s.const(None)
        if isinstance(node, ast.Return):
            value = node.value or value
            node.value = s.at(_part(left[0].name, 1), node)
        pair = ast.Tuple([s.const(kind), value], ast.Load())
        note = ast.Assign([s.store(completion.name) for completion in left], pair)
        return [s.at(note, node), node]


def _part(name: str, index: int) -> ast.expr:
    return ast.Subscript(s.load(name), s.const(index), ast.Load())


def completing(b: Builder, write: Callable[[], None], *, arrives: bool = False) -> tuple[str, list[ast.stmt]]:
    """Write a block whose completion is noted. Answers the name of the note, and the block, to stand where leaving it leads
    to what follows.

    Entered again behind its last site, the block is left at once as it was left before. *arrives*: leaving it is the site
    that is entered again, so from there on the emitted code runs on."""
    with b.completions.block() as completion:
        body, last = b.written(write)
    body.append(s.at(s.assign(completion.name, s.const(None)), b.place))

    def leave_again() -> None:
        if arrives:
            b.plain(s.assign(s.PC, s.const(0)))
        _leave_again(b, completion)

    guarded = ast.If(s.pc_at_most(last), body, b.written(leave_again)[0])
    # a stop passes here too: nothing but the note is made of it
    raised = s.assign(completion.name, s.call(s.attribute(s.FRAME, "raised")))
    clause = ast.ExceptHandler(s.load(".BaseException"), None, [raised, ast.Raise(None, None)])
    return completion.name, [s.at(ast.Try([guarded], [clause], [], []), b.place)]


def _leave_again(b: Builder, completion: Completion) -> None:
    """Leave the block as it was left: `Frame.left` raises what was raised."""
    name = completion.name
    b.plain(s.assign(name, s.call(s.attribute(s.FRAME, "left"), s.const(name))))
    ways: list[tuple[str, ast.stmt]] = [
        (RETURN, ast.Return(_part(name, 1))),
        (BREAK, ast.Break()),
        (CONTINUE, ast.Continue()),
    ]
    for kind, leave in ways:
        if kind in completion.kinds:
            here = ast.Compare(_part(name, 0), [ast.Eq()], [s.const(kind)])
            b.plain(ast.If(ast.BoolOp(ast.And(), [s.load(name), here]), [leave], []))
