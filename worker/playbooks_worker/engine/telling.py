"""Who had been cancelled and not been told before the checkpoint was taken is told, once it stands where it stood.

What is to be told is in the checkpoint: `cancels` says what, `restore` and `branch_table` bring it back. `arriving` says who
has come. It knows nothing of headers and barriers.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, cast

from playbooks_worker.engine import cancels
from playbooks_worker.engine.branches import Branch, branch_of
from playbooks_worker.engine.committing import Committing
from playbooks_worker.engine.frames import Call
from playbooks_worker.engine.outcomes import Persist
from playbooks_worker.engine.place import Below, here

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.cancels import Said

_TURNS = 10


class Telling(Committing):
    """The tasks that have come back, and are to be cancelled again: as often as what they await had been."""

    def __init__(self, agent_id: str, persist: Persist, next_seq: int) -> None:
        super().__init__(agent_id, persist, next_seq)
        self._untold: dict[asyncio.Task[Any], tuple[Call, list[Said]]] = {}  # over a call, the innermost of the task
        # who was cancelled here last, and may not have run since
        self._telling: weakref.WeakKeyDictionary[Any, Call | None] = weakref.WeakKeyDictionary()

    def to_be_told(self, task: asyncio.Task[Any], call: Call, said: list[Said]) -> None:
        self._untold[task] = call, said

    def tells_soon(self, task: Any) -> None:
        """What *task* is to be told of begins: it is told at its first wait, and does not run to its end meanwhile."""
        self.loop.call_soon(self._tell, task, _TURNS, context=self.context)

    def _tell(self, task: Any, turns: int) -> None:
        if self.dead or not self._is_to_be_told(task) or task.done():
            return
        agent = cast("Agent", self)
        if turns and not (cancels.stands(agent, task) and cancels.was_told_the_last(agent, task)):
            self.loop.call_soon(self._tell, task, turns - 1, context=self.context)
        elif turns or not self.restoring:  # otherwise when all have arrived
            self.tell(task)

    def _is_to_be_told(self, task: Any) -> bool:
        branch = branch_of(task)
        return task in self._untold or (branch is not None and bool(branch.cancelled))

    def tell_all(self) -> None:
        """Now that they stand where they stood, all are told that wait."""
        for branch in list(self.branches.values()):
            if branch.cancelled and branch.task is not None:
                self.tells_soon(branch.task)
        for task in self._untold:
            self.tells_soon(task)

    def tell(self, task: Any) -> None:
        """*task* is told at its next await, if there is anything. Told once more, it hears that at the await after."""
        branch: Branch | None = branch_of(task)
        call: Call | None = None
        if branch is not None and branch.cancelled:
            said, *more = branch.cancelled
            branch.cancelled = tuple(more)
        elif task in self._untold:
            call, (said, *more) = self._untold.pop(task)
            if more:
                self._untold[task] = call, more
        else:
            return
        task.before = getattr(task, "before", 0) - 1  # it had been counted
        self._cancelled(task, said)
        self._telling[task] = call
        if more:
            self.tells_soon(task)

    def told_behind(self, task: Any, message: Any) -> bool:
        """A statement cancels *task*. Whether that one is to be told of something else first, and hears this afterwards."""
        branch: Branch | None = branch_of(task)
        said = cancels.said_by(message)
        if branch is not None and branch.cancelled:
            branch.cancelled = (*branch.cancelled, said)
        elif task in self._untold:
            self._untold[task][1].append(said)
        elif task not in self._telling or cancels.was_told_the_last(cast("Agent", self), task):
            return False
        elif (call := self._telling[task]) is not None:
            self._untold[task] = call, [said]
            self.tells_soon(task)
        elif branch is not None:
            branch.cancelled = (said,)
            self.tells_soon(task)
        task.before += 1
        return True

    def untold(self) -> list[tuple[int, Said]]:
        """The calls whose tasks a resume from here must cancel again, and what it says."""
        waiting = [(call.id, said) for call, each in self._untold.values() for said in each]
        return [*cancels.untold(cast("Agent", self)), *waiting]

    def _cancelled(self, task: Any, said: Said) -> None:
        context = self.context.copy()
        context.run(here.set, Below(cast("Agent", self), None))  # not from outside: the program did
        context.run(task.cancel, *said)
