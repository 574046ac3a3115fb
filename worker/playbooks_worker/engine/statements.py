"""Statements with awaits, rewritten so that they can be entered again at any of their sites.

One function for each kind of statement (the table at the end). Statements without awaits stay as they are. What cannot be
resumed is refused here, at decoration, naming file, line and construct.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.async_loops import lower_async_for
from playbooks_worker.engine.binding import read_of
from playbooks_worker.engine.choosing import lower_match
from playbooks_worker.engine.contexts import lower_with
from playbooks_worker.engine.expressions import Expressions, with_defaults
from playbooks_worker.engine.loops import lower_for, lower_if, lower_while
from playbooks_worker.engine.names import annotated
from playbooks_worker.engine.targets import assign_to, place_of
from playbooks_worker.engine.trying import lower_try
from playbooks_worker.engine.trying_groups import lower_try_star


class Statements(Expressions):
    def statements(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            outer = self.begin(statement)
            try:
                self._statement(statement)
            finally:
                self.end(outer)

    def block(self, body: Sequence[ast.stmt]) -> tuple[list[ast.stmt], int]:
        return self.written(lambda: self.statements(body))

    def _statement(self, node: ast.stmt) -> None:
        if not s.holds_site(node):
            self.plain(node)
            return
        handler = _STATEMENTS.get(type(node))
        if handler is None:
            advice = "put what it awaits into a variable before it"
            raise self.definition.refuse(node, f"await inside `{type(node).__name__}`", advice)
        handler(self, node)

    def spot_marker(self) -> ast.stmt:
        """Where the locals of a re-entered frame are put back; filled in when all names are known (emit.py)."""
        marker = s.at(ast.Pass(), self.place)
        marker.restore_spot = self.spot  # type: ignore[attr-defined]  # read by emit.py
        return marker

    def handler_name(self) -> str:
        return self.unique("x")


def _expr(b: Statements, node: ast.Expr) -> None:
    b.evaluate(node.value, ast.Expr)


def _assign(b: Statements, node: ast.Assign) -> None:
    _assign_value(b, node.targets, node.value)


def _annassign(b: Statements, node: ast.AnnAssign) -> None:
    if node.value is not None:
        _assign_value(b, [node.target], node.value)
        return
    target = node.target  # only declared: its parts are evaluated all the same
    parts = [target.value] if isinstance(target, ast.Attribute | ast.Subscript) else []
    if isinstance(target, ast.Subscript):
        parts += _bounds(target.slice)
    for part in b.sequence(parts):
        b.plain(ast.Expr(part))


def _bounds(index: ast.expr) -> list[ast.expr]:
    if not isinstance(index, ast.Slice):
        return [index]
    return [bound for bound in (index.lower, index.upper, index.step) if bound is not None]


def _assign_value(b: Statements, targets: list[ast.expr], value: ast.expr) -> None:
    simple = not any(s.holds_site(target) for target in targets)
    if simple:
        b.evaluate(value, lambda value: ast.Assign(targets, value))
    else:
        lowered = b.lower(value)
        held = b.keep(lowered, load=False) if len(targets) > 1 else lowered
        for target in targets:
            assign_to(b, target, held)


def _augassign(b: Statements, node: ast.AugAssign) -> None:
    target = node.target
    into: ast.expr
    if isinstance(target, ast.Name):
        old = b.keep(read_of(target), load=False)
        into = s.store(target.id)
    else:
        if isinstance(target, ast.Attribute):
            base = b.hold(b.lower(target.value))
            read: ast.expr = ast.Attribute(base, target.attr, ast.Load())
            into = ast.Attribute(base, target.attr, ast.Store())
        else:
            base, index = (b.hold(part) for part in b.sequence([target.value, target.slice]))
            read = ast.Subscript(base, index, ast.Load())
            into = ast.Subscript(base, index, ast.Store())
        old = b.keep(read, load=False)
    value = b.lower(node.value)
    b.plain(ast.AugAssign(b.store(old), node.op, value))
    b.plain(ast.Assign([into], b.again(old)))


def _return(b: Statements, node: ast.Return) -> None:
    assert node.value is not None
    b.plain(ast.Return(b.lower(node.value)))


def _delete(b: Statements, node: ast.Delete) -> None:
    waiting = list(reversed(node.targets))
    while waiting:
        target = waiting.pop()
        if isinstance(target, ast.Tuple | ast.List):
            waiting.extend(reversed(target.elts))
        else:
            b.plain(ast.Delete([place_of(b, target, ast.Del()) if s.holds_site(target) else target]))


def _assert(b: Statements, node: ast.Assert) -> None:
    def fail() -> None:
        arguments = [] if node.msg is None else [b.lower(node.msg)]
        b.plain(ast.Raise(s.call(".AssertionError", *arguments), None))

    def check() -> None:
        b.branch(ast.UnaryOp(ast.Not(), b.lower(node.test)), fail, lambda: None)

    b.branch(s.load("__debug__"), check, lambda: None)


def _raise(b: Statements, node: ast.Raise) -> None:
    assert node.exc is not None
    parts = b.sequence([node.exc] if node.cause is None else [node.exc, node.cause])
    b.plain(ast.Raise(parts[0], parts[1] if len(parts) == 2 else None))


def _function(b: Statements, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    defaults = [*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]
    parameters = annotated(node)
    found = [*(parameter.annotation for parameter in parameters), node.returns]
    if not any(map(s.holds_site, found)):  # left alone: nobody knows here whether they are evaluated
        parameters, found = [], []
    annotations = [annotation for annotation in found if annotation is not None]
    lowered = iter(b.sequence([*node.decorator_list, *defaults, *annotations]))
    decorators = [next(lowered) for _ in node.decorator_list]
    args = with_defaults(node.args, [next(lowered) for _ in defaults])
    for parameter in parameters:
        parameter.annotation = next(lowered)
    fields = {**dict(ast.iter_fields(node)), "decorator_list": decorators, "args": args}
    made = type(node)(**{**fields, "returns": next(lowered, node.returns)})
    b.plain(s.at(made, node))


def _class(b: Statements, node: ast.ClassDef) -> None:
    parts = b.sequence([*node.decorator_list, *node.bases, *(word.value for word in node.keywords)])
    decorators, rest = parts[: len(node.decorator_list)], parts[len(node.decorator_list) :]
    bases, values = rest[: len(node.bases)], rest[len(node.bases) :]
    words = [ast.keyword(word.arg, value) for word, value in zip(node.keywords, values, strict=True)]
    fields = {**dict(ast.iter_fields(node)), "decorator_list": decorators, "bases": bases, "keywords": words}
    b.plain(s.at(ast.ClassDef(**fields), node))


_STATEMENTS: dict[type[ast.stmt], Callable[..., None]] = {
    ast.Expr: _expr,
    ast.Assign: _assign,
    ast.AnnAssign: _annassign,
    ast.AugAssign: _augassign,
    ast.Return: _return,
    ast.Delete: _delete,
    ast.Assert: _assert,
    ast.Raise: _raise,
    ast.If: lower_if,
    ast.While: lower_while,
    ast.For: lower_for,
    ast.AsyncFor: lower_async_for,
    ast.Try: lower_try,
    ast.TryStar: lower_try_star,
    ast.Match: lower_match,
    ast.With: lower_with,
    ast.AsyncWith: lower_with,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
}
