"""Statements with awaits, rewritten so that they can be entered again at any of their sites.

One function for each kind of statement (the table at the end). Statements without awaits stay as they are. What cannot be
resumed is refused here, at decoration, naming file, line and construct.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.expressions import Expressions, lower_defaults


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
            construct, advice = _REFUSED.get(
                type(node), (f"await inside `{type(node).__name__}`", "take the await out")
            )
            raise self.definition.refuse(node, construct, advice)
        handler(self, node)

    def spot_marker(self) -> ast.stmt:
        """Where the locals of a re-entered frame are put back; filled in when all names are known (emit.py)."""
        marker = s.at(ast.Pass(), self.place)
        marker.restore_spot = self.spot  # type: ignore[attr-defined]  # read by emit.py
        return marker

    # --- assignment -----------------------------------------------------------------------------------------------
    def assign_to(self, target: ast.expr, value: ast.expr) -> None:
        """Store *value* (already evaluated, or evaluated by this very statement) in *target*."""
        if not s.holds_site(target):
            self.plain(ast.Assign([target], value))
        elif isinstance(target, ast.Tuple | ast.List):
            held = [self.temp() for _ in target.elts]
            pattern: list[ast.expr] = []
            for temp, element in zip(held, target.elts, strict=True):
                name: ast.expr = self.store(temp)
                pattern.append(ast.Starred(name, ast.Store()) if isinstance(element, ast.Starred) else name)
            self.plain(ast.Assign([ast.Tuple(pattern, ast.Store())], value))
            for temp, element in zip(held, target.elts, strict=True):
                self.assign_to(element.value if isinstance(element, ast.Starred) else element, self.again(temp))
        else:
            held_value = self.hold(value)
            self.plain(ast.Assign([self.place_of(target, ast.Store())], held_value))

    def place_of(self, target: ast.expr, ctx: ast.expr_context) -> ast.expr:
        """An attribute or subscript with its awaits lowered, to be stored to or deleted."""
        if isinstance(target, ast.Attribute):
            return s.at(ast.Attribute(self.lower(target.value), target.attr, ctx), target)
        assert isinstance(target, ast.Subscript)
        value, index = self.sequence([target.value, target.slice])
        return s.at(ast.Subscript(value, index, ctx), target)

    def handler_name(self) -> str:
        return self.unique("x")


def _expr(b: Statements, node: ast.Expr) -> None:
    if isinstance(node.value, ast.Await):
        b.await_value(node.value, ast.Expr)
    else:
        b.plain(ast.Expr(b.lower(node.value)))


def _assign(b: Statements, node: ast.Assign) -> None:
    _assign_value(b, node.targets, node.value)


def _annassign(b: Statements, node: ast.AnnAssign) -> None:
    if node.value is None:
        raise b.definition.refuse(node, "await in a declaration without a value", "take the await out of it")
    _assign_value(b, [node.target], node.value)


def _assign_value(b: Statements, targets: list[ast.expr], value: ast.expr) -> None:
    simple = not any(s.holds_site(target) for target in targets)
    if simple and isinstance(value, ast.Await):
        b.await_value(value, lambda awaited: ast.Assign(targets, awaited))
    elif simple:
        b.plain(ast.Assign(targets, b.lower(value)))
    else:
        lowered = b.lower(value)
        held = b.keep(lowered, load=False) if len(targets) > 1 else lowered
        for target in targets:
            b.assign_to(target, held)


def _augassign(b: Statements, node: ast.AugAssign) -> None:
    target = node.target
    into: ast.expr
    if isinstance(target, ast.Name):
        old = b.keep(s.load(target.id), load=False)
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
            b.plain(ast.Delete([b.place_of(target, ast.Del()) if s.holds_site(target) else target]))


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


def _if(b: Statements, node: ast.If) -> None:
    b.branch(b.lower(node.test), lambda: b.statements(node.body), lambda: b.statements(node.orelse))


def _while(b: Statements, node: ast.While) -> None:
    if not s.holds_site(node.test):
        body, last = b.block(node.body)
        orelse, _ = b.block(node.orelse)
        test = ast.IfExp(s.load(s.PC), s.pc_at_most(last), node.test)
        b.sited([ast.While(test, body, orelse)])
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

    body, last = b.written(turn)
    entered = ast.IfExp(s.load(s.PC), s.pc_at_most(last), s.const(True))
    b.sited([ast.While(entered, body, [])])
    if node.orelse:
        b.branch(b.again(exhausted), lambda: b.statements(node.orelse), lambda: None)


def _for(b: Statements, node: ast.For) -> None:
    def take(item: str) -> None:
        b.assign_to(node.target, s.load(item))

    def orelse() -> None:
        b.statements(node.orelse)

    b.loop(b.lower(node.iter), take, lambda: b.statements(node.body), orelse)


def _try(b: Statements, node: ast.Try) -> None:
    if any(s.holds_site(statement) for statement in node.finalbody):
        raise b.definition.refuse(
            node.finalbody[0], "await in `finally`", "move it after the try, or into the __aexit__ of a context manager"
        )
    start = len(b.sites)
    body, body_last = b.block(node.body)
    handlers: list[tuple[ast.ExceptHandler, str, list[ast.stmt], int, int]] = []
    for handler in node.handlers:
        first = len(b.sites)
        if handler.type is not None and s.holds_site(handler.type):
            raise b.definition.refuse(handler, "await in an `except` expression", "evaluate it before the try")
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
        clauses.append(ast.ExceptHandler(s.attribute(s.FRAME, "agent", "stopping"), None, [ast.Raise(None, None)]))
    for handler, _, statements, first, last in handlers:
        match = handler.type if handler.type is not None else s.load(".BaseException")
        if handlers_last > body_last:
            mine: ast.expr = ast.Tuple([], ast.Load())
            if last > first:
                mine = ast.IfExp(s.pc_between(first, last), s.load(".BaseException"), mine)
            match = ast.IfExp(s.running_on(), match, mine)
        clauses.append(s.at(ast.ExceptHandler(match, handler.name, statements), handler))
    final: list[ast.stmt] = []
    if node.finalbody:
        alive = ast.UnaryOp(ast.Not(), s.attribute(s.FRAME, "agent", "dead"))
        final = [s.at(ast.If(alive, node.finalbody, []), node.finalbody[0])]
    b.sited([ast.Try(body, clauses, orelse, final)])


def _renamed(b: Statements, handler: ast.ExceptHandler) -> list[ast.stmt]:
    """Entering a handler again binds its name: what the program had made of that name since comes back."""
    name = handler.name
    if name is None or name not in b.plain_names:
        return []
    restored = s.assign(name, s.call(s.attribute(s.FRAME, "local"), s.const(name)))
    here = ast.Compare(s.attribute(s.FRAME, "spot"), [ast.Eq()], [s.const(b.spot)])
    test = ast.BoolOp(ast.And(), [s.load(s.PC), here])
    return [s.at(ast.If(test, [restored, s.unbound_again(name)], []), handler)]


def _with(b: Statements, node: ast.With | ast.AsyncWith) -> None:
    is_async = isinstance(node, ast.AsyncWith)
    body_holds = any(s.holds_site(statement) for statement in node.body)

    def item(index: int) -> None:
        if index == len(node.items):
            b.statements(node.body)
            return
        here = node.items[index]
        inner = body_holds or any(s.holds_site(later.context_expr) for later in node.items[index + 1 :])
        if inner or is_async:
            _with_item(b, here, is_async, lambda: item(index + 1))
        else:  # only its header holds awaits: an ordinary `with`, over what remains
            manager = b.lower(here.context_expr)
            rest = [ast.withitem(manager, here.optional_vars), *node.items[index + 1 :]]
            b.plain(ast.With(rest, node.body))

    item(0)


def _with_item(b: Statements, item: ast.withitem, is_async: bool, body: Callable[[], None]) -> None:
    if item.optional_vars is not None and s.holds_site(item.optional_vars):
        raise b.definition.refuse(item.optional_vars, "await in the target of a `with`", "assign it inside the body")
    header = b.new_header(item.context_expr)
    arguments: list[ast.expr] = [s.load(s.FRAME), s.const(header.number)]
    resumed: list[ast.stmt] = [*header.fetched, *b.revive(header.revivable)]
    if is_async:
        entering = b.new_site(item.context_expr, entering=header.number).number
        arguments.append(s.const(entering))
        here = ast.Compare(s.load(s.PC), [ast.Eq()], [s.const(entering)])
        resumed.append(ast.If(here, [s.assign(s.PC, s.const(0))], []))
    entered = b.unique("v")
    spot, b.spot, b.spots = b.spot, b.spots, b.spots + 1
    marker = b.spot_marker()
    b.path.append(header.number)

    def inside() -> None:
        if item.optional_vars is not None:
            b.plain(ast.Assign([item.optional_vars], s.load(entered)))
        body()

    statements, _ = b.written(inside)
    if is_async:
        b.new_site(item.context_expr, entering=-header.number)  # reserved: its __aexit__ in flight
    b.path.pop()
    b.spot = spot
    managed = s.at(s.call(".acm" if is_async else ".cm", *arguments, header.manager), item.context_expr)
    kind = ast.AsyncWith if is_async else ast.With
    opened = kind([ast.withitem(managed, s.store(entered))], [marker, *statements])
    b.sited([ast.If(s.load(s.PC), resumed, []), opened] if resumed else [opened])


def _function(b: Statements, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    decorated = [b.hold(decorator) for decorator in b.sequence(node.decorator_list)]
    annotations = [argument.annotation for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
    if any(s.holds_site(annotation) for annotation in (*annotations, node.returns)):
        raise b.definition.refuse(node, "await in an annotation", "take the await out of it")
    args = lower_defaults(b, node.args)
    fields = {**dict(ast.iter_fields(node)), "decorator_list": decorated, "args": args}
    b.plain(s.at(type(node)(**fields), node))


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
    ast.If: _if,
    ast.While: _while,
    ast.For: _for,
    ast.Try: _try,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
}

_REFUSED: dict[type[ast.stmt], tuple[str, str]] = {
    ast.AsyncFor: ("`async for`", "iterate in a plain coroutine that returns a list, and await that"),
    ast.TryStar: ("await inside `try`/`except*`", "catch the group in a plain coroutine"),
    ast.Match: ("await inside `match`", "await before the match and use `if` for what awaits"),
}
