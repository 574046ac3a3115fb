"""Values in temporaries: what was evaluated before an await, and the parts of an awaited expression.

The operand of an await is flattened: its callee and arguments become temporaries, nested calls one by one, so that after
a crash an awaitable that cannot be saved is made again from the very same values (DESIGN 3.2, "Lower"). Everything here
is free of awaits already: `expressions.Expressions`, built on it, has written them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.binding import maybe_unbound
from playbooks_worker.engine.build import Builder, virtual_of

_LOADS = (ast.Name, ast.Attribute, ast.Subscript)
_DATA = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.JoinedStr)  # what operators make is saved, never made again


class Mapping(ast.expr):
    """`**value` among the parts of a call or a dict display, while they are put in order."""

    _fields = ("value",)

    def __init__(self, value: ast.expr) -> None:
        super().__init__()
        self.value = value
        self.holds_site = s.holds_site(value)
        s.at(self, value)

    def copied(self) -> ast.expr:
        return s.at(ast.Dict([None], [self.value]), self.value)


class Operands(Builder):
    # --- holding values ------------------------------------------------------------------------------------------
    def hold(self, node: ast.expr) -> ast.expr:
        """Evaluate *node* now; the answer reads the kept value. Nothing that runs later can change it."""
        if isinstance(node, ast.Constant):
            return node
        if isinstance(node, ast.Name) and not self.in_header:
            if virtual_of(node) or node.id in self.hidden:
                return node
            if node.id in self.plain_names and node.id not in self.walrus:
                # no other code can rebind a plain local during this statement; where it is unbound, Python says so now
                if maybe_unbound(node):
                    self.plain(ast.Expr(s.load(node.id)))
                return node
        if isinstance(node, Mapping):
            return self.keep(node.copied(), load=False)
        if isinstance(node, ast.Starred):
            return ast.Starred(self.keep(ast.List([node], ast.Load()), load=False), ast.Load())
        if isinstance(node, _DATA) and not self.in_header:
            temp = self.temp()
            self.into(temp, self.flatten(node))
            return temp
        flat = self.flatten(node)
        if flat is not node and isinstance(flat, ast.Name):  # a temporary already
            return flat
        return self.keep(flat, load=isinstance(node, _LOADS))

    def keep(self, node: ast.expr, *, load: bool) -> ast.Name:
        """Put *node* into a temporary. A *load* may be made again whenever its value cannot be saved; anything else
        only when its value is an awaitable."""
        temp = self.temp()
        self.into(temp, node)
        self.revivable.append((temp.id, virtual_of(temp), node, load))
        return temp

    # --- parts of an expression ----------------------------------------------------------------------------------
    def flatten(self, node: ast.expr) -> ast.expr:
        """*node* with its parts in temporaries, nested calls one by one, in order of evaluation."""
        if isinstance(node, ast.Call):
            return self._flat_call(node)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            fields = {**dict(ast.iter_fields(node)), "elts": self._arguments(node.elts)}
            return s.at(type(node)(**fields), node)
        if isinstance(node, ast.Dict):
            return self._flat_dict(node)
        if isinstance(node, ast.ListComp) and isinstance(node.elt, ast.Call) and not self.is_super(node.elt.func):
            return self._noted(node, node.elt)
        if isinstance(node, ast.Attribute) and not self.is_super(node.value):
            return s.at(ast.Attribute(self._base(node.value), node.attr, ast.Load()), node)
        if isinstance(node, ast.Subscript):
            base = self._base(node.value) if self._is_quiet(node.slice) else self.hold(node.value)
            return s.at(ast.Subscript(base, self._argument(node.slice), ast.Load()), node)
        if isinstance(node, ast.BinOp) and _calls(node):
            return s.at(ast.BinOp(self.hold(node.left), node.op, self.hold(node.right)), node)
        if isinstance(node, ast.IfExp) and _calls(node):
            test = self.kept_test(node.test)
            return self.choice(test, lambda: self.flatten(node.orelse), lambda: self.flatten(node.body))
        if isinstance(node, ast.BoolOp) and _calls(node):
            return self.either_of(node.op, node.values, self.flatten)
        return node

    def _flat_call(self, node: ast.Call) -> ast.expr:
        if self.is_super(node):
            return node
        words = [Mapping(word.value) if word.arg is None else word.value for word in node.keywords]
        parts = [*node.args, *words]
        if self._is_global(node.func) and all(self._is_quiet(part) for part in parts):
            return node  # evaluated at once, and the same again
        function = node.func if self.is_super(node.func) or _is_opening(node.func) else self.hold(node.func)
        alone = spread_last(node)
        if alone is None:
            held = self._arguments(parts)
        else:
            value, *held = self._arguments([alone, *words])
            held = [self._argument(ast.Starred(value, ast.Load())), *held]
        args, values = held[: len(node.args)], held[len(node.args) :]
        keywords = [ast.keyword(word.arg, spread(value)) for word, value in zip(node.keywords, values, strict=True)]
        return s.at(ast.Call(function, args, keywords), node)

    def _flat_dict(self, node: ast.Dict) -> ast.expr:
        parts: list[ast.expr] = []
        for key, value in zip(node.keys, node.values, strict=True):
            parts += [Mapping(value)] if key is None else [key, value]
        held = iter(self._arguments(parts))
        pairs = [(None, spread(next(held))) if key is None else (next(held), next(held)) for key in node.keys]
        return s.at(ast.Dict([key for key, _ in pairs], [value for _, value in pairs]), node)

    def _noted(self, node: ast.ListComp, made: ast.Call) -> ast.expr:
        """A comprehension of calls (remaking.py). Where the notes cannot be saved, all of it is evaluated again."""
        rows = self.notes()
        self.into(rows, ast.List([], ast.Load()))
        none = s.at(ast.List([s.const(None)], ast.Load()), node)
        self.revivable.append((rows.id, virtual_of(rows), none, True))
        noted = ast.Call(s.load(".made"), [self.again(rows), made.func, *made.args], made.keywords)
        result = self.temp()
        self.into(result, s.at(ast.ListComp(noted, node.generators), node))
        remade = s.call(".remade", self.again(rows))
        again = s.at(ast.IfExp(s.call(".whole", self.again(rows)), remade, node), node)
        self.revivable.append((result.id, virtual_of(result), again, False))
        return result

    def either_of(
        self, op: ast.boolop, values: Sequence[ast.expr], flattened: Callable[[ast.expr], ast.expr]
    ) -> ast.expr:
        """`and`/`or` as a choice, so that only the parts of the chosen operand are evaluated."""
        if len(values) == 1:
            return flattened(values[0])
        first = self.hold(flattened(values[0]))
        untrue = self.kept_test(first)

        def rest() -> ast.expr:
            return self.either_of(op, values[1:], flattened)

        def kept() -> ast.expr:
            return first

        return self.choice(untrue, rest, kept) if isinstance(op, ast.Or) else self.choice(untrue, kept, rest)

    def kept_test(self, test: ast.expr) -> ast.Name:
        """Whether *test* is false, asked once."""
        return self.keep(ast.UnaryOp(ast.Not(), test), load=False)

    def choice(self, test: ast.Name, then: Callable[[], ast.expr], orelse: Callable[[], ast.expr]) -> ast.expr:
        """`then if test else orelse`, the parts of the chosen one in temporaries."""
        before, made = len(self.sites), len(self.made)
        chosen: list[ast.expr] = []
        body = self.written(lambda: chosen.append(then()))
        other = self.written(lambda: chosen.append(orelse()))
        if body[0] or other[0]:
            for temp in self.made[made:]:  # what an earlier statement left in them must not be saved
                self.into(temp, s.load(s.UNBOUND))
            self.either(self.again(test), before, body, other)
        return ast.IfExp(self.again(test), *chosen)

    def _arguments(self, nodes: Sequence[ast.expr]) -> list[ast.expr]:
        output: list[ast.expr] = []
        for index, node in enumerate(nodes):
            if isinstance(node, ast.Starred | Mapping) and not all(map(self._is_steady, nodes[index + 1 :])):
                output.append(self.hold(node))  # spread before what comes after it is evaluated
            else:
                output.append(self._argument(node))
        return output

    def _argument(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Starred):
            value = node.value
            if isinstance(value, ast.GeneratorExp):  # spread at once, as a list
                value = s.at(ast.ListComp(value.elt, value.generators), value)
            if isinstance(value, (*_LOADS, ast.Call)):
                value = s.at(s.call(".spread", self.hold(value)), node)
                return ast.Starred(self.keep(value, load=False), ast.Load())
            return ast.Starred(self.hold(value), ast.Load())
        if isinstance(node, Mapping):
            return Mapping(self.hold(node.value))
        if isinstance(node, ast.Slice):
            bounds = (None if bound is None else self.hold(bound) for bound in (node.lower, node.upper, node.step))
            return ast.Slice(*bounds)
        return self.hold(node)

    def _base(self, node: ast.expr) -> ast.expr:
        """The object that a load starts from: chains of loads stay together, calls are held."""
        if isinstance(node, ast.Attribute) and not self.is_super(node.value):
            return s.at(ast.Attribute(self._base(node.value), node.attr, ast.Load()), node)
        if isinstance(node, ast.Name) and self._is_global(node):
            return node
        return self.hold(node)

    # --- branches ---------------------------------------------------------------------------------------------------
    def branch(self, test: ast.expr, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """An `if` whose branches may hold sites."""
        before = len(self.sites)
        self.either(test, before, self.written(then), self.written(otherwise))

    def either(
        self, test: ast.expr, before: int, then: tuple[list[ast.stmt], int], otherwise: tuple[list[ast.stmt], int]
    ) -> None:
        """Write the `if` over two written blocks, *before* sites ahead: re-entry takes the one that holds the site."""
        (body, middle), (orelse, after) = then, otherwise
        if after == before:
            self.plain(ast.If(test, body or [ast.Pass()], orelse))
        else:
            test = ast.IfExp(s.load(s.PC), s.pc_at_most(middle), test)
            self.sited([ast.If(test, body or [ast.Pass()], orelse)], skips=not orelse)

    # --- questions -------------------------------------------------------------------------------------------------
    def _is_steady(self, node: ast.expr) -> bool:
        """Whether *node* has the same value whenever this statement evaluates it, and no effect."""
        if isinstance(node, ast.Name) and not self.in_header:
            return (
                bool(virtual_of(node))
                or node.id in self.hidden
                or (node.id in self.plain_names and node.id not in self.walrus)
            )
        return isinstance(node, ast.Constant)

    def _is_quiet(self, node: ast.expr) -> bool:
        """Whether evaluating *node*, now or again, runs no code of anybody's and makes what nobody can tell apart. (A list
        may have been changed by who got it.)"""
        if isinstance(node, ast.Slice):
            return all(bound is None or self._is_steady(bound) for bound in (node.lower, node.upper, node.step))
        return all(map(self._is_quiet, node.elts)) if isinstance(node, ast.Tuple) else self._is_steady(node)

    def _is_global(self, node: ast.expr) -> bool:
        return (
            isinstance(node, ast.Name)
            and not virtual_of(node)
            and node.id not in self.plain_names
            and node.id not in self.names.cells
            and not node.id.startswith(".")
        )

    def is_super(self, node: ast.expr) -> bool:
        """`super(__class__, self)` and its attributes are made again as a whole: such an object cannot be saved. So is what
        stands for `locals` and its like."""
        if isinstance(node, ast.Attribute):
            return self.is_super(node.value)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            return False
        return node.func.id == s.SEEN or (node.func.id == "super" and self._is_global(node.func))


def spread_last(node: ast.Call) -> ast.expr | None:
    """What is spread as the one positional argument of a call with keywords: Python goes through it behind these."""
    if len(node.args) != 1 or not node.keywords or not isinstance(node.args[0], ast.Starred):
        return None
    value = node.args[0].value
    return None if isinstance(value, ast.GeneratorExp) else value


def spread(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, Mapping) else node


def _is_opening(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == s.OPENING


def _calls(node: ast.AST) -> bool:
    return any(isinstance(child, ast.Call) for child in ast.walk(node))
