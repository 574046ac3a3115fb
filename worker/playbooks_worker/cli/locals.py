"""The call stack of an agent with the variables of each frame: the part of `show --locals` that loads a checkpoint.

It verifies the signature first, then unpickles, in the person's own process, which therefore needs the program. Nothing is
written and no statement of a playbook runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from playbooks_worker.cli.output import CommandError, Exit
from playbooks_worker.cli.views import Record

if TYPE_CHECKING:
    from rich.text import Text

    from playbooks_providers.model import AgentView
    from playbooks_worker.cli.connect import AnyHome

_ITEMS, _LETTERS, _LEVELS = 20, 400, 5


async def frames(home: AnyHome, view: AgentView, program: str | None) -> list[Record]:
    """The frames, outermost first: each with ``locals``, text by name. Raises `CommandError`."""
    from playbooks_providers.model import FINAL
    from playbooks_worker.cli.connect import signing
    from playbooks_worker.host.opening import open_checkpoint

    if view.status in FINAL:
        raise CommandError(f"agent {view.agent} is {view.status}: it has no variables any more", facts=_facts(view))
    if view.last is None:
        raise CommandError(f"agent {view.agent} has no checkpoint yet", facts=_facts(view))
    opened = await open_checkpoint(home.checkpoints, signing(home), view.agent, view.last)
    _load_program(view, program)
    from playbooks_worker.engine import EngineError
    from playbooks_worker.engine.looking import look

    try:
        seen = look(view.agent, opened.payload)
    except EngineError as error:
        raise CommandError(
            f"agent {view.agent}: {error}",
            Exit.SET_ASIDE,
            hint="Name the source that wrote it: --program FILE",
            kind=type(error).__name__,
            facts=_facts(view),
        ) from error
    return [
        {
            "playbook": frame.playbook,
            "line": frame.line,
            "statement": frame.statement,
            "depth": frame.depth,
            "locals": {name: text(value) for name, value in frame.variables.items()},
            "completed": None if frame.outcome is None else text(frame.outcome[1]),
        }
        for frame in seen
    ]


def _load_program(view: AgentView, program: str | None) -> None:
    from playbooks_worker.host.programs import ProgramError, load_module

    try:
        module = load_module(program or view.start.program)
    except ProgramError as error:
        hint = "" if program else "--locals loads the program: name it with --program FILE"
        raise CommandError(str(error), hint=hint, kind="ProgramError", facts=_facts(view)) from error
    if module.__name__ != view.start.program:
        raise CommandError(
            f"agent {view.agent} runs {view.start.program}, and {program} is {module.__name__}", facts=_facts(view)
        )


def _facts(view: AgentView) -> Record:
    return {"agent_id": view.agent, "status": view.status.value}


def text(value: Any) -> str:
    """A value for people, bounded. What fails to tell of itself is named by its type."""
    from rich.pretty import pretty_repr

    try:
        return pretty_repr(value, max_width=72, max_length=_ITEMS, max_string=_LETTERS, max_depth=_LEVELS)
    except Exception as error:
        return f"<{type(value).__qualname__} that cannot be shown: {type(error).__name__}>"


def lines(told: list[Record]) -> Text:
    """The frames for people, indented by depth."""
    from rich.text import Text

    shown = Text()
    for number, frame in enumerate(told):
        indent = "  " * frame["depth"]
        shown.append("\n" * bool(number) + f"{indent}{frame['playbook']} line {frame['line']}\n", style="bold")
        shown.append(f"{indent}    {frame['statement']}\n", style="dim")
        for name, value in frame["locals"].items():
            _pair(shown, f"{indent}    ", name, value)
        if frame["completed"] is not None:
            _pair(shown, f"{indent}    ", "(its await came to)", frame["completed"])
    shown.rstrip()
    return shown


def _pair(shown: Text, indent: str, name: str, value: str) -> None:
    first, *rest = value.split("\n")
    shown.append(f"{indent}{name}", style="cyan")
    shown.append(f" = {first}\n")
    for line in rest:
        shown.append(f"{indent}{line}\n")
