"""Functions of program source by where they are defined, so that they are saved by definition and never as bytecode.

A function is named by module, qualified name and its number among equal names in source order; it is re-made from the
resuming interpreter's own compiled code: the emitted code for functions nested in a playbook, the module's otherwise.
Names are the same on every Python version: scopes that only some versions have are left out.
"""

from __future__ import annotations

import re
import sys
from types import CellType, CodeType, FunctionType
from typing import Any, TypeAlias

from playbooks_worker.engine import source
from playbooks_worker.engine.errors import CodeChanged
from playbooks_worker.engine.playbooks import Playbook, find_playbook

_COMPREHENSION = re.compile(r"<(?:listcomp|setcomp|dictcomp)>\.(?:<locals>\.)?")
_Index: TypeAlias = dict[str, list[CodeType]]
_indexes: dict[int, tuple[CodeType, _Index]] = {}


def home_of(function: FunctionType) -> str | None:
    """The module whose globals are the function's. (`__module__` may name that of a function which it wraps.)"""
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return name if module is not None and vars(module) is function.__globals__ else None


def definition_path(function: FunctionType) -> tuple[str, str, int] | None:
    """(module, qualified name, number) of *function*; None when its source is not known."""
    code = function.__code__
    home = home_of(function)
    if home is None or code.co_filename == "<string>":  # made by `exec`
        return None
    name = _common(code.co_qualname)
    root = _root(home, name, function)
    if root is None:
        return None
    for number, known in enumerate(_index(root).get(name, ())):
        if _position(known) == _position(code):
            return home, name, number
    return None


def made_again(module: str, name: str, number: int, cells: dict[str, CellType]) -> FunctionType:
    """The function of this path with these cells. Raises `CodeChanged` when it is not there any more."""
    namespace: Any = sys.modules.get(module)
    root = None if namespace is None else _root(module, name, None)
    codes = [] if root is None else _index(root).get(name, [])
    if number >= len(codes):
        raise CodeChanged(f"function {module}:{name} is not in the program any more; deploy a build that has it")
    code = codes[number]
    closure = tuple(cells[free] if free in cells else CellType() for free in code.co_freevars)
    return FunctionType(code, vars(namespace), code.co_name, None, closure)


def _root(module: str, name: str, function: FunctionType | None) -> CodeType | None:
    owner = name.partition(".<locals>")[0]
    try:
        made: Playbook = find_playbook(f"{module}:{owner}")
        return made.code
    except CodeChanged:
        return source.module_code(module, function)


def _common(qualname: str) -> str:
    return _COMPREHENSION.sub("", qualname)


def _index(root: CodeType) -> _Index:
    known = _indexes.get(id(root))
    if known is None:
        index: _Index = {}
        _collect(root, index)
        for codes in index.values():
            codes.sort(key=_position)
        known = _indexes[id(root)] = (root, index)
    return known[1]


def _collect(code: CodeType, index: _Index) -> None:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            index.setdefault(_common(constant.co_qualname), []).append(constant)
            _collect(constant, index)


def _position(code: CodeType) -> tuple[int, int, int]:
    """Where the code starts in its file; tells lambdas of one line apart."""
    spans = [
        (line, column)
        for line, _, column, end in code.co_positions()
        if line is not None and column is not None and end is not None and end > column
    ]
    line, column = min(spans, default=(code.co_firstlineno, 0))
    return code.co_firstlineno, line, column
