"""Watches a generated program in an agent and says when it runs ahead of its checkpoints, or of the frames beside it.

Why: a run that ends right proves little. An engine that lets user code go on too early ends right nearly always, and is
found out only by a crash in the one wrong turn; the witness sees it in every run. What it holds the engine to (DESIGN 3.3):

1. A statement after an await runs, and its next effect begins, only once a checkpoint that knows the await's end is durable.
2. An effect begins only once what a resume could not repeat (a cancellation or an expired timeout that a handler has seen,
   the end of an atomic region) is in a durable checkpoint.
3. After a resume no statement runs until every effect that playbooks awaited directly when the checkpoint was taken has
   begun again: each saved frame stands at its site.
4. A step that must not be repeated begins once, over all processes.

Programs tell it what they do (fuzzing.py, sharing.py), stores tell it what is durable (trials.py). Outside an agent it
counts effects and is deaf to all else. In processes that are killed a `journal.Journal` is in its place.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from journal import FOLDER, Journal

from playbooks_worker.engine.frames import Frame
from playbooks_worker.engine.place import Below, here, in_region


class Witness:
    """One process of one agent. ``found`` is the first thing that was wrong."""

    def __init__(self) -> None:
        self.plain: Counter[str] = Counter()  # effects that have completed outside an agent
        self.hears(())

    def hears(self, expected: Any, once: Any = ()) -> None:
        """A new process begins. *expected*: effects that were in flight in its checkpoint; *once*: steps that have begun."""
        self.found: str | None = None
        self._now = 0
        self._durable = -1  # what happened before this was known to a durable checkpoint
        self._ended: dict[Any, int] = {}  # by branch: when its last effect ended
        self._atomic: dict[Any, int] = {}  # that in a region, whose end may come without a checkpoint
        self._owed = -1
        self._in_flight: dict[Any, Any] = {}  # effects awaited directly by playbooks
        self._expected = set(expected)
        self._once = set(once)

    # --- told by programs --------------------------------------------------------------------------------------------
    def begins(self, branch: Any, name: Any) -> None:
        """An effect of a playbook, or a task over one."""
        place = here.get()
        if place is None:
            return
        self._now += 1
        self._expected.discard(name)
        if in_region(place):
            return
        self._covered(branch, f"effect {name} began")
        owed = max(self._owed, self._atomic.get(branch, -1))
        if owed > self._durable and isinstance(place, Below):  # started by the engine, not by a task of plain code
            self._says(f"effect {name} began before what was owed (at {owed}) was durable")
        if isinstance(place, Below) and place.branch is None and _reached_at_once(place.frame):
            self._in_flight[name] = branch

    def ends(self, branch: Any, name: Any) -> None:
        """An effect has completed. What was cancelled has not."""
        place = here.get()
        if place is None:
            self.plain[str(name)] += 1
            return
        self._now += 1
        self._in_flight.pop(name, None)
        ended = self._atomic if in_region(place) else self._ended
        ended[branch] = self._now

    def cancelled(self, name: Any) -> None:
        self._in_flight.pop(name, None)

    def runs(self, branch: Any, what: Any, *, owes: bool = False) -> None:
        """A statement of a playbook. *owes*: it stands in a handler of what a resume could not repeat."""
        place = here.get()
        if place is None:
            return
        self._now += 1
        if self._expected:
            self._says(f"{what} ran before {sorted(map(str, self._expected))} stood at their sites again")
        if in_region(place):
            return
        self._covered(branch, f"{what} ran")
        if owes:
            self._owed = self._now

    def once(self, name: Any) -> None:
        """A step begins that must not be repeated."""
        if name in self._once and here.get() is not None:
            self._says(f"step {name} began again")
        self._once.add(name)

    # --- told by stores ----------------------------------------------------------------------------------------------
    def taken(self) -> tuple[int, frozenset[Any]]:
        """A checkpoint is being taken: answers what to give to `durable`, and to `hears` of the next process."""
        self._now += 1
        return self._now, frozenset(self._in_flight)

    def begun_once(self) -> frozenset[Any]:
        return frozenset(self._once)

    def durable(self, taken: int) -> None:
        self._durable = max(self._durable, taken)

    # --- what is wrong -----------------------------------------------------------------------------------------------
    def _covered(self, branch: Any, what: str) -> None:
        ended = self._ended.get(branch, -1)
        if ended > self._durable:
            self._says(f"{what} in {branch} before the end of its last effect (at {ended}) was durable")

    def _says(self, text: str) -> None:
        if self.found is None:
            self.found = f"at {self._now}: {text}; durable is what was before {self._durable}"


def _reached_at_once(frame: Frame | None) -> bool:
    """Whether a resume needs no plain coroutine to come back to this frame: those may wait as long as they like."""
    while frame is not None:
        if frame.call_.given is not None:
            return False
        owner = frame.call_.owner
        frame = None if owner is None else owner.frame
    return True


WITNESS = Journal(Path(os.environ[FOLDER])) if FOLDER in os.environ else Witness()
