"""What a checkpoint could not save: which value of which variable, where; and whether a temporary can be made again instead.

Called by capture.py when a dump has failed or something was lost in it, never on the way of a checkpoint without losses.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import types
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from playbooks_worker.engine import stacks
from playbooks_worker.engine.errors import CannotSave
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.losses import kind_of
from playbooks_worker.engine.markers import About, Marker, about_of
from playbooks_worker.engine.reducers import Target, outside_of
from playbooks_worker.engine.rewrite import Site, Temporaries
from playbooks_worker.engine.snapshot import Diagnosis, Saver
from playbooks_worker.engine.whereabouts import paths

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent

# What was to be saved of a frame: at which site (or minus header), by name, and whether anything may be made again there.
Written: TypeAlias = "tuple[Frame, int, dict[str, Any], Temporaries | None, bool]"
# by the id of what was lost in the last checkpoint: a reference that tells whether it is still that object; what it was
Losses: TypeAlias = "dict[int, tuple[Any, About]]"
_ADAPTERS = (zip, map, filter, enumerate, reversed, itertools.islice, itertools.chain, itertools.takewhile)
_ATOMS = frozenset({str, int, float, bool, bytes, type(None), types.FunctionType, type, types.ModuleType, Call})


class Examination:
    """Looks again, value by value, at what one checkpoint was to hold."""

    def __init__(
        self, agent: Agent, targets: dict[int, Target], cells: dict[int, tuple[int, str]], running: Sequence[Call]
    ) -> None:
        self._agent = agent
        self._targets = targets
        self._cells = cells
        self._running = running
        self._inside = ""  # the kind of the innermost value that failed

    # --- a checkpoint that has failed -------------------------------------------------------------------------------
    def learn(self, written: Sequence[Written], found: Iterable[Call], error: Exception) -> bool:
        """Find what could not be saved. True: a temporary that can be made again (now known, try once more).

        Raises `CannotSave` for anything else."""
        for frame, place, kept, temporaries, anything in written:
            for name, value in kept.items():
                problem = self._problem(value)
                if problem is None:
                    continue
                if _can_be_made_again(name, temporaries, anything) and (place, name) not in frame.playbook.unsavable:
                    frame.playbook.unsavable.add((place, name))
                    return True
                raise self._cannot(frame, _named(name), value, problem) from error
            for name, value in contents(frame).items():
                if self._problem(value) is not None:
                    raise self._cannot(frame, _named(name), value, error) from error
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
                        f"agent {self._agent.id}: cannot save {what} {call.playbook.id} ({kind_of(value)}): {error}"
                    ) from error
        return False

    def _problem(self, value: Any) -> Exception | None:
        saver = Diagnosis(self._targets, self._cells, self._running, self._agent.strict)
        try:
            saver.dump(value)
        except Exception as problem:
            self._inside = kind_of(saver.last)
            return problem
        return None

    def _cannot(self, frame: Frame, what: str, value: Any, problem: Exception) -> CannotSave:
        kind = kind_of(value)
        if self._inside not in ("", kind):
            kind += f", which holds {self._inside}"
        return CannotSave(
            f"agent {self._agent.id}: cannot save {what} ({kind}) of playbook {frame.playbook.id} at "
            f"{_place(frame)} `{_site(frame).statement}`: {_advice(value, problem)}"
        )

    # --- a checkpoint with losses -----------------------------------------------------------------------------------
    def relearn(self, written: Sequence[Written]) -> bool:
        """Whether a temporary that can be made again would be lost (now known, try once more)."""
        found = False
        for frame, place, kept, temporaries, anything in written:
            unsavable = frame.playbook.unsavable
            for name, value in kept.items():
                if type(value) in _ATOMS or (place, name) in unsavable:
                    continue
                if _can_be_made_again(name, temporaries, anything) and self._loses(frame, place, value):
                    unsavable.add((place, name))
                    found = True
        return found

    def _loses(self, frame: Frame, place: int, value: Any) -> bool:
        """Whether something of *value* is lost that no checkpoint before this one had lost."""
        targets = self._targets
        if place < 0:  # what a header brings is no part of what it is made from
            path = _site(frame).path
            targets = outside_of(targets, frame.call_.id, path[path.index(-place) :])
        saver = Saver(targets, self._cells, self._running)
        saver.dump(value)
        return any(type(one) is not Marker for one, _ in saver.lost)

    def losses(self, written: Sequence[Written], saver: Saver) -> list[About]:
        """What each marker of the checkpoint stands for. Raises `CannotSave` for the iterator of a running loop."""
        self._refuse_loops(written, saver)
        known = self._agent.known_losses
        wanted = {id(value) for value, _ in saver.lost if type(value) is not Marker and _recalled(known, value) is None}
        where = self._where(written, saver, wanted) if wanted else {}
        answer: list[About] = []
        now: Losses = {}
        for value, why in saver.lost:
            if type(value) is Marker:
                answer.append(about_of(value))
                continue
            about = _recalled(known, value)
            if about is None:
                path, playbook, place = where.get(id(value), ("", "", ""))
                about = About(kind_of(value), path, playbook, place, why)
            now[id(value)] = _reference(value), about
            answer.append(about)
        self._agent.known_losses = now
        return answer

    def _refuse_loops(self, written: Sequence[Written], saver: Saver) -> None:
        lost = {id(value) for value, _ in saver.lost if type(value) is not Marker}
        for frame, _, kept, _, _ in written:
            for name in _site(frame).path:
                for iterator in _sources(kept.get(name)) if isinstance(name, str) else ():
                    if id(iterator) in lost:
                        raise CannotSave(
                            f"agent {self._agent.id}: the `for` loop around {_place(frame)} `{_site(frame).statement}` "
                            f"of playbook {frame.playbook.id} goes over {kind_of(iterator)}, whose position cannot be "
                            "saved; make it a list before the loop: `for … in list(…)`"
                        )

    def _where(self, written: Sequence[Written], saver: Saver, wanted: set[int]) -> dict[int, tuple[str, str, str]]:
        """(path, playbook, file:line) by the id of what was lost."""
        found: dict[int, tuple[str, str, str]] = {}
        closed = (Call, asyncio.Future, stacks.KnownStack)  # inside are our own records
        # the variable that holds a manager says more than its place in a stack
        for frame, _, kept, _, _ in sorted(written, key=lambda each: any(map(stacks.is_saved_as, each[2]))):
            below = [("a branch", part) for branch in frame.below.branches for part in (branch.outcome, branch.making)]
            awaited = [] if frame.outcome is None else [("the awaited value", frame.outcome[1])]
            roots = [*parts_of(kept), *contents(frame).items(), *awaited, *below]
            for number, path in paths(roots, wanted - found.keys(), closed).items():
                found[number] = path, frame.playbook.id, _place(frame)
        for call in saver.found.values():
            names = call.playbook.rewritten.names.parameters
            roots = [*zip(names, call.arguments, strict=False), *(("the result", part) for part in call.outcome or ())]
            for number, path in paths(roots, wanted - found.keys(), closed).items():
                found[number] = path, call.playbook.id, call.playbook.filename
        return found


def parts_of(kept: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The named values of a frame, variables before temporaries."""
    for name in sorted(kept, key=lambda name: not name.isidentifier()):
        if stacks.is_saved_as(name):
            yield from stacks.parts_of(kept[name])
        else:
            yield name if name.isidentifier() else "a value of the statement", kept[name]


def contents(frame: Frame) -> dict[str, Any]:
    """The values of the frame's bound cells."""
    found: dict[str, Any] = {}
    for name, cell in frame.cells.items():
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not bound
    return found


def _can_be_made_again(name: str, temporaries: Temporaries | None, anything: bool) -> bool:
    return temporaries is not None and name in temporaries.deps and (anything or name in temporaries.loads)


def _sources(iterator: Any) -> Iterator[Any]:
    """An iterator and those that it draws from."""
    yield iterator
    if isinstance(iterator, _ADAPTERS):
        for part in gc.get_referents(iterator):
            for source in part if type(part) is tuple else (part,):  # zip holds a tuple of them
                if hasattr(type(source), "__next__"):
                    yield from _sources(source)


def _reference(value: Any) -> Any:
    try:
        return weakref.ref(value)
    except TypeError:
        kind = type(value)
        return lambda: kind


def _recalled(known: Losses, value: Any) -> About | None:
    """What an earlier checkpoint said of *value*: the search for its path is not repeated."""
    reference, about = known.get(id(value), (None, None))
    if reference is None:
        return None
    referred = reference()
    return about if referred is value or referred is type(value) else None


def _named(name: str) -> str:
    return f"variable {name!r}" if name.isidentifier() else "a value"


def _site(frame: Frame) -> Site:
    return frame.playbook.rewritten.sites[frame.site - 1]


def _place(frame: Frame) -> str:
    return f"{frame.playbook.filename}:{_site(frame).line}"


def _advice(value: Any, problem: Exception) -> str:
    if issubclass(type(value), types.GeneratorType):
        return "a generator cannot be saved; make it a list, or loop over one"
    if issubclass(type(value), types.CoroutineType | asyncio.Future):
        return "an awaitable cannot be kept across another await; await it where it is made, or make it a playbook call"
    return f"{problem}; open it in a `with` around its use, make it a resource(), or make it again where it is needed"
