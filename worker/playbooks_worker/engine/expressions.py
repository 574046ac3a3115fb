"""Expressions with awaits become statements, in Python's exact order of evaluation.

`Expressions.lower` writes the awaits of an expression (and whatever must be evaluated before them) as items of the
current block and answers an expression without awaits, to be evaluated at once. Whatever a later await could see changed
is *held* in a temporary first (operands.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.awaits import Awaits
from playbooks_worker.engine.operands import Mapping, spread, spread_last
from playbooks_worker.engine.renaming import closed


class Expressions(Awaits):
    def lower(self, node: ast.expr) -> ast.expr:
        """An expression without awaits that has the value of *node*, what comes before it being written already."""
        if not s.holds_site(node):
            return node
        handler = _LOWER.get(type(node))
        if handler is None:
            advice = "put what it awaits into a variable before this statement"
            raise self.definition.refuse(node, f"await inside {type(node).__name__}", advice)
        return handler(self, node)


# --- one function for each kind of expression ------------------------------------------------------------------------


def _await(b: Expressions, node: ast.Await) -> ast.expr:
    return b.await_temp(node)


def _call(b: Expressions, node: ast.Call) -> ast.expr:
    words = [word.value if word.arg else Mapping(word.value) for word in node.keywords]
    alone = spread_last(node)
    func, *rest = b.sequence([node.func, *([alone] if alone is not None else node.args), *words])
    args, values = rest[: len(node.args)], [spread(value) for value in rest[len(node.args) :]]
    if alone is not None:
        args = [ast.Starred(args[0], ast.Load())]
    keywords = [ast.keyword(word.arg, value) for word, value in zip(node.keywords, values, strict=True)]
    return s.at(ast.Call(func, args, keywords), node)


def _parts(*names: str) -> Callable[[Expressions, ast.expr], ast.expr]:
    """A node whose parts are evaluated in the order of *names*, each an expression or a list of them."""

    def handler(b: Expressions, node: ast.expr) -> ast.expr:
        parts: list[ast.expr] = []
        for name in names:
            value = getattr(node, name)
            parts += value if isinstance(value, list) else [value] if value is not None else []
        lowered = iter(b.sequence(parts))
        fields = dict(ast.iter_fields(node))
        for name in names:
            value = fields[name]
            if isinstance(value, list):
                fields[name] = [next(lowered) for _ in value]
            elif value is not None:
                fields[name] = next(lowered)
        return s.at(type(node)(**fields), node)

    return handler


def _dict(b: Expressions, node: ast.Dict) -> ast.expr:
    parts: list[ast.expr] = []
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            parts.append(Mapping(value))
        else:
            parts += [key, value]
    lowered = iter(b.sequence(parts))
    keys: list[ast.expr | None] = []
    values: list[ast.expr] = []
    for key in node.keys:
        keys.append(None if key is None else next(lowered))
        values.append(spread(next(lowered)))
    return s.at(ast.Dict(keys, values), node)


def _boolop(b: Expressions, node: ast.BoolOp) -> ast.expr:
    result = b.temp()
    first = next(index for index, value in enumerate(node.values) if s.holds_site(value))
    head = node.values[:first]

    def rest(index: int) -> None:
        b.evaluate_into(result, node.values[index])
        if index + 1 < len(node.values):
            go_on(index + 1)

    def go_on(index: int) -> None:
        test: ast.expr = b.again(result)
        if isinstance(node.op, ast.Or):
            test = ast.UnaryOp(ast.Not(), test)
        b.branch(test, lambda: rest(index), _nothing)

    if head:
        b.into(result, head[0] if len(head) == 1 else s.at(ast.BoolOp(node.op, head), node))
        go_on(first)
    else:
        rest(0)
    return result


def _ifexp(b: Expressions, node: ast.IfExp) -> ast.expr:
    test = b.lower(node.test)
    result = b.temp()
    if s.holds_site(node.orelse):  # what an earlier statement left in it must not be saved there
        b.into(result, s.load(s.UNBOUND))
    b.branch(test, b.choose(result, node.body), b.choose(result, node.orelse))
    return result


def _compare(b: Expressions, node: ast.Compare) -> ast.expr:
    if len(node.ops) == 1:
        left, right = b.sequence([node.left, node.comparators[0]])
        return s.at(ast.Compare(left, node.ops, [right]), node)
    result = b.temp()

    def step(left: ast.expr, index: int) -> None:
        right = b.lower(node.comparators[index])
        last = index + 1 == len(node.ops)
        if not last:
            right = b.hold(right)
        b.into(result, s.at(ast.Compare(left, [node.ops[index]], [right]), node))
        if not last:
            b.branch(b.again(result), lambda: step(right, index + 1), _nothing)

    step(b.hold(b.lower(node.left)), 0)
    return result


def _named(b: Expressions, node: ast.NamedExpr) -> ast.expr:
    value = b.keep(b.lower(node.value), load=False)
    b.plain(s.assign(node.target.id, value))
    return b.again(value)


def _joined(b: Expressions, node: ast.JoinedStr) -> ast.expr:
    last = max(index for index, value in enumerate(node.values) if s.holds_site(value))
    output: list[ast.expr] = []
    for index, value in enumerate(node.values):
        if isinstance(value, ast.FormattedValue):
            spec = value.format_spec
            parts = b.sequence([value.value, spec] if spec is not None else [value.value])
            value = s.at(ast.FormattedValue(parts[0], value.conversion, parts[1] if spec is not None else None), value)
            if index < last:  # formatted now, as Python does
                text = b.keep(s.at(ast.JoinedStr([value]), value), load=False)
                value = s.at(ast.FormattedValue(text, -1, None), value)
        output.append(value)
    return s.at(ast.JoinedStr(output), node)


def _lambda(b: Expressions, node: ast.Lambda) -> ast.expr:
    made = s.at(ast.Lambda(lower_defaults(b, node.args), node.body), node)
    cells = getattr(node, "cells", None)  # of a comprehension's variables
    return made if cells is None else closed(made, cells)


def lower_defaults(b: Expressions, args: ast.arguments) -> ast.arguments:
    return with_defaults(args, b.sequence([*args.defaults, *(d for d in args.kw_defaults if d is not None)]))


def with_defaults(args: ast.arguments, defaults: list[ast.expr]) -> ast.arguments:
    """*args* with other defaults, those of its positional parameters first."""
    positional, keyword = defaults[: len(args.defaults)], iter(defaults[len(args.defaults) :])
    return ast.arguments(
        posonlyargs=args.posonlyargs,
        args=args.args,
        vararg=args.vararg,
        kwonlyargs=args.kwonlyargs,
        kw_defaults=[None if d is None else next(keyword) for d in args.kw_defaults],
        kwarg=args.kwarg,
        defaults=positional,
    )


def _generator(b: Expressions, node: ast.GeneratorExp) -> ast.expr:
    first, *others = node.generators
    inner = [first.target, *first.ifs, node.elt, *others]
    if first.is_async or any(s.holds_site(part) for part in inner):
        raise b.definition.refuse(node, "asynchronous generator expression", "use a list comprehension")
    source = ast.comprehension(first.target, b.lower(first.iter), first.ifs, 0)
    return s.at(ast.GeneratorExp(node.elt, [source, *others]), node)


def _starred(b: Expressions, node: ast.Starred) -> ast.expr:
    return s.at(ast.Starred(b.lower(node.value), node.ctx), node)


def _nothing() -> None:
    return None


def _mapping(b: Expressions, node: Mapping) -> ast.expr:
    return Mapping(b.lower(node.value))


from playbooks_worker.engine.comprehensions import lower_comprehension  # noqa: E402  # it builds on this module

_LOWER: dict[type[ast.expr], Callable[..., ast.expr]] = {
    ast.Await: _await,
    ast.Call: _call,
    ast.BinOp: _parts("left", "right"),
    ast.UnaryOp: _parts("operand"),
    ast.Attribute: _parts("value"),
    ast.Subscript: _parts("value", "slice"),
    ast.Slice: _parts("lower", "upper", "step"),
    ast.List: _parts("elts"),
    ast.Tuple: _parts("elts"),
    ast.Set: _parts("elts"),
    ast.Dict: _dict,
    ast.BoolOp: _boolop,
    ast.IfExp: _ifexp,
    ast.Compare: _compare,
    ast.NamedExpr: _named,
    ast.JoinedStr: _joined,
    ast.Lambda: _lambda,
    ast.Starred: _starred,
    ast.GeneratorExp: _generator,
    Mapping: _mapping,
    ast.ListComp: lower_comprehension,
    ast.SetComp: lower_comprehension,
    ast.DictComp: lower_comprehension,
}
