"""What was edited under a saved agent: which playbooks of its stack, what of them, and whether their sites still line up.

Pure: compares the frames that an index names (restore.py) with the playbooks of this process and, where it is at hand, with
the source as it was (kept.py). Nothing of the agent is loaded for it.

The rule of `--accept-changed` (docs/decisions): a changed frame goes on in the new code when its site is the same await
there. The same number; the same statement and the same await within it; inside the same `for` and `with` headers; and all
that was saved for getting there (iterators, handled exceptions, headers' and the statement's temporaries, variables shared
with nested functions) has the same name. What comes after the site, other statements before it, conditions of `if` and
`while`, and types of handlers may differ.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from playbooks_worker.engine.errors import CodeChanged
from playbooks_worker.engine.kept import Version, version_now, version_then
from playbooks_worker.engine.playbooks import Playbook, find_playbook
from playbooks_worker.engine.rewrite import Site
from playbooks_worker.engine.source import shape_of_statement, way_to

_CONTEXT_LINES = 2
_SHOWN_LINES = 60


@dataclass(frozen=True, slots=True)
class SavedFrame:
    """What a checkpoint's index says of one frame."""

    playbook: str
    fingerprint: str
    lowering: int
    site: int
    completed: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A saved frame whose playbook is not what it was; ``now`` is None when it is gone."""

    frame: SavedFrame
    now: Playbook | None

    @property
    def edited(self) -> bool:
        return self.now is not None and self.now.fingerprint != self.frame.fingerprint

    def __str__(self) -> str:
        frame, now = self.frame, self.now
        if now is None:
            return f"playbook {frame.playbook} is not in the program any more"
        if not self.edited:
            return (
                f"playbook {frame.playbook} was rewritten by another version of the engine "
                f"(lowering {frame.lowering} then, {now.lowering} now)"
            )
        return f"playbook {frame.playbook} was edited since its checkpoint"


def changes_in(frames: Iterable[SavedFrame]) -> tuple[Change, ...]:
    """The frames that the playbooks of this process do not fit, outermost first."""
    found: list[Change] = []
    for frame in dict.fromkeys(frames):
        try:
            now = find_playbook(frame.playbook)
        except CodeChanged:
            found.append(Change(frame, None))
            continue
        if now.fingerprint != frame.fingerprint or now.lowering != frame.lowering:
            found.append(Change(frame, now))
    return tuple(found)


# --- for people ------------------------------------------------------------------------------------------------------


def place(change: Change, kept: str | None) -> str:
    """Where the frame stands, then and now: one line."""
    frame, now = change.frame, change.now
    then = version_then(frame.fingerprint, kept)
    told = f"{frame.playbook} stands at site {frame.site}"
    if then is not None:
        told += f", {_told(then.rewritten.sites[frame.site - 1])}"
    if now is None:
        return told
    sites = now.rewritten.sites
    if frame.site > len(sites):
        return f"{told}; it has only {len(sites)} sites now"
    is_now = _told(sites[frame.site - 1])
    return told if told.endswith(is_now) else f"{told}; now that is {is_now}"


def _told(site: Site) -> str:
    return f"line {site.line}: {site.statement}"


def diff(change: Change, kept: str | None) -> list[str]:
    """A unified diff of the statements then and now, without what does not count (comments, layout, docstrings,
    decorators). Empty when either is not there."""
    then = version_then(change.frame.fingerprint, kept)
    if then is None or change.now is None:
        return []
    lines = list(
        difflib.unified_diff(
            _statements(then.definition.node),
            _statements(change.now.definition.node),
            f"{change.frame.playbook} as it was saved",
            f"{change.frame.playbook} now, {change.now.filename}:{change.now.definition.node.lineno}",
            lineterm="",
            n=_CONTEXT_LINES,
        )
    )
    # the numbers of a hunk would be those of the statements, which are nobody's lines
    lines = ["@@" if line.startswith("@@") else line for line in lines]
    if len(lines) > _SHOWN_LINES:
        lines = [*lines[:_SHOWN_LINES], f"... {len(lines) - _SHOWN_LINES} more lines"]
    return lines


def _statements(node: ast.AsyncFunctionDef) -> list[str]:
    """One line for each statement, as Python itself would write it."""
    bare = ast.AsyncFunctionDef(
        **{name: getattr(node, name) for name in node._fields if name not in ("decorator_list", "body")},
        decorator_list=[],
        body=_without_docstrings(node.body),
    )
    return ast.unparse(ast.fix_missing_locations(bare)).split("\n")


def _without_docstrings(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:] or [ast.Pass()]
    return body


# --- the rule --------------------------------------------------------------------------------------------------------


def refusal(change: Change, kept: str | None) -> str | None:
    """Why the frame cannot go on in the new code; None when it can."""
    frame, now = change.frame, change.now
    name = f"playbook {frame.playbook}"
    if now is None or not change.edited:
        return str(change)
    if now.lowering != frame.lowering:
        return f"{name} was edited, and rewritten by another version of the engine"
    then = version_then(frame.fingerprint, kept)
    if then is None:
        return f"{name}: its source as it was is not kept here, so nobody can tell whether its sites still line up"
    why = _out_of_line(frame, then, version_now(now))
    return None if why is None else f"{name}: {why}"


def _out_of_line(frame: SavedFrame, then: Version, now: Version) -> str | None:
    number = frame.site
    before = then.rewritten.sites[number - 1]
    if number > len(now.rewritten.sites):
        return f"site {number} ({before.statement}) is gone: it has {len(now.rewritten.sites)} sites now"
    after = now.rewritten.sites[number - 1]
    if _identity(then, before) != _identity(now, after):
        return f"site {number} was `{before.statement}`, and is now `{after.statement}`"
    shared_before, shared_after = set(then.rewritten.names.cells), set(now.rewritten.names.cells)
    moved = (shared_before - shared_after) | (shared_after & set(then.rewritten.names.plain))
    if moved:
        names = ", ".join(sorted(moved))
        return f"nested functions share other variables with it than they did ({names})"
    if new := now.rewritten.names.always_bound - then.rewritten.names.always_bound:
        return f"it has parameters now that have no value ({', '.join(sorted(new))})"
    if before.path != after.path or _headers(then, before) != _headers(now, after):
        return f"site {number} (`{before.statement}`) stands inside other loops, handlers or `with` blocks than it did"
    if (before.value, before.entering) != (after.value, after.entering):
        return f"site {number} (`{before.statement}`) awaits something else"
    if (before.completed if frame.completed else before.in_flight) != (
        after.completed if frame.completed else after.in_flight
    ):
        return f"the values that `{before.statement}` needs again are other ones now"
    return None


def _identity(version: Version, site: Site) -> tuple[object, ...]:
    """What makes an await the same one: its statement, which await of it, and the headers on the way to it."""
    chain = way_to(version.definition.node, site.within)
    number = [other.number for other in version.rewritten.sites if other.within == site.within].index(site.number)
    headers = [shape_of_statement(node) for node in chain[:-1] if isinstance(node, _HEADERS)]
    return shape_of_statement(chain[-1]), number, tuple(headers)


_HEADERS = (ast.For, ast.AsyncFor, ast.With, ast.AsyncWith)


def _headers(version: Version, site: Site) -> list[object]:
    return [version.rewritten.headers[step - 1].temporaries for step in site.path if isinstance(step, int)]
