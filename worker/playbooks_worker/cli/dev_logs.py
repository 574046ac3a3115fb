"""The logs of the processes that `playbooksctl dev` runs, in one stream: each line behind its process's name and colour.

Called by `dev_processes`. Lines pass as they are; only whole lines are printed, so that processes never mix within one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 31)  # cyan, yellow, magenta, green, blue, red: readable on dark and on light
_LONGEST_LINE = 1 << 16


class Logs:
    """Prints lines of several processes behind aligned names. Colours only where *stream* is a terminal."""

    def __init__(self, names: list[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._width = max(map(len, names))
        tty = self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)} if tty else {}

    def line(self, name: str, text: str) -> None:
        prefix = f"{name:<{self._width}} |"
        if name in self._colours:
            prefix = f"\x1b[{self._colours[name]}m{prefix}\x1b[0m"
        print(prefix, text, file=self._stream, flush=True)

    async def follow(self, name: str, reader: asyncio.StreamReader) -> None:
        """Print what *reader* brings until it ends."""
        rest = b""
        while chunk := await reader.read(_LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self.line(name, line.decode(errors="replace").rstrip("\r"))
            if len(rest) >= _LONGEST_LINE:
                self.line(name, rest.decode(errors="replace"))
                rest = b""
        if rest:
            self.line(name, rest.decode(errors="replace"))
