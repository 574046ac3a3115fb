"""The app: which commands there are. Each is one function in a module of its own."""

from __future__ import annotations

import json
import sys

import typer

from playbooks_worker.cli.check import check
from playbooks_worker.cli.control import cancel, delete, pause, terminate, unpause
from playbooks_worker.cli.dev import dev
from playbooks_worker.cli.explain import explain
from playbooks_worker.cli.fork import fork
from playbooks_worker.cli.list import list_agents
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
    help="Run durable agents: here (run), on workers (submit), or with everything on this machine (dev).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command("run", short_help="Run an agent here, and those it starts.")(run)
app.command("submit", short_help="Start an agent on the workers.")(submit)
app.command("wait", short_help="Wait for an agent to end, print its result.")(wait)
app.command("list", short_help="List the agents, newest first.")(list_agents)
app.command("runs", short_help="List the runs: agents with their children.")(runs)
app.command("show", short_help="Show one agent, and what it waits for.")(show)
app.command("tail", short_help="Show what an agent tells people.")(tail)
app.command("check", short_help="Say which agents an edit would block.")(check)
app.command("explain", short_help="Explain where a playbook can be resumed.")(explain)
app.command("retry", short_help="Let a blocked or failed agent go on.")(retry)
app.command("inbox", short_help="List what agents ask people.")(inbox)
app.command("answer", short_help="Answer what an agent asks a person.")(answer)
app.command("send", short_help="Send a message to an agent.")(send)
app.command("cancel", short_help="Cancel an agent and its children.")(cancel)
app.command("terminate", short_help="End an agent at once, as cancelled.")(terminate)
app.command("pause", short_help="Stop an agent until `unpause`.")(pause)
app.command("unpause", short_help="Let a paused agent go on.")(unpause)
app.command("fork", short_help="Make a new agent from a checkpoint.")(fork)
app.command("delete", short_help="Forget everything about an agent.")(delete)
app.command("workers", short_help="List the live workers and their programs.")(workers)
app.command("queue", short_help="Show a queue, limit how many run at once.")(queue)
app.command("drain", short_help="Have a worker hand over and end.")(drain)
app.command("scale-hint", short_help="Say how much is to do, by queue.")(scale_hint)
app.command("dev", short_help="Run everything on this machine.")(dev)


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
