"""Branches in a checkpoint: which are written, and how they come back (capture.py and restore.py ask).

Two kinds of rows. A branch *of its own* comes back as a task: all that have not ended, and those that had and that
something refers to. A branch that only the operand of a site in flight holds is made again by that expression: what is
written of it waits in the frame's `Below.claims` until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from playbooks_worker.engine import contextual
from playbooks_worker.engine.branches import Branch
from playbooks_worker.engine.callbacks import Callback
from playbooks_worker.engine.cancels import (
    Said,
    begun,
    counted,
    said_of,
    told,
    untold_without_call,
    was_told,
)
from playbooks_worker.engine.coroutines import Making
from playbooks_worker.engine.endings import Ending
from playbooks_worker.engine.errors import DetachedTask
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.groups import groups_of
from playbooks_worker.engine.place import Below, Outcome

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.restore import Loader

# A call that plain code has made, as it is looked for again: path of tasks, playbook, number, id.
CallRow = tuple[tuple[str, ...], str, int, int]


class OwnRow(NamedTuple):
    """``call`` and ``creator`` are ids of calls, or 0: none, or one that has ended. ``ended``: its outcome is known;
    ``done``: whoever waits for its task knows that too. ``cancelled``: what it is to be told. ``counted``: how
    often it had been cancelled. ``within``: the header of its creator that it was made in."""

    id: int
    call: int
    creator: int
    number: int
    key: str
    name: str | None
    group: tuple[int, int] | None
    ended: bool
    done: bool
    cancelled: tuple[Said, ...]
    counted: int
    within: int
    calls: list[CallRow]


class OperandRow(NamedTuple):
    id: int
    creator: int
    number: int
    ended: bool
    cancelled: tuple[Said, ...]
    counted: int
    calls: list[CallRow]


class Rows(NamedTuple):
    """What the index says of branches. ``numbers``: by call, those that its operand makes again, where not 0, 1, 2, …
    ``gathers``: calls that wait for a gather which has been cancelled, whatever its branches make of that. ``told``: calls
    that plain code has cancelled which will run again."""

    own: list[OwnRow]
    operands: list[OperandRow]
    numbers: dict[int, tuple[int, ...]]
    gathers: list[int]
    told: list[int]

    def plain(self) -> Any:
        """As the index has it."""
        return (
            [tuple(row) for row in self.own],
            [tuple(row) for row in self.operands],
            self.numbers,
            self.gathers,
            self.told,
        )


Contents = tuple[int, "Making | None", "Outcome | None", "list[Callback] | None", "contextual.Values | None"]


class Writing:
    """The branches of one checkpoint. ``found`` are those that the pickler has met, ``calls`` collects calls."""

    def __init__(self, agent: Agent, frames: list[Frame], found: dict[int, Branch], calls: dict[int, Call]) -> None:
        self._agent = agent
        self._found = found
        self._calls = calls
        self._operands: dict[int, Branch] = {}
        for frame in frames:
            if frame.below.branches or frame.below.claims:
                self._operands.update((branch.id, branch) for branch in _of_operand(frame))
        self._left = [b for number, b in sorted(agent.branches.items()) if number not in self._operands]
        if self._left or self._operands:
            agent.rest()
        self._groups = groups_of(frames) if self._left else {}
        self._written: set[int] = set()
        self.rows = Rows([], [], {}, [], [])
        self.endings: list[Ending] = []  # of those whose outcome is an error
        for frame in frames:
            if frame.in_flight and getattr(frame.value, "_cancel_requested", False):
                self.rows.gathers.append(frame.call_.id)
        self._running = [frame.call_ for frame in frames]

    def plain(self) -> Any:
        """What the index has of it, when all else has been written."""
        if self._agent.tells:
            calls = {call.id: call for call in (*self._running, *self._calls.values())}
            self.rows.told[:] = [number for number, call in calls.items() if was_told(self._agent, call)]
        return self.rows.plain()

    def fresh(self) -> list[Contents]:
        """What is to be written of branches of their own that were not written yet."""
        found = [branch for number, branch in self._found.items() if number not in self._written]
        branches = [b for b in self._left if b.id not in self._found] + found
        self._left = []
        return [self._own(branch) for branch in branches]

    def operands(self) -> list[Contents]:
        """What is to be written of those that an operand makes again: the last, and only what is worth a word."""
        contents: list[Contents] = []
        numbers: dict[int, list[int]] = {}
        for branch in self._operands.values():
            if branch.id in self._found:
                continue
            frame = branch.below.frame
            assert frame is not None
            creator = frame.call_.id
            numbers.setdefault(creator, []).append(branch.number)
            cancelled, times = self._untold(branch), self._counted(branch)
            if branch.call is not None:
                if not cancelled and _cancelled_as_it_ended(branch, branch.call):
                    cancelled = (branch.said(),)
                if cancelled or times:
                    row = OperandRow(branch.id, creator, branch.number, False, cancelled, times, [])
                    self.rows.operands.append(row)
                    contents.append((branch.id, None, None, None, None))
                continue
            outcome = self._outcome(branch)
            self._ended(branch, outcome)
            calls = calls_of(branch.below, self._calls) if outcome is None else []
            if calls or cancelled or outcome is not None:
                row = OperandRow(branch.id, creator, branch.number, outcome is not None, cancelled, times, calls)
                self.rows.operands.append(row)
                contents.append((branch.id, None, outcome, None, None))
        self._operands = {}
        for creator, found in numbers.items():
            if found != list(range(len(found))):
                self.rows.numbers[creator] = tuple(found)
        return contents

    def _own(self, branch: Branch) -> Contents:
        self._written.add(branch.id)
        frame = branch.below.frame
        outcome = self._outcome(branch)
        self._ended(branch, outcome)
        alive = branch.alive or (branch.call is not None and told(branch.call))
        call = branch.call if alive else None
        if call is not None:
            self._calls.setdefault(call.id, call)
        calls: list[CallRow] = []
        if call is None and outcome is None:
            if branch.making is None:
                raise DetachedTask(_not_describable(self._agent, branch))
            calls = calls_of(branch.below, self._calls)
        creator = frame.call_.id if frame is not None and frame.call_.outcome is None else 0
        group = self._groups.get(branch.id, branch.group if alive else None)
        self.rows.own.append(
            OwnRow(
                branch.id,
                call.id if call is not None else 0,
                creator,
                branch.number,
                branch.key,
                branch.name if branch.task is None else branch.task.get_name(),  # type: ignore[attr-defined]
                group,
                outcome is not None,
                not alive and group is None,
                self._untold(branch),
                self._counted(branch),
                branch.within,
                calls,
            )
        )
        making = branch.making if outcome is None and call is None else None
        context = branch.context if alive and outcome is None else None
        return branch.id, making, outcome, branch.callbacks or None, context

    def _ended(self, branch: Branch, outcome: Outcome | None) -> None:
        if outcome is not None and not outcome[0]:
            number = branch.ending or (0 if branch.call is None else branch.call.ending)
            self.endings.append(Ending(number, branch.id))

    def _untold(self, branch: Branch) -> tuple[Said, ...]:
        if branch.task is None or not self._agent.cancels:
            return branch.cancelled
        return *untold_without_call(self._agent, branch.task), *branch.cancelled

    def _counted(self, branch: Branch) -> int:
        return branch.counted if branch.task is None else counted(self._agent, branch.task)

    def _outcome(self, branch: Branch) -> Outcome | None:
        if branch.call is not None and told(branch.call):
            return None  # what cancelled it comes to that again
        outcome = branch.settled()
        said = said_of(self._agent, branch.task) if outcome is None and branch.call is None else ()
        if said and not begun(branch.task):
            return None, asyncio.CancelledError(*said[0])
        return outcome


def _of_operand(frame: Frame) -> Iterable[Branch]:
    """The branches that the site of *frame* makes again if nothing else holds them."""
    if frame.call_.id in frame.call_.agent.unreached:
        return frame.below.claims.values()
    if not frame.in_flight or frame.outcome is not None or type(frame.value) is Call:
        return ()
    site = frame.playbook.rewritten.sites[frame.site - 1]
    return [b for b in frame.below.branches if b.position is not None and site.holds(b.position)]


def calls_of(below: Below, found: dict[int, Call], besides: Any = None) -> list[CallRow]:
    """The calls that plain code below has made, which it makes again after a resume; they are *found* by it."""
    made = {**below.expected, **below.made} if below.expected else below.made
    rows: list[CallRow] = []
    for (path, playbook, number), call in made.items():
        if call is not besides:  # what the site awaits is found by its temporary
            rows.append((path, playbook, number, call.id))
            found.setdefault(call.id, call)
    return rows


def _cancelled_as_it_ended(branch: Branch, call: Call) -> bool:
    """Whether a task was cancelled whose call had its outcome already."""
    ended = call.outcome is not None and call.outcome[0] is not None
    return ended and branch.task is not None and branch.task.cancelled() and not told(call)


def _not_describable(agent: Agent, branch: Branch) -> str:
    frame = branch.below.frame
    where, name = "", "a playbook"
    if frame is not None and branch.position is not None:
        where = f"{frame.playbook.filename}:{branch.position[0]}: "
        name = frame.playbook.id
    return (
        f"{where}agent {agent.id}: a task of {name} runs something else than a coroutine of an `async def`, so no "
        "checkpoint can bring it back; await it in the statement that starts it, or wrap it in an `async def`"
    )


# --- and back ----------------------------------------------------------------------------------------------------------


def read(loader: Loader, rows: Any) -> None:
    """Make the branches that *rows* tell of; what they hold is loaded later."""
    agent = loader.agent
    own, operands, numbers, loader.gathers, was_told = rows
    for number in was_told:
        loader.calls[number].told = loader.calls[number].again = agent.tells = True
    for fields in own:
        row = OwnRow(*fields)
        branch = _branch(loader, row.id, row.creator, row.number, row.calls)
        branch.call = loader.calls[row.call] if row.call else None
        branch.name, branch.group, branch.ended, branch.cancelled = row.name, row.group, row.ended, row.cancelled
        branch.key, branch.counted, branch.within = row.key, row.counted, row.within
        if not row.done:
            agent.branches[branch.id] = branch
    for fields in operands:
        operand = OperandRow(*fields)
        branch = _branch(loader, operand.id, operand.creator, operand.number, operand.calls)
        branch.ended, branch.cancelled, branch.counted = operand.ended, operand.cancelled, operand.counted
        assert branch.below.frame is not None
        branch.below.frame.below.claim(branch)
    for number, known in numbers.items():
        frame = loader.calls[number].frame
        assert frame is not None
        frame.below.numbers = known


def _branch(loader: Loader, identity: int, creator: int, number: int, calls: list[CallRow]) -> Branch:
    frame = loader.calls[creator].frame if creator else None
    branch = loader.branches[identity] = Branch(loader.agent, frame, number, identity)
    for path, playbook, number_there, made in calls:
        branch.below.expect((path, playbook, number_there), loader.calls[made])
    return branch
