"""Why a checkpoint failed: which value of which variable, where; and whether a temporary can be made again instead.

Called by capture.py when a dump has failed, never on the way of a checkpoint that succeeds.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from playbooks_worker.engine.errors import CannotSave
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.rewrite import Site, Temporaries
from playbooks_worker.engine.snapshot import Diagnosis, Target

# What was to be saved of a frame: at which site (or minus header), by name, and whether anything may be made again there.
Written: TypeAlias = "tuple[Frame, int, dict[str, Any], Temporaries | None, bool]"


class Examination:
    """Dumps again, value by value, what one failed checkpoint held."""

    def __init__(
        self, agent_id: str, targets: dict[int, Target], cells: dict[int, tuple[int, str]], running: Sequence[Call]
    ) -> None:
        self._agent_id = agent_id
        self._surroundings = (targets, cells, running)
        self._inside = ""  # the kind of the innermost value that failed

    def learn(self, written: Sequence[Written], found: Iterable[Call], error: Exception) -> bool:
        """Find what could not be saved. True: a temporary that can be made again (now known, try once more).

        Raises `CannotSave` for anything else."""
        for frame, place, kept, temporaries, anything in written:
            for name, value in kept.items():
                problem = self._problem(value)
                if problem is None:
                    continue
                known = temporaries is not None and name in temporaries.deps
                if known and temporaries is not None and (anything or name in temporaries.loads):
                    if (place, name) not in frame.playbook.unsavable:
                        frame.playbook.unsavable.add((place, name))
                        return True
                raise self._cannot(
                    frame, f"variable {name!r}" if name[0] != "." else "a value", value, problem
                ) from error
            for name, value in contents(frame).items():
                if self._problem(value) is not None:
                    raise self._cannot(frame, f"variable {name!r}", value, error) from error
            if frame.outcome is not None and self._problem(frame.outcome) is not None:
                raise self._cannot(frame, "the awaited value", frame.outcome[1], error) from error
            for branch in frame.below.branches:
                for what, held in (("the outcome of a branch", branch.outcome), ("a branch", branch.making)):
                    if held is not None and self._problem(held) is not None:
                        raise self._cannot(frame, what, held[1], error) from error
        for call in found:
            for value in (*call.arguments, *(call.outcome or ())):
                if self._problem(value) is not None:
                    what = "the result of" if call.outcome is not None else "an argument of"
                    raise CannotSave(
                        f"agent {self._agent_id}: cannot save {what} {call.playbook.id} ({_kind(value)}): {error}"
                    ) from error
        return False

    def _problem(self, value: Any) -> Exception | None:
        saver = Diagnosis(*self._surroundings)
        try:
            saver.dump(value)
        except Exception as problem:
            self._inside = _kind(saver.last)
            return problem
        return None

    def _cannot(self, frame: Frame, what: str, value: Any, problem: Exception) -> CannotSave:
        site: Site = frame.playbook.rewritten.sites[frame.site - 1]
        kind = _kind(value)
        if self._inside not in ("", kind):
            kind += f", which holds {self._inside}"
        return CannotSave(
            f"agent {self._agent_id}: cannot save {what} ({kind}) of playbook {frame.playbook.id} at "
            f"{frame.playbook.filename}:{site.line} `{site.statement}`: {_advice(value, problem)}"
        )


def contents(frame: Frame) -> dict[str, Any]:
    """The values of the frame's bound cells."""
    found: dict[str, Any] = {}
    for name, cell in frame.cells.items():
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not bound
    return found


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: Any, problem: Exception) -> str:
    if isinstance(value, types.GeneratorType):
        return "a generator cannot be saved; make it a list, or loop over one"
    if isinstance(value, types.CoroutineType | asyncio.Future):
        return "an awaitable cannot be kept across another await; await it where it is made, or make it a playbook call"
    return f"{problem}; open it in a `with` around its use, or make it again where it is needed"
