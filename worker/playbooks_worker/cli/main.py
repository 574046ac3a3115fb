"""The app: which commands there are. Each is one function in a module of its own."""

from __future__ import annotations

import json
import sys

import typer

from playbooks_worker.cli.check import check
from playbooks_worker.cli.control import cancel, delete, pause, terminate, unpause
from playbooks_worker.cli.dev import dev
from playbooks_worker.cli.explain import explain
from playbooks_worker.cli.list import list_agents
from playbooks_worker.cli.output import NOTHING_KNOWN
from playbooks_worker.cli.people import answer, inbox
from playbooks_worker.cli.retry import retry
from playbooks_worker.cli.run import run
from playbooks_worker.cli.runs import runs
from playbooks_worker.cli.show import show
from playbooks_worker.cli.submit import submit
from playbooks_worker.cli.wait import wait
from playbooks_worker.cli.workers import workers

# Plain help: it reads the same in 60 columns, in a pipe and in a bug report, and rich is not imported for it.
app = typer.Typer(
    name="playbooksctl",
    help="Run durable agents: here (run), on workers (submit), or with everything on this machine (dev).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command("run")(run)
app.command("submit")(submit)
app.command("wait")(wait)
app.command("list")(list_agents)
app.command("runs")(runs)
app.command("show")(show)
app.command("check")(check)
app.command("explain")(explain)
app.command("retry")(retry)
app.command("inbox")(inbox)
app.command("answer")(answer)
app.command("cancel")(cancel)
app.command("terminate")(terminate)
app.command("pause")(pause)
app.command("unpause")(unpause)
app.command("delete")(delete)
app.command("workers")(workers)
app.command("dev")(dev)


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
