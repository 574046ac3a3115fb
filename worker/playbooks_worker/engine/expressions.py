"""Expressions with awaits become statements, in Python's exact order of evaluation.

`Expressions.lower` writes the awaits of an expression (and whatever must be evaluated before them) as items of the
current block and answers an expression without awaits, to be evaluated at once. Whatever a later await could see changed
is *held* in a temporary first (operands.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.build import HeaderDraft, virtual_of
from playbooks_worker.engine.operands import Mapping, Operands, spread
from playbooks_worker.engine.renaming import closed


class Expressions(Operands):
    # --- entry --------------------------------------------------------------------------------------------------
    def lower(self, node: ast.expr) -> ast.expr:
        """An expression without awaits that has the value of *node*, what comes before it being written already."""
        if not s.holds_site(node):
            return node
        handler = _LOWER.get(type(node))
        if handler is None:
            advice = "put what it awaits into a variable before this statement"
            raise self.definition.refuse(node, f"await inside {type(node).__name__}", advice)
        return handler(self, node)

    def sequence(self, nodes: Sequence[ast.expr]) -> list[ast.expr]:
        """Lower *nodes*, which Python evaluates from left to right; what comes before the last await is held."""
        last = max((index for index, node in enumerate(nodes) if s.holds_site(node)), default=-1)
        output: list[ast.expr] = []
        for index, node in enumerate(nodes):
            lowered = self.lower(node)
            output.append(self.hold(lowered) if index < last else lowered)
        return output

    # --- awaits ---------------------------------------------------------------------------------------------------
    def await_value(self, node: ast.Await, deliver: Callable[[ast.expr], ast.stmt]) -> None:
        """Write one site. *deliver* makes the statement that takes the awaited value."""
        place, self.place = self.place, node
        before = len(self.revivable)
        self.site_on(node, self.operand(node.value), before, deliver)
        self.place = place

    def site_on(self, node: ast.AST, operand: ast.expr, before: int, deliver: Callable[[ast.expr], ast.stmt]) -> None:
        """Write the site that awaits *operand*, whose parts are the revivable temporaries from *before* on."""
        made = self.kept_last()
        names = {getattr(part, "kept", "") for part in made}
        parts = [part for part in self.revivable if part[0] not in names]
        value = self.temp()
        self.revivable.append((value.id, virtual_of(value), operand, False))
        site = self.new_site(node, value.id)
        del self.revivable[before:]  # the operand's parts end with the await
        awaited = ast.Await(s.call(".go", s.load(s.FRAME), s.const(site.number), self.again(value)))
        awaited.site = site.number  # type: ignore[attr-defined]  # read by liveness.py
        taken = deliver(s.at(awaited, node))
        # the operand itself is evaluated at one place, now or again; its parts, unless saved, are made again before it
        site.resumed = ast.If(s.load(s.PC), self.revive(parts), [])
        now = ast.BoolOp(ast.Or(), [s.running_on(), s.not_saved(value.id)])
        evaluated = ast.If(now, [ast.Assign([self.store(value)], operand)], [])
        self.sited([site.resumed, *made, evaluated, s.assign(s.PC, s.const(0)), taken])

    def operand(self, node: ast.expr) -> ast.expr:
        """The operand of an await, flattened: also where other awaits decide which one it is."""
        if s.holds_site(node) and isinstance(node, ast.IfExp):
            test = self.kept_test(self.lower(node.test))
            return self.choice(test, lambda: self.operand(node.orelse), lambda: self.operand(node.body))
        if s.holds_site(node) and isinstance(node, ast.BoolOp):
            return self.either_of(node.op, node.values, self.operand)
        return self.flatten(self.lower(node))

    def await_temp(self, node: ast.Await) -> ast.expr:
        result: list[ast.Name] = []

        def deliver(awaited: ast.expr) -> ast.stmt:
            temp = self.temp()
            result.append(temp)
            return ast.Assign([self.store(temp)], awaited)

        self.await_value(node, deliver)
        return result[0]

    # --- headers --------------------------------------------------------------------------------------------------
    def new_header(self, node: ast.expr) -> HeaderDraft:
        """Put a `with` header's manager and the parts of its expression into temporaries that live as long as its block: the
        header is entered again from them, before the frame has its locals back."""
        expression = self.lower(node)
        revivable, self.revivable, self.in_header = self.revivable, [], True
        manager = self.hold(expression)
        mine, self.revivable, self.in_header = self.revivable, revivable, False
        # a local of the frame, which comes back behind its headers, is as it was saved
        revivable = [each for each in mine if not isinstance(each[2], ast.Name) or self._is_global(each[2])]
        number = len(self.headers) + 1
        fetched: list[ast.stmt] = [
            s.assign(name, s.call(s.attribute(s.FRAME, "of_header"), s.const(number), s.const(name)))
            for name, *_ in mine
        ]
        header = HeaderDraft(number, manager, fetched, revivable, tuple(self.path), getattr(node, "lineno", 0))
        self.headers.append(header)
        return header

    # --- branches and loops -----------------------------------------------------------------------------------------
    def choose(self, temp: ast.Name, node: ast.expr) -> Callable[[], None]:
        def chosen() -> None:
            self.into(temp, self.lower(node))

        return chosen

    def loop(
        self, iterable: ast.expr, take: Callable[[str], None], body: Callable[[], None], orelse: Callable[[], None]
    ) -> None:
        """A `for` whose iterator is a saved local: re-entry goes on inside the body, without asking for an item.

        *take* writes the assignment of the item, which it is given by name."""
        iterator, item = self.unique("i"), self.unique("v")

        def turn() -> None:
            take(item)
            body()

        self.path.append(iterator)
        with self.completions.loop():
            inside, last = self.written(turn)
        self.path.pop()
        after, _ = self.written(orelse)
        started = s.assign(iterator, s.call(".iter", iterable))
        found = s.assign(iterator, s.call(s.attribute(s.FRAME, "iterator"), s.const(iterator)))
        entered = ast.IfExp(s.pc_at_most(last), s.call(".again", s.load(iterator)), ast.Tuple([], ast.Load()))
        source = ast.IfExp(s.running_on(), s.load(iterator), entered)
        self.sited(
            [
                ast.If(s.running_on(), [started], [ast.If(s.pc_at_most(last), [found], [])]),
                ast.For(s.store(item), source, inside, after, lineno=getattr(self.place, "lineno", 1)),
            ],
            skips=not after,
        )


# --- one function for each kind of expression ------------------------------------------------------------------------


def _await(b: Expressions, node: ast.Await) -> ast.expr:
    return b.await_temp(node)


def _call(b: Expressions, node: ast.Call) -> ast.expr:
    words = [word.value if word.arg else Mapping(word.value) for word in node.keywords]
    func, *rest = b.sequence([node.func, *node.args, *words])
    args, values = rest[: len(node.args)], [spread(value) for value in rest[len(node.args) :]]
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
        b.into(result, b.lower(node.values[index]))
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
