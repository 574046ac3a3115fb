"""Tells the processes that run agents of a folder that there is something for one of them: `.pokes`, a line for each.

May be lost, and is never the only way to know: what is told of is in the agent's own files before. Looking costs one `stat`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from playbooks_providers.ids import AgentId

_MOST_BYTES = 65_536  # then a new file begins, and whoever reads looks at everything once


class Pokes:
    """Those of one folder, from now on."""

    def __init__(self, root: Path) -> None:
        self._path = root / ".pokes"
        self._inode, self._read = self._now()

    def tell(self, agent: AgentId) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, f"{agent}\n".encode())
                if os.fstat(fd).st_size > _MOST_BYTES:
                    self._path.unlink(missing_ok=True)
            finally:
                os.close(fd)

    def came(self) -> set[AgentId] | None:
        """Who was told of since this was asked last; None: nobody knows, it may be anybody."""
        inode, size = self._now()
        if (inode, size) == (self._inode, self._read):
            return set()
        before, self._inode, read, self._read = self._inode, inode, self._read, size
        if inode != before and before:
            return None
        try:
            with open(self._path, "rb") as file:
                file.seek(read)
                return {AgentId(line.decode()) for line in file.read(size - read).splitlines()}
        except (OSError, ValueError):
            return None

    def _now(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return 0, 0
        return found.st_ino, found.st_size
