"""The source of each playbook as it is kept for later, under the fingerprint that checkpoints name.

Why: when a playbook was edited under an agent, a person wants to see what changed, and `--accept-changed` has to compare
the sites of then with those of now. It is kept once for each version of a playbook and not in checkpoints, which would pay
for it at every await. A text is believed only when its own fingerprint is the one asked for, so it needs no signature.
Called by whoever hosts programs (`kept_sources`) and by changes.py; knows no store.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass

from playbooks_worker.engine.errors import PlaybookRefused
from playbooks_worker.engine.playbooks import Playbook, deep_trees, known_playbooks
from playbooks_worker.engine.rewrite import Rewritten, rewrite
from playbooks_worker.engine.source import Definition, fingerprint

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a playbook: how it is written, and rewritten."""

    definition: Definition
    rewritten: Rewritten


def kept_sources() -> dict[str, str]:
    """The text to keep for every playbook of this process, by fingerprint."""
    return {made.fingerprint: kept_text(made) for made in known_playbooks()}


def kept_text(made: Playbook) -> str:
    """JSON: the lines of the definition as they stand in its file, and what rewriting must know of its surroundings."""
    definition = made.definition
    node = definition.node
    return json.dumps(
        {
            "format": FORMAT,
            "playbook": made.id,
            "class": definition.cls,
            "shared": definition.shared,
            "line": node.lineno,
            "source": "\n".join(definition.lines[node.lineno - 1 : node.end_lineno]),
        },
        separators=(",", ":"),
    )


def version_now(made: Playbook) -> Version:
    return Version(made.definition, made.rewritten)


def version_then(wanted: str, text: str | None) -> Version | None:
    """The version with this fingerprint from its kept text; None when that is missing, damaged or not it."""
    if text is None:
        return None
    try:
        kept = json.loads(text)
        line, source = int(kept["line"]), str(kept["source"])
        with deep_trees():
            node = _definition(source, line)
            if node is None or fingerprint(node) != wanted:
                return None
            lines = (*[""] * (line - 1), *source.split("\n"))
            definition = Definition(node, f"<{kept['playbook']}>", lines, kept["class"], tuple(kept["shared"]))
            return Version(definition, rewrite(definition)[0])
    except (ValueError, LookupError, TypeError, SyntaxError, PlaybookRefused):
        return None


def _definition(source: str, line: int) -> ast.AsyncFunctionDef | None:
    """Parsed where it stood: with its line numbers, and inside a block when it is indented."""
    indented = source[:1].isspace()
    before = "\n" * (line - 2) + "if 1:\n" if indented else "\n" * (line - 1)
    body: list[ast.stmt] = ast.parse(before + source).body
    if indented and isinstance(body[0], ast.If):
        body = body[0].body
    return body[0] if isinstance(body[0], ast.AsyncFunctionDef) else None
