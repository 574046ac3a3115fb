"""One playbook rewritten: the code of its resumable twin and what a checkpoint must know about its sites.

Called once for each playbook, at decoration (so that refusals come there); compiled at its first call. The emitted
function takes no parameters: arguments, cells and helpers reach it through its closure, so that each activation gets its
cells from the engine, new or restored (DESIGN 3.2, point 4).
"""

from __future__ import annotations
import __future__

import ast
import copy
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.asking import Asking
from playbooks_worker.engine.binding import maybe_unbound, note_unbound
from playbooks_worker.engine.build import HeaderDraft, SiteDraft, virtual_of
from playbooks_worker.engine.liveness import live_temporaries
from playbooks_worker.engine.names import SCOPES, Mangler, Names, evaluated_outside, names_of
from playbooks_worker.engine.openings import Openings
from playbooks_worker.engine.source import Definition
from playbooks_worker.engine.statements import Statements

LOWERING = 1  # the version of this rewriting; a frame carries it, golden checkpoints hold every released one

HELPERS = (
    ".go",
    ".iter",
    ".again",
    ".cm",
    ".acm",
    ".aiter",
    ".anext",
    ".region",
    ".ended",
    ".StopAsyncIteration",
    ".set",
    ".cell",
    ".BaseException",
    ".AssertionError",
    ".made",
    ".whole",
    ".remade",
    s.OPENING,
    s.SEEN,
    s.AGAIN,
    s.UNBOUND,
)


@dataclass(frozen=True, slots=True)
class Temporaries:
    """Temporaries to save: the *roots* that are read, and for each that can be made again what it is made from.

    ``loads`` are those that may be made again whenever their value cannot be saved; the others only when it is an
    awaitable (``anything`` lifts that rule: nothing of a header or of an await in flight has completed)."""

    roots: tuple[str, ...]
    deps: dict[str, tuple[str, ...]]
    loads: frozenset[str]

    def all_names(self) -> set[str]:
        return {*self.roots, *self.deps, *(name for names in self.deps.values() for name in names)}


@dataclass(frozen=True, slots=True)
class Site:
    """A hoisted await. ``path`` names what encloses it, outermost first: iterators and handled exceptions by name,
    open headers by number, what a `finally` or an exit follows by the name of its completion. ``value`` is the name of the
    awaitable, empty where a header is entered (``entering`` is its number) or left. In the source, as (line, column):
    ``within`` is where its statement begins, ``start`` and ``end`` enclose what it awaits."""

    number: int
    line: int
    statement: str
    path: tuple[str | int, ...]
    spot: int
    value: str
    entering: int | None
    completed: Temporaries
    in_flight: Temporaries
    within: tuple[int, int]
    start: tuple[int, int]
    end: tuple[int, int]

    def holds(self, position: tuple[int, int]) -> bool:
        """Whether what stands at (line, column) in the source belongs to what it awaits."""
        return self.start <= position < self.end


@dataclass(frozen=True, slots=True)
class Header:
    number: int
    line: int
    temporaries: Temporaries


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``restored`` is the order in which `Frame.restored` answers, ``saved`` the names of it that are always saved;
    ``tree`` is the module that `compile_code` compiles."""

    names: Names
    sites: tuple[Site, ...]
    headers: tuple[Header, ...]
    restored: tuple[str, ...]
    saved: tuple[str, ...]
    tree: ast.Module


def rewrite(definition: Definition) -> Rewritten:
    """Rewrite one playbook. Raises `PlaybookRefused` for what cannot be resumed."""
    node = copy.deepcopy(definition.node)
    if definition.cls is not None:
        Mangler(definition.cls).generic_visit(node)
    names = names_of(node)
    if "__class__" in definition.shared and "super" not in {*names.plain, *names.cells, *names.globals_}:
        _explicit_super(node)
    _Undeclared().take_out(node)
    note_unbound(node, names.parameters)
    Openings().noted(node.body)
    Asking((*names.plain, *names.cells)).noted(node.body)
    for statement in node.body:
        s.mark_sites(statement)
    b = Statements(definition, names)
    body, _ = b.block(_without_docstring(node.body))
    function = _function(node, names, body)
    live = live_temporaries(function)
    sites = tuple(_site(draft, live.get(draft.number, ()), b.headers) for draft in b.sites)
    needed = {name for site in sites for name in (*site.completed.all_names(), *site.in_flight.all_names())}
    temporaries = (*(f".t{n}" for n in range(1, b.temps + 1)), *b.noted)
    restored = (*names.plain, *b.hidden, *(t for t in temporaries if t in needed))
    _Spots(names, restored).visit(function)
    tree = _factory(function, names, definition.shared)
    headers = tuple(Header(h.number, h.line, _header_temporaries(h)) for h in b.headers)
    return Rewritten(names, sites, headers, restored, (*names.plain, *b.hidden), tree)


def compile_code(rewritten: Rewritten, written: CodeType, qualname: str) -> CodeType:
    """The emitted coroutine function's code, named as the user's own, which is *written*."""
    future = written.co_flags & __future__.annotations.compiler_flag
    _on_one_line(rewritten.tree)
    module = compile(rewritten.tree, written.co_filename, "exec", flags=future, dont_inherit=True)
    factory = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    code = next(constant for constant in factory.co_consts if isinstance(constant, CodeType))
    name = qualname.rpartition(".")[2]
    return _requalified(code, code.co_qualname, qualname).replace(co_name=name)


def _on_one_line(tree: ast.Module) -> None:
    """Python gives an attribute's load to the *last* line of the expression. Those of our own names stand for a whole
    statement of the user's: with its end they would be a line that debuggers stop at and coverage counts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == s.FRAME:
            node.end_lineno, node.end_col_offset = node.lineno, node.col_offset


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


def _function(node: ast.AsyncFunctionDef, names: Names, body: list[ast.stmt]) -> ast.AsyncFunctionDef:
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
    marker.restore_spot = 0  # type: ignore[attr-defined]  # _Spots fills it in
    top.append(marker)
    function = _template("async def f(): pass")
    assert isinstance(function, ast.AsyncFunctionDef)
    function.name = ".body"  # the user's own name must stay free to mean what it means
    function.body = [*(s.at(statement, node) for statement in top), *body]
    return s.at(function, node)


def _factory(function: ast.AsyncFunctionDef, names: Names, shared: tuple[str, ...]) -> ast.Module:
    factory = _template("def f(): pass")
    assert isinstance(factory, ast.FunctionDef)
    shared = tuple(name for name in shared if name not in names.cells)
    factory.args.args = [ast.arg(name) for name in (s.FRAME, *HELPERS, *names.cells, *shared)]
    factory.body = [function]
    factory.name = ".make"
    return ast.fix_missing_locations(ast.Module([s.at(factory, function)], []))


def _template(text: str) -> ast.stmt:
    """A definition with the fields that this Python version wants."""
    return ast.parse(text).body[0]


class _Spots(ast.NodeTransformer):
    """Fills in the places where locals are put back, now that all names are known; and where a variable that is shared
    with nested functions may not be bound, lets the frame say so: to Python it is a variable of some other function."""

    def __init__(self, names: Names, restored: tuple[str, ...]) -> None:
        self._names = names
        self._restored = restored

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Nothing to make again at this site."""
        return self.generic_visit(node) if node.body else None

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
        if spot is None or not self._restored:
            return node
        target = ast.Tuple([s.store(name) for name in self._restored], ast.Store())
        statements: list[ast.stmt] = [ast.Assign([target], s.call(s.attribute(s.FRAME, "restored")))]
        names = (name for name in self._names.plain if name not in self._names.always_bound)
        statements.extend(s.unbound_again(name) for name in names)
        here = ast.Compare(s.attribute(s.FRAME, "spot"), [ast.Eq()], [s.const(spot)])
        return s.at(ast.If(ast.BoolOp(ast.And(), [s.load(s.PC), here]), statements, []), node)


def _flat(target: ast.expr) -> list[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        return [part for element in target.elts for part in _flat(element)]
    return [target]


_BLOCKS = ("body", "orelse", "finalbody")


class _Undeclared(ast.NodeTransformer):
    """Takes out declarations of names: emitted code makes its own, at its top, and other ones for cells. Nothing comes in
    their place, as Python has no code for them either, and nobody's debugger stops there."""

    def take_out(self, function: ast.AsyncFunctionDef) -> None:
        self.generic_visit(function)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        blocks = {name: block[0] for name in _BLOCKS if isinstance(block := getattr(node, name, None), list) and block}
        super().generic_visit(node)
        for name, first in blocks.items():
            if not getattr(node, name):
                setattr(node, name, [s.at(ast.Pass(), first)])
        return node

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        return None

    visit_Nonlocal = visit_Global

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Functions do not evaluate the annotations of their variables."""
        if not isinstance(node.target, ast.Name):
            return node
        return None if node.value is None else s.at(ast.Assign([node.target], node.value), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node


def _explicit_super(node: ast.AsyncFunctionDef) -> None:
    """`super()` asks the running function for its first argument; ours has none."""
    first = next((a.arg for a in (*node.args.posonlyargs, *node.args.args)), None)
    if first is None:
        return
    nested: list[ast.AST] = list(node.body)
    while nested:
        child = nested.pop()
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == "super":
            if not child.args and not child.keywords:
                child.args = [s.at(s.load("__class__"), child), s.at(s.load(first), child)]
        nested.extend(evaluated_outside(child) if isinstance(child, SCOPES) else ast.iter_child_nodes(child))


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if documented else body


def _reads(expression: ast.AST) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(node.id for node in ast.walk(expression) if isinstance(node, ast.Name) and virtual_of(node))
    )


def _temporaries(roots: Iterable[str], revivable: list[tuple[str, int, ast.expr, bool]]) -> Temporaries:
    known = {name: (expression, is_load) for name, _, expression, is_load in revivable}
    waiting = list(roots := tuple(roots))
    deps: dict[str, tuple[str, ...]] = {}
    while waiting:
        name = waiting.pop()
        if name in known and name not in deps:
            deps[name] = _reads(known[name][0])
            waiting.extend(deps[name])
    return Temporaries(roots, deps, frozenset(name for name in deps if known[name][1]))


def _header_temporaries(header: HeaderDraft) -> Temporaries:
    return _temporaries(_reads(header.manager), header.revivable)


def _site(draft: SiteDraft, live: tuple[str, ...], headers: list[HeaderDraft]) -> Site:
    completed = _temporaries(live, draft.revive)
    if draft.entering is not None:
        header = headers[draft.entering - 1]
        in_flight = _temporaries((*live, *_reads(header.manager)), header.revivable)
    elif not draft.value:
        in_flight = _temporaries(live, [])
    else:
        in_flight = _temporaries((*live, draft.value), draft.revive)
        if draft.resumed is not None:  # what no one reads any more need not be made again
            draft.resumed.body = [line for line in draft.resumed.body if getattr(line, "revives", "") in in_flight.deps]
    return Site(
        draft.number,
        getattr(draft.node, "lineno", 0),
        draft.statement,
        draft.path,
        draft.spot,
        draft.value,
        draft.entering,
        completed,
        in_flight,
        draft.within,
        (getattr(draft.node, "lineno", 0), getattr(draft.node, "col_offset", 0)),
        (getattr(draft.node, "end_lineno", 0), getattr(draft.node, "end_col_offset", 0)),
    )
