"""What a person sees of the demo: a live view on a terminal, one line per event elsewhere. It decides nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


class Screen:
    """Events stay on the screen; below them, on a terminal, is where the agent stands now."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._began = time.monotonic()
        self._live: Live | None = None
        self.agent = ""
        self.runs_in = ""
        self.statement = ""
        self.number = 0
        self.share = 0.0

    def event(self, text: str, *more: str, style: str = "") -> None:
        """One thing that happened, with details on lines of their own."""
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(no_wrap=True)
        row.add_column(overflow="fold")
        row.add_row(f"{time.monotonic() - self._began:5.1f} s", Text(text, style=style))
        for line in more:
            row.add_row("", Text(line, style="dim"))
        self.console.print(row)

    def heading(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold"))

    def table(self, rows: Sequence[tuple[str, str]], justify: Literal["left", "right"] = "right") -> None:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(justify=justify, no_wrap=True)
        table.add_column(overflow="fold")
        for value, meaning in rows:
            table.add_row(Text(value), Text(meaning))
        self.console.print(table)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._draw, console=self.console, refresh_per_second=8, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, where)
            self._live = None

    def _draw(self) -> RenderableType:
        if not self.agent:
            return Text("starting ...", style="dim")
        width = min(40, self.console.width - 20)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=1.0, completed=self.share, width=width), f"checkpoint {self.number}")
        return Group(
            _one_line(f"{self.agent} runs in {self.runs_in or 'nobody: it waits for a worker'}"),
            _one_line(f"  {self.statement}", style="cyan"),
            bar,
        )


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
