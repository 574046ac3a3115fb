"""The emitted function around a rewritten body: a factory that takes cells and helpers, the places where locals are put
back, line numbers; and its code object, under the user's own names.

Called by rewrite.py. Knows nothing of how statements are rewritten.
"""

from __future__ import annotations
import __future__

import ast
from types import CodeType
from typing import Any, NamedTuple

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.binding import maybe_unbound
from playbooks_worker.engine.names import Names
from playbooks_worker.engine.source import Definition


def function_of(node: ast.AsyncFunctionDef, names: Names, body: list[ast.stmt]) -> ast.AsyncFunctionDef:
    """The emitted function over a rewritten *body*, with gaps that `finished` fills."""
    top: list[ast.stmt] = []
    if names.globals_:
        top.append(ast.Global(list(names.globals_)))
    if names.cells:  # bound by the factory, so that each activation gets its cells from the engine
        top.append(ast.Nonlocal(list(names.cells)))
    top.append(s.assign(s.PC, s.attribute(s.FRAME, "pc")))
    plain = [name for name in names.parameters if name in names.plain]
    if plain:
        target = ast.Tuple([s.store(name) for name in plain], ast.Store())
        top.append(ast.If(s.running_on(), [ast.Assign([target], s.call(s.attribute(s.FRAME, "arguments")))], []))
    marker = ast.Pass()
    marker.restore_spot = 0  # type: ignore[attr-defined]  # read by _Finisher
    top.append(marker)
    function = _template("async def f(): pass")
    assert isinstance(function, ast.AsyncFunctionDef)
    function.name = ".body"  # the user's own name must stay free to mean what it means
    function.body = [*(s.at(statement, node) for statement in top), *body]
    return s.at(function, node)


def finished(
    definition: Definition,
    function: ast.AsyncFunctionDef,
    names: Names,
    restored: tuple[tuple[str, ...], ...],
    unbound: frozenset[str],
) -> ast.Module:
    """The module of the emitted function, to be compiled. *restored* are the names that come back at a resume, in order, for
    each place where they do; the program may find those of them that are *unbound* so.
    Raises `PlaybookRefused` for what Python would not compile."""
    _Finisher(names, restored, unbound).visit(function)
    factory = _template("def f(): pass")
    assert isinstance(factory, ast.FunctionDef)
    factory.name = ".make"
    factory.body = [function]
    ours = _Ours()
    ours.settle(factory, _Where(*(getattr(function, name) for name in _Where._fields)))
    taken = (
        *sorted(ours.loaded - ours.stored),
        *names.cells,
        *(name for name in definition.shared if name not in names.cells),
    )
    factory.args.args = [s.at(ast.arg(name), function) for name in taken]
    module = ast.Module([factory], [])
    if ours.deepest > _DEEP:
        try:
            compile(module, definition.filename, "exec", dont_inherit=True)
        except SyntaxError as error:  # Python's limit is 20; some of the program's blocks are two of ours
            place = ast.Pass(lineno=error.lineno or function.lineno)
            advice = "move the inner ones into a playbook of their own"
            raise definition.refuse(place, "too many blocks inside each other", advice) from None
    return module


def evaluating(expression: ast.expr, names: Names, given: tuple[str, ...], taken: tuple[str, ...]) -> ast.Module:
    """The module of a function of the names *given* that evaluates a part of a statement, and takes the others. One that is
    not bound is missed where it is read, which may be never."""
    function = _template("def f(): pass")
    factory = _template("def f(): pass")
    assert isinstance(function, ast.FunctionDef) and isinstance(factory, ast.FunctionDef)
    function.name, factory.name = ".again", ".make"
    function.args.args = [ast.arg(name) for name in given]
    function.body = [*map(s.unbound_again, given), ast.Return(expression)]
    factory.args.args = [ast.arg(name) for name in dict.fromkeys((s.UNBOUND, *taken))]
    factory.body = [function]
    _Finisher(names, (), frozenset()).visit(function)
    _Ours().settle(factory, _Where(*(getattr(expression, name) for name in _Where._fields)))
    return ast.Module([factory], [])


def compile_code(tree: ast.Module, written: CodeType, qualname: str) -> CodeType:
    """The emitted coroutine function's code, named as the user's own, which is *written*."""
    future = written.co_flags & __future__.annotations.compiler_flag
    module = compile(tree, written.co_filename, "exec", flags=future, dont_inherit=True)
    factory = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    code = next(constant for constant in factory.co_consts if isinstance(constant, CodeType))
    name = qualname.rpartition(".")[2]
    return _requalified(code, code.co_qualname, qualname).replace(co_name=name)


def _requalified(code: CodeType, old: str, new: str) -> CodeType:
    name = new + code.co_qualname.removeprefix(old)
    if code.co_argcount and code.co_varnames[0].startswith(
        ".c"
    ):  # renaming.closed: only what it makes is the program's
        old, new = code.co_qualname, name.rpartition(".<locals>.")[0]
        name = f"{new}.<locals>.<cells>"
    constants = tuple(
        _requalified(constant, old, new)
        if isinstance(constant, CodeType)
        else new + constant.removeprefix(old)  # the body of a class says its name
        if isinstance(constant, str) and constant.startswith(f"{old}.<locals>.")
        else constant
        for constant in code.co_consts
    )
    return code.replace(co_consts=constants, co_qualname=name)


def _template(text: str) -> ast.stmt:
    """A definition with the fields that this Python version wants."""
    return ast.parse(text).body[0]


class _Finisher(ast.NodeTransformer):
    """Fills in the places where locals are put back, now that all names are known; and where a variable that is shared
    with nested functions may not be bound, lets the frame say so: to Python it is a variable of some other function."""

    def __init__(self, names: Names, restored: tuple[tuple[str, ...], ...], unbound: frozenset[str]) -> None:
        self._names = names
        self._restored = restored
        self._unbound = unbound

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and not self._names.cells:
            return node
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._asked(node) if isinstance(node.ctx, ast.Load) and self._is_shared(node) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.AST]:
        self.generic_visit(node)
        return [s.at(ast.Expr(self._asked(node.target)), node), node] if self._is_shared(node.target) else node

    def visit_Delete(self, node: ast.Delete) -> ast.AST | list[ast.AST]:
        self.generic_visit(node)
        targets = [part for target in node.targets for part in _flat(target)]
        if not any(map(self._is_shared, targets)):
            return node
        statements: list[ast.AST] = []
        for target in targets:
            statements += [s.at(ast.Expr(self._asked(target)), node)] if self._is_shared(target) else []
            statements.append(s.at(ast.Delete([target]), node))
        return statements

    def _is_shared(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and maybe_unbound(node) and node.id in self._names.cells

    def _asked(self, node: ast.AST) -> ast.expr:
        assert isinstance(node, ast.Name)
        return s.at(s.call(s.attribute(s.FRAME, "own"), s.const(node.id)), node)

    def visit_Pass(self, node: ast.Pass) -> ast.AST:
        spot = getattr(node, "restore_spot", None)
        if spot is None or not self._restored[spot]:
            return node
        target = ast.Tuple([s.store(name) for name in self._restored[spot]], ast.Store())
        statements: list[ast.stmt] = [ast.Assign([target], s.call(s.attribute(s.FRAME, "restored")))]
        # one that is always bound before it is read may as well hold our mark until then
        statements.extend(s.unbound_again(name) for name in self._names.plain if name in self._unbound)
        here = ast.Compare(s.attribute(s.FRAME, "spot"), [ast.Eq()], [s.const(spot)])
        return s.at(ast.If(ast.BoolOp(ast.And(), [s.load(s.PC), here]), statements, []), node)


def _flat(target: ast.expr) -> list[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        return [part for element in target.elts for part in _flat(element)]
    return [target]


_BLOCKS = (ast.For, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.ExceptHandler)
_DEEP = 8


class _Where(NamedTuple):
    lineno: int
    col_offset: int
    end_lineno: int
    end_col_offset: int


class _Ours:
    """Gives every node a place in the user's source; learns which of our own names are read and which are bound, and how
    deep blocks stand inside each other."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.stored: set[str] = set()
        self.deepest = 0

    def settle(self, node: ast.AST, where: _Where, depth: int = 0) -> None:
        known = node.__dict__
        if "lineno" in node._attributes:
            if known.get("end_lineno") is None:
                node.__dict__.update(where._asdict())
            else:
                where = _Where(known["lineno"], known["col_offset"], known["end_lineno"], known["end_col_offset"])
        if isinstance(node, ast.Name):
            if node.id.startswith("."):
                (self.loaded if isinstance(node.ctx, ast.Load) else self.stored).add(node.id)
            return
        # Python gives an attribute's load to the *last* line of the expression. Those of our own names stand for a whole
        # statement of the user's: with its end they would be a line that debuggers stop at and coverage counts.
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == s.FRAME:
            known["end_lineno"], known["end_col_offset"] = known["lineno"], known["col_offset"]
        if isinstance(node, _BLOCKS):
            depth += 1
            self.deepest = max(self.deepest, depth)
        for child in s.children(node):
            self.settle(child, where, depth)
