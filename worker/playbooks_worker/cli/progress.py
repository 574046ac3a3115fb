"""Where an agent stands, live, in two lines of a terminal: for `run`. Nothing at all where nobody watches.

It draws from its own thread what it was told in the loop's, and never asks the engine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from playbooks_providers.envelope import Header

_REFRESHES_PER_S = 8


class Progress:
    """A context manager; `saved` is told each checkpoint, `stands` now and then what is awaited. *console* None: nobody
    watches."""

    def __init__(self, console: Console | None, agent: str) -> None:
        self._console = console
        self._agent = agent
        self._last: Header | None = None
        self._stack: Sequence[tuple[str, int, str, int]] = ()
        self._began = time.monotonic()
        self._live: Live | None = None

    def saved(self, header: Header) -> None:
        self._last = header  # drawn at the next refresh: this runs once per await

    def stands(self, stack: Sequence[tuple[str, int, str, int]]) -> None:
        """Where the agent stands now: (playbook id, line, statement, depth), outermost first."""
        self._stack = stack

    def pause(self) -> None:
        """Leave the terminal to a prompt."""
        if self._live is not None:
            self._live.stop()

    def go_on(self) -> None:
        if self._live is not None:
            self._live.start()

    def __enter__(self) -> Self:
        if self._console is not None:
            from rich.live import Live
            from rich.spinner import Spinner

            self._spinner = Spinner("dots")
            self._live = Live(
                get_renderable=self._draw,
                console=self._console,
                refresh_per_second=_REFRESHES_PER_S,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # what the program prints goes above; into a pipe it goes as it is
            )
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, where)

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        header, seconds = self._last, time.monotonic() - self._began
        step = f"checkpoint {header.seq}" if header else "starting"
        self._spinner.update(text=Text(f"{self._agent}  {step}  {seconds:.0f} s", overflow="ellipsis", no_wrap=True))
        stack = self._stack
        if not stack:
            return self._spinner
        playbook, line, statement, _ = stack[-1]
        where = Text.assemble(
            ("  " + playbook, "cyan"), f" line {line}: {statement}", overflow="ellipsis", no_wrap=True
        )
        return Group(self._spinner, where)
