"""One playbook explained: its sites, what each stands in and what is saved there, and its source as it was rewritten.

For people (`playbooksctl explain`). Reads what rewriting has left, and runs nothing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from playbooks_worker.engine.playbooks import Playbook, deep_trees
from playbooks_worker.engine.rewrite import Site, Temporaries
from playbooks_worker.engine.source import way_to

_WORDS = {
    "AsyncFor": "async for",
    "AsyncWith": "async with",
    "For": "for",
    "If": "if",
    "Match": "match",
    "Try": "try",
    "TryStar": "try",
    "While": "while",
    "With": "with",
}

_LEGEND = (
    (".f", "the frame"),
    (".pc", "the site to enter again; 0 when running on"),
    (".go", "runs a site, and comes back when its outcome is saved"),
    (".U", "a variable that was not bound"),
    (".seen", "lets `locals` and its like show the program's variables alone"),
)


@dataclass(frozen=True, slots=True)
class ExplainedSite:
    """``kind``: "await", "enter" or "leave" (of an `async with`). ``inside``: the statements around it, outermost first.
    ``kept``: what is saved there besides the variables; ``in_flight``: the same while its await is under way."""

    number: int
    line: int
    kind: str
    statement: str
    inside: tuple[str, ...]
    kept: tuple[str, ...]
    in_flight: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """``variables`` are saved at every site as far as they are bound; ``shared`` are those of them that nested functions
    share. ``source`` is the emitted function, with legal names for ours."""

    playbook: str
    filename: str
    line: int
    fingerprint: str
    variables: tuple[str, ...]
    shared: tuple[str, ...]
    sites: tuple[ExplainedSite, ...]
    source: str


def explained(made: Playbook) -> Explained:
    names = made.rewritten.names
    with deep_trees():
        tree, legal = _legal(made)
        text = ast.unparse(tree)
        legend = [f"# {legal.name(name)}: {meaning}" for name, meaning in _LEGEND if legal.name(name) in text]
        source = "\n".join([*legend, text])
        sites = tuple(_site(made, site, legal) for site in made.rewritten.sites)
    return Explained(
        made.id,
        made.filename,
        made.definition.node.lineno,
        made.fingerprint,
        (*names.plain, *names.cells),
        names.cells,
        sites,
        source,
    )


def _site(made: Playbook, site: Site, legal: _Legal) -> ExplainedSite:
    way = way_to(made.definition.node, site.within)
    hidden = [step for step in site.path if isinstance(step, str)]
    kind = "enter" if site.entering is not None else "await" if site.value else "leave"
    return ExplainedSite(
        site.number,
        site.line,
        kind,
        site.statement,
        tuple(
            f"{_WORDS[type(node).__name__]} (line {node.lineno})" for node in way[:-1] if type(node).__name__ in _WORDS
        ),
        tuple(legal.name(name) for name in dict.fromkeys([*hidden, *_saved(site.completed)])),
        tuple(legal.name(name) for name in dict.fromkeys([*hidden, *_saved(site.in_flight)])),
    )


def _saved(temporaries: Temporaries) -> list[str]:
    return sorted(temporaries.all_names())


def _legal(made: Playbook) -> tuple[ast.AST, _Legal]:
    """The emitted function, without the factory around it, under the playbook's own name."""
    tree = made.emitted()
    factory = tree.body[0]
    assert isinstance(factory, ast.FunctionDef)
    function = factory.body[-1]
    assert isinstance(function, ast.AsyncFunctionDef)
    function.name = made.definition.node.name
    legal = _Legal(tree)
    return legal.visit(function), legal


class _Legal(ast.NodeTransformer):
    """Spells our names, which no program can spell, so that they can be read: `.t1` is `_t1`, or `__t1` where the
    program has a `_t1` of its own."""

    def __init__(self, tree: ast.AST) -> None:
        words = {word for node in ast.walk(tree) for word in _words(node)}
        self._prefix = "_"
        while any(f"{self._prefix}{word[1:]}" in words for word in words if word.startswith(".")):
            self._prefix += "_"

    def name(self, name: str) -> str:
        return self._prefix + name[1:] if name.startswith(".") else name

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field, value in ast.iter_fields(node):
            if isinstance(value, str) and not isinstance(node, ast.Constant):
                setattr(node, field, self.name(value))
        return super().generic_visit(node)


def _words(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant):
        return []
    return [value for _, value in ast.iter_fields(node) if isinstance(value, str)]
