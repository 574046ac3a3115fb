"""Sites as source: an await with the statements that evaluate what it awaits, or take it back; `with` headers; loops.

`expressions.Expressions` builds on it, and says what becomes of each kind of expression. How what stands before an await is
held is operands.py.
"""

from __future__ import annotations

import abc
import ast
from collections.abc import Callable, Sequence

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.build import HeaderDraft, virtual_of
from playbooks_worker.engine.operands import Operands


class Awaits(Operands):
    @abc.abstractmethod
    def lower(self, node: ast.expr) -> ast.expr:
        """An expression without awaits that has the value of *node*, what comes before it being written already."""

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
        made = self.taken_back()
        value = self.temp()
        self.revivable.append((value.id, virtual_of(value), operand, False))
        site = self.new_site(node, value.id)
        del self.revivable[before:]  # the operand's parts end with the await
        awaited = ast.Await(s.call(".go", s.load(s.FRAME), s.const(site.number), self.again(value)))
        awaited.site = site.number  # type: ignore[attr-defined]  # read by liveness.py
        taken = deliver(s.at(awaited, node))
        # entered again, its parts are as they were saved, or evaluated again; from there on the emitted code runs on
        site.back = ast.Tuple([s.store(name) for name in (s.PC, *(name for name, *_ in site.revive))], ast.Store())
        again = ast.Assign([site.back], s.call(s.attribute(s.FRAME, "again")))
        way = ast.If(s.load(s.PC), [again], [*made, ast.Assign([self.store(value)], operand)])
        self.sited([way, taken], way=way)

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

    def evaluate(self, node: ast.expr, deliver: Callable[[ast.expr], ast.stmt]) -> None:
        """Write *node*, and what takes its value; what that reads besides must live on until then."""
        if isinstance(node, ast.Await):
            self.await_value(node, deliver)
        else:
            self.plain(deliver(self.lower(node)))

    def evaluate_into(self, temp: ast.Name, node: ast.expr) -> None:
        self.evaluate(node, lambda value: ast.Assign([self.store(temp)], value))

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
        number, names = len(self.headers) + 1, tuple(name for name, *_ in mine)
        header = HeaderDraft(number, manager, names, revivable, tuple(self.path), getattr(node, "lineno", 0))
        self.headers.append(header)
        return header

    # --- branches and loops -----------------------------------------------------------------------------------------
    def choose(self, temp: ast.Name, node: ast.expr) -> Callable[[], None]:
        def chosen() -> None:
            self.evaluate_into(temp, node)

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
        after, end = self.written(orelse)
        begun = s.call(".iter", iterable)
        found: ast.expr = s.call(s.attribute(s.FRAME, "iterator"), s.const(iterator))
        again: ast.expr = s.call(".again", s.load(iterator))
        if end > last:  # entered again in its `else`, it has no turns left
            nothing = ast.Tuple([], ast.Load())
            found, again = (ast.IfExp(s.pc_at_most(last), there, nothing) for there in (found, again))
        loop = ast.For(s.store(item), ast.IfExp(s.load(s.PC), again, s.load(iterator)), inside, after)
        loop.lineno = getattr(self.place, "lineno", 1)
        # begun first: behind a call that ends a conditional expression, Python 3.12 tells debuggers of its line once more
        self.sited([s.assign(iterator, ast.IfExp(ast.UnaryOp(ast.Not(), s.load(s.PC)), begun, found)), loop])
