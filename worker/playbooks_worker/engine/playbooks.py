"""`@playbook`: an ordinary coroutine function outside an agent, a resumable call inside one.

The decorated name is a real function that pickles by id (`module:qualname`). Everything that the engine knows about one
playbook is a `Playbook`; the rewriting happens here, at decoration, so that refusals come with the import.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import inspect
import sys
import types
from collections.abc import Callable, Coroutine, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, ParamSpec, TypeVar, cast

from playbooks_worker.engine import refusals
from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.emitting import compile_code, evaluating
from playbooks_worker.engine.errors import CodeChanged, PlaybookRefused
from playbooks_worker.engine.place import here
from playbooks_worker.engine.rewrite import LOWERING, Part, Rewritten, rewrite
from playbooks_worker.engine.source import definition_of, fingerprint

_P = ParamSpec("_P")
_R = TypeVar("_R")


_known: dict[str, Playbook] = {}


class Playbook:
    """One playbook: its function as written, its resumable twin, its fingerprint."""

    def __init__(self, function: FunctionType) -> None:
        self.definition = definition = definition_of(function)
        self.function = function
        self.id = f"{function.__module__}:{function.__qualname__}"
        refusals.check(definition, function)
        refusals.check_name(definition, function, _known.get(self.id))
        self.filename = definition.filename
        self.of_operation = False  # operations.py
        self.lowering = LOWERING
        with deep_trees():
            self.fingerprint = fingerprint(definition.node)
            rewritten, tree = rewrite(definition)
        self.rewritten: Rewritten = rewritten
        self._tree: ast.Module | None = tree  # until it is compiled: it is big
        self.signature = inspect.signature(function)
        # (site or minus header, temporary) pairs whose values turned out not to be savable in this process
        self.unsavable: set[tuple[int, str]] = set()
        self.fragments: dict[tuple[int, int], str] = {}  # (site, depth) → its place in the stack as JSON
        self._code: CodeType | None = None
        self._evaluators: dict[Part, tuple[CodeType, tuple[str, ...]]] = {}
        self._positions: list[tuple[int, int]] | None = None
        self.bind: Callable[..., tuple[Any, ...]] = binder(function, self.rewritten.names.parameters)
        _known[self.id] = self

    @property
    def code(self) -> CodeType:
        """The emitted code, compiled at the first call."""
        if self._code is None:
            with deep_trees():
                tree, self._tree = self._tree or self.emitted(), None
                self._code = compile_code(tree, self.function.__code__, self.function.__qualname__)
        return self._code

    def emitted(self) -> ast.Module:
        """What is compiled, made anew."""
        with deep_trees():
            return rewrite(self.definition)[1]

    def position(self, instruction: int) -> tuple[int, int]:
        """(line, column) in the user's source of an instruction of the emitted code."""
        if self._positions is None:
            spans = self.code.co_positions()
            self._positions = [(line or 0, column or 0) for line, _, column, _ in spans]
        return self._positions[instruction // 2] if instruction >= 0 else (0, 0)

    def evaluator(self, part: Part) -> tuple[CodeType, tuple[str, ...]]:
        """The code that evaluates a part of what a site awaits once more, and the names of its parameters."""
        found = self._evaluators.get(part)
        if found is None:
            mentioned = (node.id for node in ast.walk(part.expression) if isinstance(node, ast.Name))
            read = dict.fromkeys(name for name in mentioned if not name.startswith(s.OWN))
            names = self.rewritten.names
            ours = (name for name in (*self.code.co_varnames, *self.code.co_cellvars) if name.startswith("."))
            local = {*names.plain, *ours}  # not what comprehensions bind, which Python 3.12 has among them
            closed = {*names.cells, *self.definition.shared}
            given = tuple(name for name in read if name in local)
            taken = tuple(name for name in read if name not in local and (name in closed or name.startswith(".")))
            with deep_trees():
                tree = evaluating(part.expression, names, given, taken)
                code = compile_code(tree, self.function.__code__, self.function.__qualname__)
            found = self._evaluators[part] = code, given
        return found

    def activation(
        self, frame: Any, cells: dict[str, CellType], helpers: dict[str, CellType], code: CodeType | None = None
    ) -> Callable[..., Any]:
        """The emitted function, or another *code* of this playbook, with the cells of one activation."""
        code = self.code if code is None else code
        closure = []
        for name in code.co_freevars:
            cell = cells.get(name) or helpers.get(name)
            if cell is None:
                cell = CellType(frame) if name == ".f" else self._own_cell(name)
            closure.append(cell)
        return FunctionType(code, self.function.__globals__, self.function.__name__, None, tuple(closure))

    def _own_cell(self, name: str) -> CellType:
        """`__class__` of a method: the cell that the class statement filled."""
        index = self.function.__code__.co_freevars.index(name)
        closure = self.function.__closure__
        assert closure is not None
        return closure[index]


@contextlib.contextmanager
def deep_trees() -> Iterator[None]:
    """Room for walks over deep trees (a hundred `elif`s, long sums), which Python's own compiler takes without a word; and
    no collector: it would look again and again at a growing tree that is all in use (a third of the time)."""
    limit, collects = sys.getrecursionlimit(), gc.isenabled()
    sys.setrecursionlimit(max(limit, 10_000))
    gc.disable()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        if collects:
            gc.enable()


def playbook(function: Callable[_P, Coroutine[Any, Any, _R]]) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Make an `async def` a playbook: called inside an agent, it goes on in another process from its last await.

    Outside an agent it is the ordinary coroutine function. Raises `PlaybookRefused`, naming file, line and construct,
    for what cannot be resumed.
    """
    # A classmethod or staticmethod object below @playbook is "another decorator" too.
    made = Playbook(cast(FunctionType, function))

    @functools.wraps(function)
    def start(*args: Any, **kwargs: Any) -> Any:
        place = here.get()
        if place is None:
            return function(*args, **kwargs)
        return place.call(made, made.bind(*args, **kwargs))

    start.__playbook__ = made  # type: ignore[attr-defined]  # how playbook_of finds it
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(start)
    return cast("Callable[_P, Coroutine[Any, Any, _R]]", start)


def playbook_of(function: Callable[..., Any]) -> Playbook | None:
    """What the engine knows about a decorated function (or a method bound to it); None for any other."""
    if isinstance(function, types.MethodType):
        function = function.__func__
    if isinstance(function, staticmethod | classmethod):
        function = function.__func__
    found = getattr(function, "__playbook__", None)
    return found if isinstance(found, Playbook) else None


def playbooks_in(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The module-level playbooks that *module* itself defines, by qualified name (methods are not entries)."""
    found: dict[str, Callable[..., Any]] = {}
    for name, value in vars(module).items():
        made = playbook_of(value) if callable(value) else None
        if made is not None and made.function.__module__ == module.__name__ and made.function.__qualname__ == name:
            found[name] = value
    return found


def known_playbooks() -> list[Playbook]:
    """Every playbook that was decorated in this process; of those with one id, the newest."""
    return list(_known.values())


def find_playbook(playbook_id: str) -> Playbook:
    """The playbook of this id in the modules loaded here. Raises `CodeChanged` when there is none.

    Where its name stands for something else (what a decorator has made of it, a private name), the one that the loaded
    module has defined."""
    module, _, qualname = playbook_id.partition(":")
    loaded = sys.modules.get(module)
    value: Any = loaded
    for part in qualname.split("."):
        value = None if value is None else inspect.getattr_static(value, part, None)
    made = None if value is None else playbook_of(value)
    if made is None or made.id != playbook_id:
        made = _known.get(playbook_id)
    if made is None or loaded is None or made.function.__globals__ is not vars(loaded):
        raise CodeChanged(f"playbook {playbook_id} is not in the program any more; deploy a build that has it")
    return made


def binder(function: FunctionType, parameters: tuple[str, ...]) -> Callable[..., tuple[Any, ...]]:
    """A function of the same signature that answers its bound arguments: Python itself binds and complains."""
    code = function.__code__
    count, keyword_only = code.co_argcount, code.co_kwonlyargcount
    flags = code.co_flags
    positional, rest = parameters[:count], list(parameters[count:])
    vararg = rest.pop(0) if flags & inspect.CO_VARARGS else None
    kwonly, rest = rest[:keyword_only], rest[keyword_only:]
    kwarg = rest.pop(0) if flags & inspect.CO_VARKEYWORDS else None
    split = code.co_posonlyargcount
    node = ast.parse("def f(): return ()").body[0]
    assert isinstance(node, ast.FunctionDef)
    node.args = ast.arguments(
        posonlyargs=[ast.arg(name) for name in positional[:split]],
        args=[ast.arg(name) for name in positional[split:]],
        vararg=None if vararg is None else ast.arg(vararg),
        kwonlyargs=[ast.arg(name) for name in kwonly],
        kw_defaults=[None for _ in kwonly],
        kwarg=None if kwarg is None else ast.arg(kwarg),
        defaults=[],
    )
    values: list[ast.expr] = [ast.Name(name, ast.Load()) for name in parameters]
    node.body = [ast.Return(ast.Tuple(values, ast.Load()))]
    module = ast.fix_missing_locations(ast.Module([node], []))
    ast.increment_lineno(module, code.co_firstlineno - 1)  # for tools that follow lines: that of the definition
    compiled = compile(module, code.co_filename, "exec")
    inner = next(constant for constant in compiled.co_consts if isinstance(constant, CodeType))
    inner = inner.replace(co_name=code.co_name, co_qualname=code.co_qualname)
    binder = FunctionType(inner, function.__globals__, code.co_name, function.__defaults__)
    binder.__kwdefaults__ = function.__kwdefaults__
    binder.__qualname__ = function.__qualname__
    return binder


__all__ = ["Playbook", "PlaybookRefused", "find_playbook", "playbook", "playbook_of", "playbooks_in"]
