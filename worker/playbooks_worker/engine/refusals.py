"""What no resume could bring back, refused at decoration by what the program calls, and where `@playbook` may stand."""

from __future__ import annotations

import ast
import asyncio
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.source import Definition

if TYPE_CHECKING:
    from playbooks_worker.engine.playbooks import Playbook

_ADVICE = "it runs a loop of its own, where no checkpoint reaches: await what it would run"
_REFUSED: dict[int, str] = {
    id(getattr(asyncio, name)): f"asyncio.{name}" for name in ("run", "run_coroutine_threadsafe", "Runner")
}
_MISSING = object()


def check(definition: Definition, function: FunctionType) -> None:
    """Raise `PlaybookRefused` for the first construct of *function* that cannot be resumed."""
    if inspect.isasyncgenfunction(function):
        raise definition.refuse(
            definition.node, f"asynchronous generator {function.__qualname__}", "return a list, or await each item"
        )
    decorators = definition.node.decorator_list
    own = [index for index, decorator in enumerate(decorators) if _resolves_to_playbook(decorator, function)]
    if own and own[-1] != len(decorators) - 1:
        below = decorators[own[-1] + 1]
        raise definition.refuse(
            below, f"@playbook on top of @{ast.unparse(below)}", "put @playbook directly above `async def`"
        )
    imported = _imported(definition.node)
    for statement in definition.node.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name | ast.Attribute):
                value = _resolve(node, function, imported)
                name = _REFUSED.get(id(value))
                if name is not None:
                    raise definition.refuse(node, f"{name} in a playbook", _ADVICE)


def check_name(definition: Definition, function: FunctionType, known: Playbook | None) -> None:
    """Raise `PlaybookRefused` when the program has another playbook of this name already: one of them could not be found
    again. A module that is loaded again, or that defines either the one or the other, has not."""
    if known is None or known.function.__globals__ is not function.__globals__:
        return
    line = known.definition.node.lineno
    if line != definition.node.lineno and known.definition.lines == definition.lines:
        advice = "give each a name of its own, by which an agent finds it again"
        raise definition.refuse(
            definition.node, f"playbook {function.__qualname__} is defined at line {line}, too", advice
        )


def _resolves_to_playbook(node: ast.expr, function: FunctionType) -> bool:
    value = _resolve(node, function)
    return getattr(value, "__name__", "") == "playbook" and getattr(value, "__module__", "").startswith(
        "playbooks_worker."
    )


def _imported(node: ast.AsyncFunctionDef) -> dict[str, Any]:
    """What names that the function imports from asyncio will stand for."""
    found: dict[str, Any] = {}
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            found.update({alias.asname or alias.name: asyncio for alias in child.names if alias.name == "asyncio"})
        elif isinstance(child, ast.ImportFrom) and child.module == "asyncio" and not child.level:
            found.update({a.asname or a.name: getattr(asyncio, a.name, _MISSING) for a in child.names})
    return found


def _resolve(node: ast.AST, function: FunctionType, imported: dict[str, Any] | None = None) -> Any:
    """The object that a global name or a module's attribute stands for at decoration, if that can be seen."""
    if isinstance(node, ast.Name):
        if imported and node.id in imported:
            return imported[node.id]
        if node.id in function.__code__.co_varnames:
            return _MISSING
        return function.__globals__.get(node.id, _MISSING)
    if isinstance(node, ast.Attribute):
        base = _resolve(node.value, function, imported)
        if inspect.ismodule(base):
            return vars(base).get(node.attr, _MISSING)
    return _MISSING
