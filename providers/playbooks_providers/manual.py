"""`--help` of a command as a manual page: options in groups, then environment, files, signals, exit status, examples.

Called by the wiring of each command, which gives the words. Plain text: it reads the same in 40 columns, in a pipe and in a
pager. It imports nothing of ours, so that `--help` is there at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typer.core import TyperCommand

Rows = Sequence[tuple[str, str]]


class Manual(TyperCommand):
    """Subclass with the words. ``groups``: headings, and the names of the parameters below each; what no group names is an
    error, so that no option is forgotten. ``sections``: what comes behind. ``examples``: printed as they are."""

    arguments: ClassVar[Mapping[str, tuple[str, str]]] = {}  # by name: what it is called, and what it is
    groups: ClassVar[Mapping[str, Sequence[str]]]
    sections: ClassVar[Mapping[str, Rows]]
    examples: ClassVar[Rows]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # typer has brought click with it, or has not, by version
        return ["[OPTION]...", *(name for name, _ in self.arguments.values())]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        records: dict[str, Any] = {
            parameter.name or "": self.arguments.get(parameter.name or "") or parameter.get_help_record(ctx)
            for parameter in self.get_params(ctx)
        }
        for heading, names in self.groups.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names], col_max=20)
        if records:
            raise AssertionError(f"{self.name}: in no group of its manual: {', '.join(records)}")
        for heading, rows in self.sections.items():
            with formatter.section(heading):
                write_rows(formatter, rows)
        with formatter.section("Examples"):
            write_rows(formatter, self.examples)


def write_rows(formatter: Any, rows: Rows) -> None:
    """Each term on a line of its own and as it is, and what there is to say below it, as in a manual page."""
    for term, says in rows:
        formatter.write(f"{'':>{formatter.current_indent}}{term}\n")
        formatter.indent()
        formatter.indent()
        formatter.write_text(says)
        formatter.dedent()
        formatter.dedent()


SETTINGS: Rows = (
    (
        "PLAYBOOKS_<SECTION>__<KEY>",
        "Any setting, PLAYBOOKS_REDIS__URL say. An option is stronger, playbooks.toml weaker; --print-config shows all.",
    ),
    (
        "PLAYBOOKS_DURABILITY__SIGNING_KEY_FILE",
        "The file with the secret that signs checkpoints; the same for all workers and coordinators. Or the secret itself, "
        "in PLAYBOOKS_DURABILITY__SIGNING_KEY.",
    ),
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd: it is told that the daemon has started, is well, and stops."),
    ("NO_COLOR", "Set to anything: no colours in a terminal."),
)
FILES: Rows = (
    ("./playbooks.toml", "Settings of the project: the folder where the daemon starts."),
    (
        "~/.config/playbooks/playbooks.toml",
        "Settings of the user, weaker than those of the project. XDG_CONFIG_HOME says another place than ~/.config.",
    ),
    ("./.playbooks/dev.json", "Where a running `playbooksctl dev` of this folder is; weaker than all of these."),
)
