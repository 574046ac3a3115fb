"""`match` around sites: a native `match` decides which case it is, `if`s over that choice hold what awaits.

Called by statements.py, through its table. Patterns stay Python's own, so captures, classes and mappings mean what they
mean; none is tried again after a resume. A guard that awaits ends its `match`: the cases after it are tried by another one,
on the subject that is kept, when the guard has said no.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from playbooks_worker.engine import syntax as s

if TYPE_CHECKING:
    from playbooks_worker.engine.statements import Statements

_UNDECIDED = 0
_DONE = -1  # the case had no await, and has run inside the native `match`


def lower_match(b: Statements, node: ast.Match) -> None:
    cases = node.cases
    subject = b.lower(node.subject)
    choice = b.temp()
    kept = b.temp() if any(s.holds_site(case.guard) for case in cases[:-1]) else None
    if kept is not None:  # captures may rebind the name that it came from
        b.into(kept, subject)
    b.into(choice, s.const(_UNDECIDED))

    def chosen(number: int) -> ast.expr:
        return ast.Compare(b.again(choice), [ast.Eq()], [s.const(number)])

    def choose(number: int) -> ast.stmt:
        return ast.Assign([b.store(choice)], s.const(number))

    def tried_from(first: int) -> None:
        """One native `match` over the cases up to the first guard that awaits, and what follows from it."""
        last = next((n for n in range(first, len(cases)) if s.holds_site(cases[n].guard)), len(cases) - 1)
        more = last + 1 < len(cases)
        tried: list[ast.match_case] = []
        for number in range(first, last + 1):
            case = cases[number]
            awaiting = s.holds_site(case.guard)
            body = (
                [choose(number + 1)] if awaiting or _holds(case) else [*([choose(_DONE)] if more else []), *case.body]
            )
            tried.append(ast.match_case(case.pattern, None if awaiting else case.guard, body))
        b.plain(ast.Match(subject if kept is None else b.again(kept), tried))
        guard = cases[last].guard
        if guard is not None and s.holds_site(guard):
            b.branch(chosen(last + 1), lambda: guarded(guard), lambda: None)
        if more:
            b.branch(chosen(_UNDECIDED), lambda: tried_from(last + 1), lambda: None)

    def guarded(guard: ast.expr) -> None:
        place, b.place = b.place, guard
        b.plain(ast.If(ast.UnaryOp(ast.Not(), b.lower(guard)), [choose(_UNDECIDED)], []))
        b.place = place

    def ran(left: list[int]) -> None:
        if left:
            number, *others = left
            place, b.place = b.place, cases[number].pattern
            b.branch(chosen(number + 1), lambda: b.statements(cases[number].body), lambda: ran(others))
            b.place = place

    tried_from(0)
    ran([number for number, case in enumerate(cases) if s.holds_site(case.guard) or _holds(case)])


def _holds(case: ast.match_case) -> bool:
    return any(s.holds_site(statement) for statement in case.body)
