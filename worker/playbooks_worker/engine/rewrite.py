"""One playbook rewritten: the code of its resumable twin and what a checkpoint must know about its sites.

Called once for each playbook, at decoration (so that refusals come there); compiled at its first call. The emitted
function takes no parameters: arguments, cells and helpers reach it through its closure, so that each activation gets its
cells from the engine, new or restored (DESIGN 3.2, point 4).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from playbooks_worker.engine import emitting
from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.build import HeaderDraft, SiteDraft, virtual_of
from playbooks_worker.engine.liveness import live_temporaries
from playbooks_worker.engine.names import Names
from playbooks_worker.engine.preparing import prepared
from playbooks_worker.engine.source import Definition
from playbooks_worker.engine.statements import Statements

LOWERING = 2  # the version of this rewriting; a frame carries it, golden checkpoints hold every released one


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


class Part(NamedTuple):
    """A temporary, and what it is evaluated again as when it could not be saved."""

    name: str
    expression: ast.expr


@dataclass(frozen=True, slots=True)
class Site:
    """A hoisted await. ``path`` names what encloses it, outermost first: iterators and handled exceptions by name,
    open headers by number, what a `finally` or an exit follows by the name of its completion. ``value`` is the name of the
    awaitable, empty where a header is entered (``entering`` is its number) or left. ``again``: what it
    is made of, in order of evaluation. In the source, as (line, column):
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
    again: tuple[Part, ...] = field(compare=False)
    within: tuple[int, int]
    start: tuple[int, int]
    end: tuple[int, int]

    def holds(self, position: tuple[int, int]) -> bool:
        """Whether what stands at (line, column) in the source belongs to what it awaits."""
        return self.start <= position < self.end


@dataclass(frozen=True, slots=True)
class Header:
    """``names`` are its temporaries, its manager among them; ``again``: those that may be evaluated again, in order."""

    number: int
    line: int
    temporaries: Temporaries
    names: tuple[str, ...]
    again: tuple[Part, ...] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``restored`` is the order in which `Frame.restored` answers, for each place where locals are put back; ``saved`` are
    the names that are always saved."""

    names: Names
    sites: tuple[Site, ...]
    headers: tuple[Header, ...]
    restored: tuple[tuple[str, ...], ...]
    saved: tuple[str, ...]


def rewrite(definition: Definition) -> tuple[Rewritten, ast.Module]:
    """Rewrite one playbook; the module is what `compile_code` takes. Raises `PlaybookRefused` for what cannot be resumed."""
    node, names, unbound = prepared(definition)
    b = Statements(definition, names)
    body, _ = b.block(_without_docstring(node.body))
    function = emitting.function_of(node, names, body)
    live = live_temporaries(function)
    sites = tuple(_site(draft, live.get(draft.number, ()), b.headers) for draft in b.sites)
    needed: dict[int, set[str]] = {}
    for site in sites:
        needed.setdefault(site.spot, set()).update(site.completed.all_names(), site.in_flight.all_names())
    temporaries = (*(f".t{n}" for n in range(1, b.temps + 1)), *b.noted)
    restored = tuple(
        (*names.plain, *b.hidden, *(name for name in temporaries if name in needed.get(spot, ())))
        for spot in range(b.spots)
    )
    tree = emitting.finished(definition, function, names, restored, unbound)
    headers = tuple(map(_header, b.headers))
    return Rewritten(names, sites, headers, restored, (*names.plain, *b.hidden)), tree


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


def _header(draft: HeaderDraft) -> Header:
    again = tuple(Part(name, expression) for name, _, expression, _ in draft.revivable)
    return Header(draft.number, draft.line, _temporaries(_reads(draft.manager), draft.revivable), draft.names, again)


def _site(draft: SiteDraft, live: tuple[str, ...], headers: list[HeaderDraft]) -> Site:
    completed = _temporaries(live, draft.revive)
    if draft.entering is not None:
        header = headers[draft.entering - 1]
        in_flight = _temporaries((*live, *_reads(header.manager)), header.revivable)
    elif not draft.value:
        in_flight = _temporaries(live, [])
    else:
        in_flight = _temporaries((*live, draft.value), draft.revive)
    # what no one reads any more need not come back
    again = tuple(Part(name, expression) for name, _, expression, _ in draft.revive if name in in_flight.deps)
    if draft.back is not None:
        kept = {s.PC, *(part.name for part in again)}
        draft.back.elts = [name for name in draft.back.elts if isinstance(name, ast.Name) and name.id in kept]
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
        again,
        draft.within,
        (getattr(draft.node, "lineno", 0), getattr(draft.node, "col_offset", 0)),
        (getattr(draft.node, "end_lineno", 0), getattr(draft.node, "end_col_offset", 0)),
    )
