"""`--help` of `playbooksctl` and its commands: names as a person types them, and what is the same for all behind the list.

Called by `main`. Plain text, as of the daemons' manuals.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from playbooks_providers.manual import FILES, Rows, write_rows

ENVIRONMENT: Rows = (
    ("PLAYBOOKS_REDIS__URL", "The Redis of your workers, for all commands but `run`. Any other setting in the same way: "
     "PLAYBOOKS_<SECTION>__<KEY>."),
    ("PLAYBOOKS_DURABILITY__SIGNING_KEY_FILE", "The file with the secret that signs checkpoints, the same as the "
     "workers'. Or the secret itself, in PLAYBOOKS_DURABILITY__SIGNING_KEY. `dev` and `run` make one if there is none."),
    ("NO_COLOR", "Set to anything: no colours in a terminal."),
)  # fmt: skip
EXIT_STATUS: Rows = (
    ("0", "Done; the agent has completed."),
    ("1", "The agent has failed; `check`: some agents would be blocked."),
    ("2", "What was typed, or a setting, is not in order; one line on stderr says what."),
    ("3", "The agent is blocked, quarantined or cancelled; or Redis does not answer."),
    ("124", "`wait --timeout` ran out."),
    ("130", "Interrupted by Ctrl+C; nothing is lost."),
)
EXAMPLES: Rows = (
    ("playbooksctl run audit.py", "Run its `main` here; Ctrl+C, and `playbooksctl run audit.py --resume` goes on."),
    ("playbooksctl dev audit.py", "A server, a coordinator and two workers, on this machine."),
    ('playbooksctl submit audit --args \'{"topic": "tea"}\'', "Start an agent on the workers, and print its id."),
    ("playbooksctl wait AGENT", "Its result, when it is there."),
)


class CommandPage(TyperCommand):
    """Of one command: its arguments are named as in a usage line, without the types of Python."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTION]...", *(_named(each) for each in self._arguments(ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        if arguments := self._arguments(ctx):
            with formatter.section("Arguments"):
                formatter.write_dl([(each.metavar, each.help) for each in arguments])
        records = [each.get_help_record(ctx) for each in self.get_params(ctx) if each.param_type_name == "option"]
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record is not None])

    def _arguments(self, ctx: Any) -> list[Any]:
        return [each for each in self.get_params(ctx) if each.param_type_name == "argument"]


class Commands(TyperGroup):
    """Of all of them."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        behind = {"Environment": ENVIRONMENT, "Files": FILES, "Exit status": EXIT_STATUS, "Examples": EXAMPLES}
        for heading, rows in behind.items():
            with formatter.section(heading):
                write_rows(formatter, rows)


def _named(argument: Any) -> str:
    name = f"{argument.metavar}{'...' if argument.nargs != 1 else ''}"
    return name if argument.required else f"[{name}]"
