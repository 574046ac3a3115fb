"""What a command prints and how it exits: answers on stdout, errors on stderr with what to do next, one exit code table.

Every command runs its body inside ``with Output(json) as out``. With ``--json`` the last line of stdout is one JSON
value, whatever happened, and everything said on the way goes to stderr. Errors reach people here and nowhere else.
It knows nothing of Redis, agents' states or the engine beyond the words of a status.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Exit(IntEnum):
    """The exit codes of `playbooksctl`; scripts rely on them."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    SET_ASIDE = 3  # blocked, quarantined, cancelled, or Redis cannot be reached
    TIMED_OUT = 124
    INTERRUPTED = 130


_EXIT_OF_STATUS = {
    "completed": Exit.COMPLETED,
    "failed": Exit.FAILED,
    "blocked": Exit.SET_ASIDE,
    "quarantined": Exit.SET_ASIDE,
    "cancelled": Exit.SET_ASIDE,
}


def exit_of(status: str) -> Exit | None:
    """The exit code that the end of an agent means; None while it has not ended and nobody set it aside."""
    return _EXIT_OF_STATUS.get(status)


class CommandError(Exception):
    """A command cannot do what was asked. *message* says why, *hint* what to do next: one line together.

    With ``--json``: *facts* and ``error`` with the type *kind* and the message *detail* (else that line).
    """

    def __init__(
        self,
        message: str,
        code: Exit = Exit.USAGE,
        *,
        hint: str = "",
        kind: str = "",
        detail: str | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        line = f"{message.rstrip('.')}. {hint}" if hint else message
        super().__init__(line)
        self.code = code
        self.error = {"type": kind or _KINDS.get(code, "Error"), "message": line if detail is None else detail}
        self.facts = dict(facts or {})


_SHORT = 12  # cells of a word
_KINDS = {Exit.USAGE: "UsageError", Exit.TIMED_OUT: "TimeoutError", Exit.INTERRUPTED: "Interrupted"}


# Scripts read these keys whatever happened.
NOTHING_KNOWN = {"agent_id": None, "status": None, "checkpoint": None}


class Output:
    """The two streams of one command. Colour and live progress only where a person looks at a terminal."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    # --- while the command runs --------------------------------------------------------------------------------
    def say(self, *lines: str) -> None:
        """Part of the answer: on stdout, unless ``--json`` keeps stdout for the JSON line."""
        print(*lines, sep="\n", file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def note(self, *lines: str) -> None:
        """Beside the answer (warnings, what is being waited for): on stderr. Nothing to say: not even an empty line."""
        if lines:
            print(*lines, sep="\n", file=sys.stderr, flush=True)

    def json(self, value: object) -> None:
        print(json.dumps(value, ensure_ascii=False, default=str), flush=True)

    def show(self, table: RenderableType) -> None:
        """On a terminal as wide as it is; in a pipe never wrapped, without colour, without blanks at the end."""
        from rich.console import Console

        if sys.stdout.isatty():
            console = Console(highlight=False)
            console.width = max(console.width, _least_width(table))
            console.print(table, crop=False)
            return
        console = Console(highlight=False, width=10_000, color_system=None)
        with console.capture() as printed:
            console.print(table)
        self.say(*(line.rstrip() for line in printed.get().splitlines()))

    def live_console(self) -> Console | None:
        """A rich console on stderr for progress; None when nobody watches."""
        if self.as_json or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return None
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    # --- the end -----------------------------------------------------------------------------------------------
    def finish(self, code: Exit) -> NoReturn:
        """End the command with *code* (what it prints has been printed)."""
        raise typer.Exit(int(code))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, typer.Exit):
            return
        known = error if isinstance(error, CommandError) else _known(error)
        if known is None:
            return
        print(f"error: {known}", file=sys.stderr, flush=True)
        if self.as_json:
            self.json({**NOTHING_KNOWN, **known.facts, "error": known.error})
        raise typer.Exit(int(known.code)) from error


def _least_width(table: RenderableType) -> int:
    """Of a table whose ids, in the first column, are not folded, so that they can be copied; nor are short words. On a
    narrower terminal the lines go on below."""
    from rich.cells import cell_len
    from rich.table import Table

    if not isinstance(table, Table):
        return 0
    for number, column in enumerate(table.columns):
        widest = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
        column.min_width = widest if number == 0 else min(widest, _SHORT)
    return sum((column.min_width or 0) + sum(table.padding[1::2]) for column in table.columns)


def _known(error: BaseException) -> CommandError | None:
    """Errors of the layers below that are a person's to solve, as one line; None: a bug of ours, with its traceback."""
    if isinstance(error, KeyboardInterrupt):
        return CommandError("interrupted", Exit.INTERRUPTED)
    from playbooks_providers import errors

    if not isinstance(error, errors.ProviderError):
        return _about_program(error)
    name = type(error).__name__
    agent = getattr(error, "agent", None)
    facts: dict[str, Any] = {"agent_id": agent} if agent else {}
    match error:
        case errors.Unreachable():
            hint = (
                "Start it, or name another one with --redis-url or PLAYBOOKS_REDIS__URL; "
                "`playbooksctl dev PROGRAM` starts one here"
            )
            return CommandError(str(error), Exit.SET_ASIDE, kind=name, hint=hint)
        case errors.StorageFull():
            hint = "Nothing is lost: try again then"
            return CommandError(str(error), Exit.SET_ASIDE, kind=name, hint=hint, facts=facts)
        case errors.UnknownAgent():
            return no_such_agent(error.agent)
        case errors.BadCheckpoint():
            return CommandError(str(error), Exit.SET_ASIDE, kind=name, facts={**facts, "status": "blocked"})
        case _:
            return CommandError(str(error), Exit.USAGE, kind=name, facts=facts)


def no_such_agent(agent: str, there: str = "") -> CommandError:
    """*there*: the option that says where it was looked for."""
    hint = f"See which are: playbooksctl list{there}"
    return CommandError(f"no agent {agent} here", kind="UnknownAgent", hint=hint, facts={"agent_id": agent})


def _about_program(error: BaseException) -> CommandError | None:
    from playbooks_worker.host.signatures import ArgumentsError

    # Loaded if it was raised; and not loaded for this question, since it brings the engine along.
    programs = sys.modules.get("playbooks_worker.host.programs")
    if isinstance(error, ArgumentsError) or (programs is not None and isinstance(error, programs.ProgramError)):
        return CommandError(str(error), Exit.USAGE, kind=type(error).__name__)
    return None
