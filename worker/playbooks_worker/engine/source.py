"""The text of a program as its loader executed it: finds a playbook's definition, tells where it stands, fingerprints it.

Called at decoration. Functions are found by line in a module that is parsed whole, once; what does not match its code
object is an error rather than a guess (DESIGN 3.5). Knows nothing of rewriting.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import linecache
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import CodeType, FunctionType
from typing import Any

from playbooks_worker.engine.errors import PlaybookRefused

_LINE = re.compile(r"\r\n|\r|\n")  # str.splitlines knows more ends of lines than Python's grammar


@dataclass(frozen=True, slots=True)
class Definition:
    """One playbook's place in its module. ``cls`` is the enclosing class's name (for private names), or None;
    ``shared`` are the names it takes from around it: ``__class__``, type parameters."""

    node: ast.AsyncFunctionDef
    filename: str
    lines: tuple[str, ...]
    cls: str | None
    shared: tuple[str, ...] = ()

    def own_lines(self) -> tuple[str, ...]:
        return self.lines[self.node.lineno - 1 : self.node.end_lineno]

    def refuse(self, node: ast.AST, construct: str, advice: str) -> PlaybookRefused:
        return PlaybookRefused(self.filename, getattr(node, "lineno", self.node.lineno), construct, advice)


@dataclass(frozen=True, slots=True)
class _Module:
    text: str
    lines: tuple[str, ...]
    by_line: dict[int, tuple[ast.AST, tuple[ast.AST, ...]]]
    code: CodeType | None


_modules: dict[str, _Module] = {}


def definition_of(function: Callable[..., Any]) -> Definition:
    """The definition of *function*. Raises `PlaybookRefused` when it has none that can be rewritten."""
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        raise PlaybookRefused(
            getattr(sys.modules.get(getattr(function, "__module__", "")), "__file__", "?") or "?",
            getattr(getattr(function, "__code__", None), "co_firstlineno", 0),
            f"@playbook on top of another decorator ({getattr(function, '__qualname__', function)!s})",
            "put @playbook directly above `async def`, other decorators above it",
        )
    code = function.__code__
    module = _module(function)
    found = module.by_line.get(code.co_firstlineno)
    if found is None or getattr(found[0], "name", None) != code.co_name:
        raise PlaybookRefused(
            code.co_filename,
            code.co_firstlineno,
            f"source of {function.__qualname__} not found",
            "the file changed after it was imported, or the function was made by exec; import it from a file again",
        )
    node, parents = found
    if isinstance(node, ast.FunctionDef):
        raise PlaybookRefused(code.co_filename, node.lineno, f"def {node.name}", "a playbook is an `async def`")
    assert isinstance(node, ast.AsyncFunctionDef)
    for parent in parents:
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
            raise PlaybookRefused(
                code.co_filename,
                node.lineno,
                f"nested playbook {function.__qualname__}",
                "move it to module level (or to a class there): a nested function cannot be found again by name",
            )
    classes = [parent.name for parent in parents if isinstance(parent, ast.ClassDef)]
    _check_same(function, node, module)
    return Definition(node, code.co_filename, module.lines, classes[-1] if classes else None, code.co_freevars)


def statement_text(lines: tuple[str, ...], node: ast.AST, *, limit: int = 160) -> str:
    """The source of a statement as one line: its first line, with the rest of a multi-line one folded in."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        last = max(first, body[0].lineno - 1)
    text = " ".join(line.strip() for line in lines[first - 1 : last] if not line.strip().startswith("#"))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fingerprint(node: ast.AsyncFunctionDef) -> str:
    """16 hex digits of what *node* means: equal on every Python version, blind to comments, layout, docstrings and
    decorators; parameters and defaults count (DESIGN 3.5)."""
    digest = hashlib.sha256("".join(_shape(node, top=True)).encode())
    return digest.hexdigest()[:16]


_BLOCKS = frozenset({"body", "orelse", "finalbody", "handlers", "cases"})


def shape_of_statement(node: ast.stmt | ast.ExceptHandler) -> str:
    """What one statement means by itself, in the same terms: of a compound one, its header alone."""
    fields = (name for name in node._fields if name not in _BLOCKS and name not in _SILENT)
    return "".join([type(node).__name__, *(part for name in fields for part in _shape(getattr(node, name, None)))])


def way_to(node: ast.AST, within: tuple[int, int]) -> list[ast.stmt | ast.ExceptHandler]:
    """The statements around the one that begins at *within* (line, column), outermost first, and that one last: or the
    `except` whose expression it is."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler) and (child.lineno, child.col_offset) == within:
            return [child]
        inner = way_to(child, within)
        if inner:
            return [child, *inner] if isinstance(child, ast.stmt) else inner
    return []


# Fields that say nothing about meaning, or that not every Python version has.
_SILENT = frozenset({"ctx", "type_comment", "kind", "type_params", "type_ignores", "simple"})


def _shape(node: Any, *, top: bool = False) -> Iterator[str]:
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name in node._fields:
            value: Any = getattr(node, name, None)
            if name in _SILENT or value is None or value == []:
                continue
            if top and name == "decorator_list":
                continue
            if name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                value = _without_docstring(value)
            if name == "values" and isinstance(node, ast.JoinedStr):
                value = _merged(value)
            yield f" {name}="
            yield from _shape(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _shape(item)
            yield ","
        yield "]"
    else:
        yield f"{type(node).__name__}:{node!r}"


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        if isinstance(body[0].value.value, str):
            return body[1:]
    return body


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Neighbouring literal parts of an f-string as one: Python versions split them differently."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(str(last.value) + str(value.value))
        else:
            merged.append(value)
    return [value for value in merged if not (isinstance(value, ast.Constant) and value.value == "")]


def _module(function: FunctionType) -> _Module:
    name, filename = function.__module__, function.__code__.co_filename
    text = _text(name, filename, function)
    known = _modules.get(filename)
    if known is not None and known.text == text and known.by_line:
        return known
    tree = ast.parse(text, filename)
    by_line: dict[int, tuple[ast.AST, tuple[ast.AST, ...]]] = {}
    _index(tree, (), by_line)
    # Only the standard loader's code can be compared: others (test runners) rewrite what they load.
    plain = type(getattr(sys.modules.get(name), "__loader__", None)) is importlib.machinery.SourceFileLoader
    code = compile(text, filename, "exec", dont_inherit=True) if plain else None
    module = _Module(text, tuple(_LINE.split(text)), by_line, code)
    _modules[filename] = module
    return module


def _text(name: str, filename: str, function: FunctionType) -> str:
    loader = getattr(sys.modules.get(name), "__loader__", None)
    get_source = getattr(loader, "get_source", None)
    text: str | None = None
    if get_source is not None:
        try:
            text = get_source(name)
        except (ImportError, OSError):
            text = None
    if text is None and filename != "<string>":  # anybody's: Python 3.13 keeps the text of `python -c` under this name
        text = "".join(linecache.getlines(filename, function.__globals__))
    if not text:
        raise PlaybookRefused(
            filename, function.__code__.co_firstlineno, "no source", "a playbook needs its source: save it in a file"
        )
    return text


def _index(node: ast.AST, parents: tuple[ast.AST, ...], by_line: dict[int, Any]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
            by_line[first] = (child, parents)
        _index(child, (*parents, child), by_line)


def _check_same(function: FunctionType, node: ast.AsyncFunctionDef, module: _Module) -> None:
    code = function.__code__
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    same = len(names) == code.co_argcount and len(arguments.kwonlyargs) == code.co_kwonlyargcount
    if same and module.code is not None:
        twin = _find_code(module.code, code)
        same = twin is not None and _says(twin) == _says(code)
    if not same:
        raise PlaybookRefused(
            code.co_filename,
            node.lineno,
            f"source of {function.__qualname__} does not match its code",
            "the file changed after it was imported; start the process again",
        )


def _says(code: CodeType) -> tuple[Any, ...]:
    constants = [_says(item) if isinstance(item, CodeType) else (type(item), item) for item in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, constants


def _find_code(code: CodeType, wanted: CodeType) -> CodeType | None:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_firstlineno == wanted.co_firstlineno and constant.co_name == wanted.co_name:
                return constant
            found = _find_code(constant, wanted)
            if found is not None:
                return found
    return None


def module_code(name: str, function: FunctionType | None = None) -> CodeType | None:
    """The compiled source of a loaded module, for functions that are saved by their definition."""
    module = sys.modules.get(name)
    filename = getattr(module, "__file__", None) if function is None else function.__code__.co_filename
    if module is None or filename is None:
        return None
    known = _modules.get(filename)
    if known is not None and known.code is not None:
        return known.code
    loader = getattr(module, "__loader__", None)
    get_source = getattr(loader, "get_source", None)
    text = known.text if known is not None else get_source(name) if get_source is not None else None
    if text is None:
        return None
    code = compile(text, filename, "exec", dont_inherit=True)
    if known is not None:
        _modules[filename] = replace(known, code=code)
    else:
        _modules[filename] = _Module(text, tuple(_LINE.split(text)), {}, code)
    return code
