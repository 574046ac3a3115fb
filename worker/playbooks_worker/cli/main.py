"""The app: which commands there are. Each is one function in a module of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import typer

from playbooks_worker.cli.check import check
from playbooks_worker.cli.control import cancel, delete, pause, terminate, unpause
from playbooks_worker.cli.dev import dev
from playbooks_worker.cli.explain import explain
from playbooks_worker.cli.fork import fork
from playbooks_worker.cli.list import list_agents
from playbooks_worker.cli.manual import CommandPage, Commands
from playbooks_worker.cli.output import NOTHING_KNOWN
from playbooks_worker.cli.people import answer, inbox
from playbooks_worker.cli.queue import queue
from playbooks_worker.cli.retry import retry
from playbooks_worker.cli.run import run
from playbooks_worker.cli.runs import runs
from playbooks_worker.cli.scale import drain, scale_hint
from playbooks_worker.cli.send import send
from playbooks_worker.cli.show import show
from playbooks_worker.cli.submit import submit
from playbooks_worker.cli.tail import tail
from playbooks_worker.cli.wait import wait
from playbooks_worker.cli.workers import workers

# Plain help: it reads the same in 60 columns (where a short help has 44), in a pipe and in a bug report, and rich is not
# imported for it.
app = typer.Typer(
    name="playbooksctl",
    cls=Commands,
    help="Run durable agents: here (run), on workers (submit), or with everything on this machine (dev).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
COMMANDS: list[tuple[str, Callable[..., None], str]] = [
    ("run", run, "Run an agent here, and those it starts."),
    ("submit", submit, "Start an agent on the workers."),
    ("wait", wait, "Wait for an agent to end, print its result."),
    ("list", list_agents, "List the agents, newest first."),
    ("runs", runs, "List the runs: agents with their children."),
    ("show", show, "Show one agent, and what it waits for."),
    ("tail", tail, "Show what an agent tells people."),
    ("check", check, "Say which agents an edit would block."),
    ("explain", explain, "Explain where a playbook can be resumed."),
    ("retry", retry, "Let a blocked or failed agent go on."),
    ("inbox", inbox, "List what agents ask people."),
    ("answer", answer, "Answer what an agent asks a person."),
    ("send", send, "Send a message to an agent."),
    ("cancel", cancel, "Cancel an agent and its children."),
    ("terminate", terminate, "End an agent at once, as cancelled."),
    ("pause", pause, "Stop an agent until `unpause`."),
    ("unpause", unpause, "Let a paused agent go on."),
    ("fork", fork, "Make a new agent from a checkpoint."),
    ("delete", delete, "Forget everything about an agent."),
    ("workers", workers, "List the live workers and their programs."),
    ("queue", queue, "Show a queue, limit how many run at once."),
    ("drain", drain, "Have a worker hand over and end."),
    ("scale-hint", scale_hint, "Say how much is to do, by queue."),
    ("dev", dev, "Run everything on this machine."),
]
for _name, _command, _short_help in COMMANDS:
    app.command(_name, cls=CommandPage, short_help=_short_help)(_command)


def main() -> None:
    try:
        app(prog_name="playbooksctl")
    except SystemExit as end:
        _answer_usage_error(end)
        raise


def _answer_usage_error(end: SystemExit) -> None:
    """What typer refuses has no `Output`; with ``--json`` it too has an answer on the last line of stdout."""
    say = getattr(end.__context__, "format_message", None)  # only the errors that typer prints have it
    if say is not None and "--json" in sys.argv[1:]:
        print(json.dumps({**NOTHING_KNOWN, "error": {"type": "UsageError", "message": say()}}), flush=True)
