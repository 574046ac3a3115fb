"""Which names a playbook binds, which of them its nested functions share, and private names as its class sees them.

Called by the rewriter. Version-independent on purpose: compilers of different Python versions disagree on what is a
cell, and a checkpoint crosses versions.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass

from playbooks_worker.engine import syntax as s

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
LAZY: tuple[type[ast.AST], ...] = tuple(filter(None, [getattr(ast, "TypeAlias", None)]))
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class Names:
    """``plain`` and ``cells`` are the function's own names, in order of appearance; ``globals_`` were declared global;
    ``unbound`` are those that something unbinds, here or in a nested function; ``always_bound`` parameters that nothing
    does."""

    parameters: tuple[str, ...]
    plain: tuple[str, ...]
    cells: tuple[str, ...]
    globals_: tuple[str, ...]
    unbound: frozenset[str]
    always_bound: frozenset[str]


def names_of(node: ast.AsyncFunctionDef) -> Names:
    """The names that *node* binds. A name that any nested function mentions counts as a cell: more cells than the
    compiler would make do no harm, one fewer would."""
    parameters = tuple(
        a.arg
        for a in (
            *node.args.posonlyargs,
            *node.args.args,
            *([node.args.vararg] if node.args.vararg else []),
            *node.args.kwonlyargs,
            *([node.args.kwarg] if node.args.kwarg else []),
        )
    )
    bound: dict[str, None] = dict.fromkeys(parameters)
    global_: dict[str, None] = {}
    mentioned: set[str] = set()
    for statement in node.body:
        _collect(statement, bound, global_, mentioned, in_comprehension=False)
    for name in global_:
        bound.pop(name, None)
    cells = tuple(name for name in bound if name in mentioned)
    plain = tuple(name for name in bound if name not in mentioned)
    unbound = frozenset(
        name
        for child in ast.walk(node)
        if (isinstance(child, ast.Name) and isinstance(child.ctx, ast.Del) and (name := child.id))
        or (isinstance(child, ast.ExceptHandler) and (name := child.name or ""))
    )
    return Names(parameters, plain, cells, tuple(global_), unbound, frozenset(parameters) - unbound)


def bound_by(node: ast.stmt) -> Collection[str]:
    """The names that a statement binds, or deletes, in the function that it is in."""
    bound: dict[str, None] = {}
    _collect(node, bound, {}, set(), in_comprehension=False)
    return bound.keys()


def _collect(
    node: ast.AST, bound: dict[str, None], global_: dict[str, None], mentioned: set[str], *, in_comprehension: bool
) -> None:
    if isinstance(node, ast.Global):
        global_.update(dict.fromkeys(node.names))
    elif isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load) and not in_comprehension:
            bound[node.id] = None
    elif isinstance(node, ast.NamedExpr):
        bound[node.target.id] = None
        _collect(node.value, bound, global_, mentioned, in_comprehension=in_comprehension)
        return
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        if node.name:
            bound[node.name] = None
    elif isinstance(node, ast.MatchMapping):
        if node.rest:
            bound[node.rest] = None
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            bound[(alias.asname or alias.name).partition(".")[0]] = None
    elif isinstance(node, LAZY):  # `type X = …`: its value is a function of its own
        mentioned.update(_mentions(node))
    elif isinstance(node, SCOPES):
        if not isinstance(node, ast.Lambda):
            bound[node.name] = None
        mentioned.update(_mentions(node))
        for outer in evaluated_outside(node):
            _collect(outer, bound, global_, mentioned, in_comprehension=in_comprehension)
        return
    elif isinstance(node, _COMPREHENSIONS):
        if isinstance(node, ast.GeneratorExp):
            mentioned.update(_mentions(node))
        for child in s.children(node):
            _collect(child, bound, global_, mentioned, in_comprehension=True)
        return
    for child in s.children(node):
        _collect(child, bound, global_, mentioned, in_comprehension=in_comprehension)


def _mentions(node: ast.AST) -> set[str]:
    names: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Name):
            names.add(child.id)
        elif isinstance(child, ast.Nonlocal):
            names.update(child.names)
    return names


def evaluated_outside(node: ast.AST) -> list[ast.AST]:
    """The parts of a nested function or class that belong to the scope around it (without annotations, which not every
    program evaluates)."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    outside: list[ast.AST] = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
    if not isinstance(node, ast.Lambda):
        outside += node.decorator_list
    return outside


def annotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """The annotated parameters of a nested function in the order in which Python evaluates them, odd as it is."""
    args = node.args
    parameters = (*args.args, *args.posonlyargs, args.vararg, *args.kwonlyargs, args.kwarg)
    return [parameter for parameter in parameters if parameter is not None and parameter.annotation is not None]


class Mangler(ast.NodeTransformer):
    """Spells private names (`__x`) as the class body would: emitted code is compiled outside its class. Python leaves the
    words of keyword arguments as they are."""

    def __init__(self, cls: str) -> None:
        self._prefix = "_" + cls.lstrip("_")

    def _mangled(self, name: str) -> str:
        private = name.startswith("__") and not name.endswith("__") and "." not in name
        return self._prefix + name if private and self._prefix != "_" else name

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._mangled(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = self._mangled(node.attr)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._mangled(node.arg)
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [self._mangled(name) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self._mangled(name) for name in node.names]
        return node

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> ast.AST:
        for alias in node.names:
            alias.name = self._mangled(alias.name)
            alias.asname = None if alias.asname is None else self._mangled(alias.asname)
        return node

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        if node.name:
            node.name = self._mangled(node.name)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return self._bound(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return self._bound(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST | list[ast.stmt]:
        # Inside a nested class its own name counts: leave its body, spell only what is evaluated outside.
        node.bases = [self.visit(base) for base in node.bases]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        return self._bound(node)

    def _bound(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST | list[ast.stmt]:
        """What is defined is called as it is written, and bound as it is spelled."""
        written, mangled = node.name, self._mangled(node.name)
        if mangled == written:
            return node
        bound = ast.Assign([s.at(s.store(mangled), node)], s.at(s.load(written), node))
        gone = ast.Delete([s.at(ast.Name(written, ast.Del()), node)])
        return [node, s.at(bound, node), s.at(gone, node)]

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> ast.AST:
        if node.name:
            node.name = self._mangled(node.name)
        return self.generic_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        if node.rest:
            node.rest = self._mangled(node.rest)
        return self.generic_visit(node)
