"""Shows figures: a table on the terminal, JSON for machines, and docs/benchmarks.md, which nobody writes by hand."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Raw

_COLUMNS = ("work", "target", "measured", "min / median / max", "beside it, same run", "")


@dataclass(frozen=True)
class Run:
    figures: Sequence[Figure]
    raw: Raw | None
    server: str
    load_before: float

    @property
    def machine(self) -> str:
        cores = os.cpu_count()
        return (
            f"Python {platform.python_version()}, {self.server}, {cores} cores, "
            f"load {self.load_before:.1f} before and {os.getloadavg()[0]:.1f} after"
        )

    @property
    def raw_said(self) -> str:
        if self.raw is None:
            return "raw XADD: not measured"
        how = "`await client.xadd(...)` of redis-py asyncio, one connection, one at a time"
        return f"raw XADD: {how}, {self.raw.bytes} bytes as the agent writes them"

    def rows(self) -> list[tuple[str, ...]]:
        raw = f"raw XADD: {self.raw}" if self.raw is not None else ""
        rows: list[tuple[str, ...]] = []
        for figure in self.figures:
            shown = f"{figure.shown} ({figure.note})" if figure.note else figure.shown
            met = "met" if figure.met else "MISSED"
            rows.append((figure.work, figure.target, shown, figure.spread, figure.reference or raw, met))
        return rows


def show(run: Run) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    table = Table(*_COLUMNS, title="What it must be fast at (DESIGN 8)", title_justify="left")
    for row, figure in zip(run.rows(), run.figures, strict=True):
        table.add_row(*row, style="" if figure.met else "bold red")
    console.print(table)
    console.print(run.machine, style="dim")
    console.print(run.raw_said, style="dim")


def as_json(run: Run) -> str:
    return json.dumps(
        {
            "figures": [figure.to_json() for figure in run.figures],
            "raw": None if run.raw is None else {"seconds": run.raw.seconds, "bytes": run.raw.bytes},
            "machine": run.machine,
            "commit": commit(),
        }
    )


def write(run: Run, path: Path) -> None:
    """The same table as Markdown, with its date and commit."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d} at commit `{commit()}`; not to be edited by hand.",
        f"{run.machine}.",
        f"{run.raw_said}. Ratios are to it, or to one agent, in interleaved rounds of the same run.",
        "",
        "| " + " | ".join(column or "verdict" for column in _COLUMNS) + " |",
        "|" + "---|" * len(_COLUMNS),
        *("| " + " | ".join(row) + " |" for row in run.rows()),
        "",
        "What each row means, and how it is taken, is in the docstrings of `benchmarks/`. On a machine that does other work",
        "the spread says how much to believe: the figures of an idle one are steadier, and mostly better.",
        "",
    ]
    path.write_text("\n".join(lines))


def commit() -> str:
    """The commit that was measured, marked when the tree has changes."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"
