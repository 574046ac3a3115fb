"""The state of one rewriting: temporaries, sites, what encloses the place being written, and guards of blocks.

`expressions.Expressions` and `statements.Statements` build on it. The output of a block is a list of *items*, plain
statements and statements that hold sites; `Builder.block` puts the guards around them that make re-entry skip what was
done (DESIGN 3.2, "Emit").
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from playbooks_worker.engine import syntax as s
from playbooks_worker.engine.completions import Completions
from playbooks_worker.engine.names import Names
from playbooks_worker.engine.source import Definition, statement_text


@dataclass(slots=True)
class SiteDraft:
    """One hoisted await while the function is being rewritten; `sites.Site` is what remains of it."""

    number: int
    node: ast.AST
    statement: str
    path: tuple[str | int, ...]
    spot: int
    value: str
    entering: int | None = None
    revive: list[tuple[str, int, ast.expr, bool]] = field(default_factory=list)
    within: tuple[int, int] = (0, 0)  # where the statement begins
    back: ast.Tuple | None = None  # the names that come back when it is entered again


@dataclass(slots=True)
class HeaderDraft:
    """One `with` header: its manager, the temporaries that it is made of, and what makes those."""

    number: int
    manager: ast.expr
    names: tuple[str, ...]
    revivable: list[tuple[str, int, ast.expr, bool]]
    path: tuple[str | int, ...]
    line: int


@dataclass(slots=True)
class Item:
    """A part of a block, made for *statement*. ``last_site``: of those that it holds, if any. ``skips``: entered with a
    later site, it does nothing by itself. ``way``: a site's `if` over whether it is entered again."""

    statements: list[ast.stmt]
    last_site: int | None
    statement: ast.AST
    skips: bool = False
    way: ast.If | None = None


class Builder:
    """Allocates temporaries and sites, collects items."""

    def __init__(self, definition: Definition, names: Names) -> None:
        self.definition = definition
        self.names = names
        self.plain_names = frozenset(names.plain)
        self.sites: list[SiteDraft] = []
        self.headers: list[HeaderDraft] = []
        self.hidden: list[str] = []  # variables of unrolled comprehensions
        self.path: list[str | int] = []
        self.completions = Completions()
        self.spot = 0
        self.spots = 1
        self.temps = 0
        self.noted: list[str] = []  # names of notes (remaking.py)
        self.made: list[ast.Name] = []  # every temporary, in order
        self.place: ast.AST = definition.node
        self.statement: ast.AST = definition.node
        # temporaries of the current statement that can be evaluated again: (name, virtual, expression, is a load)
        self.revivable: list[tuple[str, int, ast.expr, bool]] = []
        self.has_walrus = any(":=" in line for line in definition.own_lines())
        self.walrus: frozenset[str] = frozenset()  # names that the current statement may rebind on its way
        self.in_header = False  # temporaries of a `with` header live as long as its block
        self._level = 0
        self._virtual = 0
        self._items: list[Item] = []
        self._unique = 0

    # --- temporaries --------------------------------------------------------------------------------------------
    def temp(self) -> ast.Name:
        """A temporary of the current statement. Its physical name is used again by later statements; ``virtual``
        tells the lives apart (liveness.py)."""
        self._virtual += 1
        if self.in_header:
            name = self.unique("h")
        else:
            self._level += 1
            self.temps = max(self.temps, self._level)
            name = f".t{self._level}"
        self.made.append(self._name(name, self._virtual, ast.Load()))
        return self.made[-1]

    def notes(self) -> ast.Name:
        """A temporary for notes (remaking.py), numbered apart: checkpoints without them keep their names."""
        if self.in_header:
            return self.temp()
        self._virtual += 1
        self.noted.append(f".tn{len(self.noted) + 1}")
        self.made.append(self._name(self.noted[-1], self._virtual, ast.Load()))
        return self.made[-1]

    def _name(self, name: str, virtual: int, ctx: ast.expr_context) -> ast.Name:
        node = ast.Name(name, ctx)
        node.virtual = virtual  # type: ignore[attr-defined]  # read by liveness.py
        return s.at(node, self.place)

    def store(self, temp: ast.Name) -> ast.Name:
        return self._name(temp.id, virtual_of(temp), ast.Store())

    def again(self, temp: ast.Name) -> ast.Name:
        """Another read of the same temporary."""
        return self._name(temp.id, virtual_of(temp), ast.Load())

    def into(self, temp: ast.Name, value: ast.expr) -> Item:
        return self.plain(ast.Assign([self.store(temp)], value))

    def unique(self, kind: str) -> str:
        """A name that lives across statements: an iterator, a handled exception, a header's temporary."""
        self._unique += 1
        return f".{kind}{self._unique}"

    # --- items --------------------------------------------------------------------------------------------------
    def plain(self, statement: ast.stmt) -> Item:
        noted = self.completions.noted(s.at(statement, self.place))
        self._items.append(Item(noted, None, self.statement))
        return self._items[-1]

    def sited(self, statements: Iterable[ast.stmt], *, skips: bool = False, way: ast.If | None = None) -> None:
        """Statements that hold the sites numbered last so far."""
        placed = [s.at(statement, self.place) for statement in statements]
        self._items.append(Item(placed, len(self.sites), self.statement, skips, way))

    def taken_back(self) -> list[ast.stmt]:
        """Takes what the current statement has done since its last site: the site that follows does it."""
        items = self._items
        start = len(items)
        while start and items[start - 1].last_site is None and items[start - 1].statement is self.statement:
            start -= 1
        taken = [statement for item in items[start:] for statement in item.statements]
        del items[start:]
        return taken

    def written(self, write: Callable[[], None]) -> tuple[list[ast.stmt], int]:
        """The guarded statements that *write* makes, and the number of the last site up to their end."""
        outer, self._items = self._items, []
        try:
            write()
            return self._guarded(self._items), len(self.sites)
        finally:
            self._items = outer

    def _guarded(self, items: list[Item]) -> list[ast.stmt]:
        sited = [index for index, item in enumerate(items) if item.last_site is not None]
        last = sited[-1] if sited else -1
        output: list[ast.stmt] = []
        run: list[ast.stmt] | None = None  # where plain statements are done and passed over together
        guard: ast.If | None = None
        for index, item in enumerate(items):
            if item.last_site is None:
                if index > last:
                    output.extend(item.statements)
                elif run is not None:
                    run.extend(item.statements)
                else:
                    run = list(item.statements)
                    guard = s.at(ast.If(s.running_on(), run, []), run[0])
                    output.append(guard)
                continue
            if item.way is not None and guard is not None and guard is output[-1]:
                item.way.orelse[:0] = guard.body
                item.way.test = s.at(s.load(s.PC), guard)  # who steps through lines comes to these first
                s.at(item.way, guard)
                output.pop()
            if index == last or item.skips:
                output.extend(item.statements)
                run = None
            else:
                run = item.statements  # behind a site the emitted code runs on
                output.append(s.at(ast.If(s.pc_at_most(item.last_site), run, []), run[0]))
        return output

    # --- statements -----------------------------------------------------------------------------------------------
    def begin(
        self, statement: ast.stmt
    ) -> tuple[ast.AST, ast.AST, list[tuple[str, int, ast.expr, bool]], frozenset[str], int]:
        """Enter a statement: its temporaries end with it (`end`)."""
        outer = (self.place, self.statement, self.revivable, self.walrus, self._level)
        self.place = self.statement = statement
        self.revivable = []
        if self.has_walrus:
            self.walrus = frozenset(
                child.target.id for child in ast.walk(statement) if isinstance(child, ast.NamedExpr)
            )
        return outer

    def end(
        self,
        outer: tuple[ast.AST, ast.AST, list[tuple[str, int, ast.expr, bool]], frozenset[str], int],
    ) -> None:
        self.place, self.statement, self.revivable, self.walrus, self._level = outer

    # --- sites ------------------------------------------------------------------------------------------------------
    def new_site(self, node: ast.AST, value: str = "", entering: int | None = None) -> SiteDraft:
        text = statement_text(self.definition.lines, self.statement)
        site = SiteDraft(
            len(self.sites) + 1, node, text, tuple(self.path), self.spot, value, entering, list(self.revivable)
        )
        site.within = (getattr(self.statement, "lineno", 0), getattr(self.statement, "col_offset", 0))
        self.sites.append(site)
        return site


def virtual_of(node: ast.Name) -> int:
    return int(getattr(node, "virtual", 0))
