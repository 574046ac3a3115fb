"""Reads what a person typed as PROGRAM[:PLAYBOOK], --entry, --args and an agent id. No I/O, nothing imported."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playbooks_worker.cli.output import CommandError

if TYPE_CHECKING:
    from playbooks_providers.model import Choice

DEFAULT_ENTRY = "main"
_ENTRY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Target:
    """A program (file or module) and the playbook named in it, if one was."""

    program: str
    named: str | None

    @property
    def entry(self) -> str:
        return self.named or DEFAULT_ENTRY


def target(text: str, entry: str | None = None) -> Target:
    """``audit.py:main`` and ``--entry main`` mean the same. Both, and different, is an error."""
    program, colon, named = text.rpartition(":")
    if not colon or "/" in named:
        program, named = text, ""
    elif not named:
        raise CommandError(f"{text!r} names no playbook after the colon: write PROGRAM or PROGRAM:PLAYBOOK")
    if not program:
        raise CommandError(f"{text!r} names no program: write PROGRAM or PROGRAM:PLAYBOOK")
    if named and entry and named != entry:
        raise CommandError(f"two entries named: {text!r} says {named!r}, --entry says {entry!r}; give one of them")
    chosen = named or entry
    if chosen is not None and not _ENTRY.fullmatch(chosen):
        raise CommandError(f"{chosen!r} is not the name of a playbook: write a function, or Class.method")
    return Target(program, chosen)


def choice(accept_changed: bool, restart: bool) -> Choice:
    """How an agent is to go on. Raises `CommandError` for both at once."""
    from playbooks_providers.model import Choice

    if accept_changed and restart:
        raise CommandError("--accept-changed goes on from the checkpoint, --restart from the start; give one of them")
    return Choice.ACCEPT_CHANGED if accept_changed else Choice.RESTART if restart else Choice.RESUME


def arguments(text: str | None) -> tuple[list[Any], dict[str, Any]]:
    """``--args``: a JSON object is keywords, a JSON array positional; nothing means no arguments."""
    if text is None:
        return [], {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CommandError(
            f'--args is not JSON ({error}); write an object for keywords, --args \'{{"topic": "tea"}}\', '
            "or an array for positions, --args '[\"tea\"]'"
        ) from error
    match value:
        case dict():
            return [], value
        case list():
            return value, {}
    raise CommandError(f"--args must be a JSON object (keywords) or array (positions), not {json.dumps(value)}")
