"""`playbooksctl explain`: the sites of a playbook, what is saved at each, and its source as it was rewritten."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.target import target
from playbooks_worker.cli.views import table_of

if TYPE_CHECKING:
    from playbooks_worker.engine.explain import Explained
    from playbooks_worker.engine.playbooks import Playbook


def explain(
    playbook: Annotated[
        str, typer.Argument(metavar="PROGRAM:NAME", help="Like audit.py:main, audit.py:Report.write or audit:main.")
    ],
    json: options.Json = False,
) -> None:
    """Explain a playbook: where it can be resumed, what is saved there, and what its source becomes."""
    with Output(json) as out:
        asked = target(playbook)
        from playbooks_worker.engine.explain import explained
        from playbooks_worker.host.programs import load_module

        found = _found(load_module(asked.program).__name__, asked.program, asked.named)
        if out.as_json:
            out.json(dataclasses.asdict(explained(found)))
        else:
            _print(out, explained(found))


def _found(module: str, program: str, name: str | None) -> Playbook:
    """The playbook of this name. Without one, the only one there is."""
    from playbooks_worker.engine.playbooks import known_playbooks

    there = {made.id.partition(":")[2]: made for made in known_playbooks() if made.id.startswith(f"{module}:")}
    if not there:
        raise CommandError(f"{program} has no playbook: decorate an `async def` with @playbook")
    if name is None and len(there) == 1:
        return next(iter(there.values()))
    if name in there:
        return there[name]
    names = ", ".join(there)
    if name is None:
        raise CommandError(f"which playbook of {program}? It has: {names}", hint=f"Write {program}:{next(iter(there))}")
    raise CommandError(f"{program} has no playbook {name!r}; it has: {names}")


def _print(out: Output, told: Explained) -> None:
    from rich.text import Text

    out.say(f"{told.playbook}  {told.filename}:{told.line}  fingerprint {told.fingerprint}")
    if told.variables:
        out.say(f"saved wherever it stands, as far as bound: {', '.join(told.variables)}")
    if told.shared:
        out.say(f"shared with nested functions: {', '.join(told.shared)}")
    out.say("")
    if not told.sites:
        out.say("no sites: it awaits nothing, and is resumed as a whole")
        return
    table = table_of(("SITE", "LINE", "STATEMENT", "INSIDE", "ALSO SAVED"), right=("SITE", "LINE"))
    for site in told.sites:
        doing = "" if site.kind == "await" else f"{site.kind}: "
        statement = Text.assemble((doing, "dim"), site.statement)
        table.add_row(
            str(site.number),
            str(site.line),
            statement,
            Text(", ".join(site.inside)),
            Text(_saved(site.kept, site.in_flight)),
        )
    out.show(table)
    out.say("")
    _source(out, told.source)


def _saved(kept: tuple[str, ...], in_flight: tuple[str, ...]) -> str:
    while_under_way = [name for name in in_flight if name not in kept]
    told = ", ".join(kept)
    if while_under_way:
        told += f"{'; ' if told else ''}under way: {', '.join(while_under_way)}"
    return told


def _source(out: Output, source: str) -> None:
    if not sys.stdout.isatty():
        out.say(source)
        return
    from rich.syntax import Syntax

    out.show(Syntax(source, "python", theme="ansi_dark", background_color="default", word_wrap=True))
