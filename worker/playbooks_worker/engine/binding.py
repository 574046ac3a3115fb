"""Where a playbook reads a variable that may not be bound there: one look over the playbook before it is rewritten.

Called by rewrite.py. Python finds out at run time, and says `UnboundLocalError`; rewritten code must do the same where it
keeps a variable for later (operands.py) and where the variable is shared with nested functions: there it is a free variable
of the emitted code, of which Python would say something else. Conservative: too many are noted, never too few.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TypeAlias

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.names import LAZY, SCOPES, Names, evaluated_outside

_Bound: TypeAlias = "frozenset[str] | None"  # None: nothing comes here
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def note_unbound(node: ast.AsyncFunctionDef, names: Names) -> frozenset[str]:
    """Put ``maybe_unbound`` on every name of the function's own scope that may be read, or deleted, before it is bound.
    Answers those names."""
    reader = _Reader(names.unbound)
    reader.block(node.body, names.always_bound)
    return frozenset(reader.noted)


def maybe_unbound(node: ast.AST) -> bool:
    return getattr(node, "maybe_unbound", False)


def read_of(target: ast.Name) -> ast.Name:
    """The read of an augmented assignment."""
    read = ast.Name(target.id, ast.Load())
    read.maybe_unbound = maybe_unbound(target)  # type: ignore[attr-defined]
    return read


class _Reader:
    """Follows the statements in order; each step takes what is bound before it and answers what is bound after it. What
    nothing unbinds stays bound once it is."""

    def __init__(self, unbound: frozenset[str]) -> None:
        self.unbound = unbound
        self.noted: set[str] = set()

    def block(self, body: Iterable[ast.stmt], bound: _Bound) -> _Bound:
        for statement in body:
            bound = self._statement(statement, bound)
        return bound

    def _statement(self, node: ast.stmt, bound: _Bound) -> _Bound:
        match node:
            case ast.If():
                self._read(node.test, bound)
                return _either(self.block(node.body, bound), self.block(node.orelse, bound))
            case ast.For() | ast.AsyncFor():
                self._read(node.iter, bound)
                self.block(node.body, self._bind([node.target], bound))
                self.block(node.orelse, bound)
                return bound
            case ast.While():
                self._read(node.test, bound)
                self.block(node.body, bound)
                self.block(node.orelse, bound)
                return bound
            case ast.Try() | ast.TryStar():
                return self._try(node, bound)
            case ast.With() | ast.AsyncWith():
                return self._with(node, bound)
            case ast.Match():
                return self._match(node, bound)
            case ast.Return() | ast.Raise() | ast.Break() | ast.Continue():
                self._read(node, bound)
                return None
            case ast.Assign():
                self._read(node.value, bound)
                return self._bind(node.targets, bound)
            case ast.AnnAssign():
                if node.value is not None:
                    self._read(node.value, bound)
                return bound if node.value is None else self._bind([node.target], bound)
            case ast.AugAssign():
                if isinstance(node.target, ast.Name):
                    self._note(node.target, bound)
                self._read(node.value, bound)
                return self._bind([node.target], bound)
            case ast.Import() | ast.ImportFrom():
                return self._named(((a.asname or a.name).partition(".")[0] for a in node.names), bound)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._read(node, bound)
                return self._named([node.name], bound)
        if not isinstance(node, LAZY):
            self._read(node, bound)
        return bound

    def _try(self, node: ast.Try | ast.TryStar, bound: _Bound) -> _Bound:
        after = self.block(node.orelse, self.block(node.body, bound))
        for handler in node.handlers:
            if handler.type is not None:
                self._read(handler.type, bound)
            after = _either(after, self.block(handler.body, bound))
        final = self.block(node.finalbody, bound)
        return None if final is None or after is None else after | final

    def _with(self, node: ast.With | ast.AsyncWith, bound: _Bound) -> _Bound:
        inside = bound
        for item in node.items:
            self._read(item.context_expr, inside)
            inside = inside if item.optional_vars is None else self._bind([item.optional_vars], inside)
        self.block(node.body, inside)
        first = node.items[0].optional_vars  # an exception in anything after it may be swallowed
        return self._bind([first], bound) if isinstance(first, ast.Name) else bound

    def _match(self, node: ast.Match, bound: _Bound) -> _Bound:
        self._read(node.subject, bound)
        after = bound
        for case in node.cases:
            captured = [
                name
                for part in ast.walk(case.pattern)
                if (name := getattr(part, "rest" if isinstance(part, ast.MatchMapping) else "name", None))
            ]
            inside = self._named(captured, bound)
            self._read(case.pattern, bound)
            if case.guard is not None:
                self._read(case.guard, inside)
            after = _either(after, self.block(case.body, inside))
        return after

    def _bind(self, targets: list[ast.expr], bound: _Bound) -> _Bound:
        for target in targets:
            self._read(target, bound)
            stored = (n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
            bound = self._named(stored, bound)
        return bound

    def _named(self, names: Iterable[str], bound: _Bound) -> _Bound:
        return None if bound is None else bound | (frozenset(names) - self.unbound)

    def _read(self, node: ast.AST, bound: _Bound) -> None:
        """Note the names that are read in *node*. What `:=` binds does not count: it may have been passed over."""
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Store):
                self._note(node, bound)
        elif isinstance(node, _COMPREHENSIONS):
            self._read(node.generators[0].iter, bound)
            if not isinstance(node, ast.GeneratorExp):  # that is a function of its own
                self._comprehension(node, bound)
        else:
            for child in evaluated_outside(node) if isinstance(node, SCOPES) else s.children(node):
                self._read(child, bound)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp, bound: _Bound) -> None:
        targets = (generator.target for generator in node.generators)
        own = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        inside = None if bound is None else bound | own
        first, *others = node.generators
        for part in (
            first.target,
            *first.ifs,
            *others,
            *(v for _, v in ast.iter_fields(node) if isinstance(v, ast.expr)),
        ):
            self._read(part, inside)

    def _note(self, node: ast.Name, bound: _Bound) -> None:
        if bound is not None and node.id not in bound:
            node.maybe_unbound = True  # type: ignore[attr-defined]  # read by `maybe_unbound`
            self.noted.add(node.id)


def _either(one: _Bound, other: _Bound) -> _Bound:
    if one is None or other is None:
        return other if one is None else one
    return one & other
