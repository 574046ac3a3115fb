"""Small words for building syntax trees, and the question that decides everything: does a node hold an await?

Names that begin with a dot are ours: no program can spell them. Used by the rewriter only.
"""

from __future__ import annotations

import ast
from typing import TypeVar

PC = ".pc"  # the site to re-enter, 0 when running on
FRAME = ".f"  # the activation's record (frames.Frame)
OPENING = ".opening"  # makes a manager for an exit stack (stacks.py)
SEEN = ".seen"  # what a playbook asks for its own variables with (seen.py)
UNBOUND = ".U"  # a local that was not bound
OWN = ".own."  # before the name of a variable that a comprehension binds for itself (preparing.py)

_Node = TypeVar("_Node", bound=ast.AST)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def mark_sites(node: ast.AST) -> bool:
    """Note on every node below *node* whether it holds a site of this function (`holds_site` reads it)."""
    if isinstance(node, _FUNCTIONS):
        found = _any(node.args)
        if not isinstance(node, ast.Lambda):
            outside = [*node.decorator_list, *([node.returns] if node.returns is not None else [])]
            found = any([mark_sites(child) for child in outside]) or found
    elif isinstance(node, ast.ClassDef):
        found = any([mark_sites(child) for child in (*node.decorator_list, *node.bases, *node.keywords)])
    else:
        found = _any(node)
        found |= isinstance(node, ast.Await | ast.AsyncWith | ast.AsyncFor)
        found |= isinstance(node, ast.comprehension) and bool(node.is_async)
    node.holds_site = found  # type: ignore[attr-defined]  # our own note on the tree
    return found


def _any(node: ast.AST) -> bool:
    found = False
    for child in children(node):
        found |= mark_sites(child)
    return found


def children(node: ast.AST) -> list[ast.AST]:
    """`ast.iter_child_nodes`, at a third of its cost."""
    known = node.__dict__
    found: list[ast.AST] = []
    for name in node._fields:
        value = known.get(name)
        if isinstance(value, list):
            found += [child for child in value if isinstance(child, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def copied(node: _Node) -> _Node:
    """A copy of *node* with all that is below it, notes included."""
    made = type(node).__new__(type(node))
    known = made.__dict__
    for name, value in node.__dict__.items():
        if isinstance(value, ast.AST):
            value = copied(value)
        elif isinstance(value, list):
            value = [copied(child) if isinstance(child, ast.AST) else child for child in value]
        known[name] = value
    return made


def holds_site(node: ast.AST | None) -> bool:
    return bool(getattr(node, "holds_site", False))


def load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def store(name: str) -> ast.Name:
    return ast.Name(name, ast.Store())


def assign(name: str, value: ast.expr) -> ast.Assign:
    return ast.Assign([store(name)], value)


def attribute(base: str, *path: str) -> ast.expr:
    value: ast.expr = load(base)
    for part in path:
        value = ast.Attribute(value, part, ast.Load())
    return value


def call(function: ast.expr | str, *args: ast.expr) -> ast.Call:
    return ast.Call(load(function) if isinstance(function, str) else function, list(args), [])


def const(value: object) -> ast.Constant:
    return ast.Constant(value)  # type: ignore[arg-type]  # ints and strings only


def running_on() -> ast.expr:
    return ast.UnaryOp(ast.Not(), load(PC))


def unbound_again(name: str) -> ast.stmt:
    """Unbind *name* when it was not bound at the checkpoint."""
    test = ast.Compare(load(name), [ast.Is()], [load(UNBOUND)])
    return ast.If(test, [ast.Delete([ast.Name(name, ast.Del())])], [])


def pc_at_most(site: int) -> ast.expr:
    return ast.Compare(load(PC), [ast.LtE()], [const(site)])


def pc_between(after: int, last: int) -> ast.expr:
    return ast.Compare(const(after), [ast.Lt(), ast.LtE()], [load(PC), const(last)])


def at(node: _Node, place: ast.AST) -> _Node:
    """Give *node* the line and column of *place*, so that tracebacks show the user's own source."""
    return ast.copy_location(node, place)
