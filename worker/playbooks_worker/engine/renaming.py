"""The variables of unrolled comprehensions under their hidden names, also in the inner scopes that read them.

Called by comprehensions.py. A variable that a `lambda` reads is shared with it: it is the content of a cell object that the
hidden name holds, and the lambda is made by a factory that binds that cell object, since the next run of the comprehension
has another one. Knows nothing of sites, but that a lambda whose defaults await is closed when they have been lowered.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from playbooks_worker.engine import syntax as s

Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp


def targets_of(target: ast.expr) -> list[str]:
    """The names that a target of `for` binds."""
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def shared_names(node: Comprehension, names: Iterable[str]) -> tuple[str, ...]:
    """Those of *names* that a lambda mentions. A generator expression cannot outlive the run that it is in."""
    mentioned = {
        name.id
        for child in ast.walk(node)
        if isinstance(child, ast.Lambda)
        for name in ast.walk(child.body)
        if isinstance(name, ast.Name)
    }
    return tuple(name for name in names if name in mentioned)


def renamed(node: Comprehension, hidden: Mapping[str, str], shared: Collection[str]) -> Comprehension:
    """A copy of *node* under the *hidden* names; its first iterable belongs to the scope around it and stays."""
    copied = s.copied(node)
    renamer = _Rename(hidden, {hidden[name] for name in shared})
    for field, value in ast.iter_fields(copied):
        if isinstance(value, ast.expr):
            setattr(copied, field, renamer.visit(value))
    targets = [frozenset(targets_of(generator.target)) for generator in copied.generators]
    for index, generator in enumerate(copied.generators):
        known = frozenset[str]().union(*targets[:index])
        later = frozenset[str]().union(*targets[index + 1 :])
        if index:
            generator.iter = renamer.before((later | targets[index]) - known).visit(generator.iter)
        generator.target = renamer.visit(generator.target)
        generator.ifs = [renamer.before(later - targets[index] - known).visit(test) for test in generator.ifs]
    return copied


def closed(node: ast.Lambda, cells: Iterable[str]) -> ast.Call:
    """*node*, made by a factory that binds these cell objects; its code object is found and named in compile_code."""
    names = list(cells)
    arguments = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
    factory = s.at(ast.Lambda(arguments, node), node)
    return s.at(ast.Call(factory, [s.at(s.load(name), node) for name in names], []), node)


class _Rename(ast.NodeTransformer):
    """Renames names, except where an inner scope binds its own. *cells* are the new names that hold cell objects, *unbound*
    the old ones that no `for` has bound yet."""

    def __init__(
        self,
        names: Mapping[str, str],
        cells: Collection[str],
        *,
        in_lambda: bool = False,
        unbound: frozenset[str] = frozenset(),
    ) -> None:
        self._names = names
        self._cells = cells
        self._in_lambda = in_lambda
        self._unbound = unbound

    def before(self, unbound: frozenset[str]) -> _Rename:
        """For what is evaluated before these are bound."""
        return _Rename(self._names, self._cells, unbound=unbound) if unbound else self

    def _without(self, bound: Collection[str], *, in_lambda: bool) -> _Rename:
        names = {old: new for old, new in self._names.items() if old not in bound}
        unbound = frozenset[str]() if in_lambda else self._unbound - frozenset(bound)
        return _Rename(names, self._cells, in_lambda=in_lambda, unbound=unbound)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        new = self._names.get(node.id)
        if new is None:
            return node
        if node.id in self._unbound:
            return s.at(s.call(s.attribute(s.FRAME, "unbound"), s.const(node.id)), node)
        if new in self._cells:
            return s.at(ast.Attribute(s.at(s.load(new), node), "cell_contents", node.ctx), node)
        node.id = new
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.args.kw_defaults = [None if d is None else self.visit(d) for d in node.args.kw_defaults]
        bound = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        node.body = self._without(bound, in_lambda=True).visit(node.body)
        read = {name.id for name in ast.walk(node.body) if isinstance(name, ast.Name)}
        cells = [cell for cell in self._cells if cell in read]
        if not cells or self._in_lambda:
            return node
        if s.holds_site(node):
            node.cells = cells  # type: ignore[attr-defined]  # `closed` when its defaults have been lowered
            return node
        return closed(node, sorted(cells))

    def _inner(self, node: Comprehension | ast.GeneratorExp) -> ast.AST:
        bound = {name for generator in node.generators for name in targets_of(generator.target)}
        inner = self._without(bound, in_lambda=self._in_lambda)
        first, *others = node.generators
        first.iter = self.visit(first.iter)  # evaluated outside the inner comprehension
        first.target = inner.visit(first.target)
        first.ifs = [inner.visit(test) for test in first.ifs]
        for generator in others:
            inner.visit(generator)
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                setattr(node, field, inner.visit(value))
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _inner
