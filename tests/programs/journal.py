"""What generated programs did in real processes: one file for each agent, written line by line, so that it survives them.

A process kills itself once the file grows past one of the sizes in `<agent>.kills`: between any two things that a program
does, or that its store does. Written where a witness would listen (sharing.py, fuzzing.py), when the environment variable
`PLAYBOOKS_FUZZ_JOURNAL` names a folder; read by processes.py.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from playbooks_worker.engine.place import here, in_region

FOLDER = "PLAYBOOKS_FUZZ_JOURNAL"
_BEGINS, _ENDS, _ENDS_IN_REGION, _RUNS = "begins", "ends", "ends in region", "runs"
_ONCE, _STORE = "once", "store"


class _File:
    def __init__(self, folder: Path, agent: str) -> None:
        self._file = os.open(folder / f"{agent}.journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        kills = folder / f"{agent}.kills"
        self._kills: list[int] = json.loads(kills.read_text()) if kills.exists() else []

    def write(self, *row: Any, dying: Callable[[int], None] = lambda size: None) -> None:
        line = json.dumps([os.getpid(), *row]).encode() + b"\n"
        os.write(self._file, line)
        size = os.lseek(self._file, 0, os.SEEK_CUR)
        if any(size - len(line) < at <= size for at in self._kills):
            dying(size)
            os.kill(os.getpid(), signal.SIGKILL)


class Journal:
    """Has the face of a `witness.Witness` to programs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}

    def begins(self, branch: Any, name: Any) -> None:
        self._write(_BEGINS, branch, name)

    def ends(self, branch: Any, name: Any) -> None:
        self._write(_ENDS_IN_REGION if in_region(here.get()) else _ENDS, branch, name)

    def cancelled(self, name: Any) -> None:
        """It has not completed, and may begin again."""

    def runs(self, branch: Any, what: Any, *, owes: bool = False) -> None:
        self._write(_RUNS, branch, what)

    def once(self, name: Any) -> None:
        self._write(_ONCE, "", name)

    def stores(self, agent: str, what: str, dying: Callable[[int], None] = lambda size: None) -> None:
        """*dying*: what is left half done when the process ends here; it is given something to choose by."""
        self._of(agent).write(_STORE, "", what, dying=dying)

    def _write(self, kind: str, branch: Any, name: Any) -> None:
        place = here.get()
        if place is not None:
            self._of(place.below.agent.id).write(kind, str(branch), str(name))

    def _of(self, agent: str) -> _File:
        if agent not in self._files:
            self._files[agent] = _File(self._folder, agent)
        return self._files[agent]


class Read(NamedTuple):
    """``ended``: how often each effect has completed; ``excused``: how often it may have for nothing, since the process died
    before anything said that a checkpoint knew of it; ``once``: how often a step has begun that must not be repeated;
    ``deaths``: processes that began and did not finish."""

    ended: Counter[str]
    excused: Counter[str]
    once: Counter[str]
    deaths: int


def read(file: Path) -> Read:
    ended: Counter[str] = Counter()
    excused: Counter[str] = Counter()
    once: Counter[str] = Counter()
    last: dict[str, tuple[str, str]] = {}  # of each branch, in this process
    process, deaths = None, 0
    for line in file.read_text().splitlines():
        pid, kind, branch, name = json.loads(line)
        if process is not None and pid != process:
            deaths += 1
            excused.update(name for kind, name in last.values() if kind == _ENDS)
            last.clear()
        process = pid
        if kind == _STORE:
            continue
        if kind == _ONCE:
            once[name] += 1
            continue
        if kind == _ENDS_IN_REGION:  # the region runs again as a whole
            excused[name] += 1
        if kind in (_ENDS, _ENDS_IN_REGION):
            ended[name] += 1
        last[branch] = kind, name
    return Read(ended, excused, once, deaths)
