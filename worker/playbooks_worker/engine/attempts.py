"""One call of a step inside an agent: its attempts, one after another, as an operation.

The same `Attempts` runs a step outside an agent, where nothing is recorded. What may be declared about a step is steps.py's.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.effects import key_of_operation
from playbooks_worker.engine.errors import EngineError, NotDone, OutcomeUnknown, PlaybookRefused
from playbooks_worker.engine.mortal import Awaitable
from playbooks_worker.engine.operations import Operation, operation_of
from playbooks_worker.engine.place import Outcome, in_region

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Frame
    from playbooks_worker.engine.steps import Step

_SHOWN = 200  # characters of an error in a header


class Attempts(Operation):
    """Where a step's call stands. Awaiting it makes one attempt, the pause before it included.

    ``number`` counts attempts from 1; ``spent_s`` is the time since the first began, over all processes, pauses included;
    ``intended``: a step whose outcome must be known may have begun its attempt, as the checkpoint before it says;
    ``result`` ends the loop."""

    __slots__ = ("args", "error", "intended", "kwargs", "number", "pause_s", "spent_s", "step")

    def __init__(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.number = 1
        self.spent_s = 0.0
        self.pause_s = 0.0
        self.error = ""
        self.intended = False

    def __reduce__(self) -> Any:
        said = (self.number, self.spent_s, self.pause_s, self.error, self.intended)
        return _attempts_1, (self.step, self.args, self.kwargs, *said)

    def row(self, frame: Frame) -> tuple[str, int, str]:
        return ":".join(self.step.id), self.step.line, self.told()

    def named(self) -> str:
        return f"step {self.step.name}"

    def told(self) -> str:
        """For people: where it stands."""
        text = f"step {self.step.name}"
        if self.step.attempts_max != 1:
            text += f", attempt {self.number}"
            if self.step.attempts_max is not None:
                text += f" of {self.step.attempts_max}"
        return f"{text}, after {self.error}" if self.error else text

    def arguments(self) -> dict[str, Any]:
        """For people: what the step was called with, by the names of its parameters."""
        return inspect.signature(self.step.function).bind(*self.args, **self.kwargs).arguments

    # --- one attempt -----------------------------------------------------------------------------------------------
    async def once(self, frame: Frame | None, key: str = "") -> None:
        """One attempt: of *frame*'s agent, or (None) outside any, as the effect *key*."""
        began = time.monotonic()
        if frame is not None:
            key = key_of_operation(frame.call_)
            if self.number > 1:
                frame.agent.tries_again = True
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
            self.pause_s = 0.0
        if frame is not None and self.step.careful and not await self._intend(frame):
            await self._reconcile(frame, key, None, began)
            return
        if frame is not None:
            await frame.agent.start_allowed()
        value: Any = None
        failure: BaseException | None = None
        unknown = False
        limit = asyncio.timeout(self.step.timeout_s)
        try:
            async with limit:
                value = await self.step.run(self.args, self.kwargs)
        except asyncio.CancelledError:
            self.intended = False  # the program's own decision, and recorded as such
            raise
        except Exception as error:
            failure = error
            unknown = self.step.careful and (limit.expired() or isinstance(error, OutcomeUnknown))
        if failure is None:
            self._end((True, value))
        elif unknown:
            await self._reconcile(frame, key, failure, began)
        else:
            self._failed(frame, failure, began)

    async def _intend(self, frame: Frame) -> bool:
        """Record that the attempt begins. False: it had begun in a process that died."""
        agent = frame.agent
        if self.intended:
            return self in agent.careful
        if advice := _nowhere(frame):
            what = f"step {self.step.name}, which must not be repeated (on_unknown)"
            raise PlaybookRefused(self.step.filename, self.step.line, what, advice)
        if agent.handing_over:
            await agent.committed()  # the agent ends here, unless other steps have begun
            await Awaitable(agent.never())
        self.intended = True
        agent.careful.add(self)
        await agent.committed()
        return True

    # --- what follows from it ----------------------------------------------------------------------------------------
    def _end(self, result: Outcome) -> None:
        self.intended = False
        self.result = result

    def _failed(self, frame: Frame | None, error: BaseException, began: float) -> None:
        """It is known not to have happened: again, or the end."""
        self.intended = False
        if not self._again(frame, error, began):
            self._end((False, error))

    def _again(self, frame: Frame | None, error: BaseException, began: float) -> bool:
        """Whether there is another attempt after *error*; the next checkpoint says so before it starts."""
        self.spent_s += time.monotonic() - began
        pause_s = self.step.pause_after(error, self.number, self.spent_s)
        if pause_s is None:
            return False
        self.pause_s = pause_s
        self.number += 1
        self.error = f"{type(error).__name__}: {error}".removesuffix(": ")[:_SHOWN]
        if frame is not None:
            frame.agent.owed = frame.agent.gated = True
        return True

    async def _reconcile(self, frame: Frame | None, key: str, cause: BaseException | None, began: float) -> None:
        """Nobody here knows whether it happened: *cause* says why, or nothing does since its process died."""
        step = self.step
        if frame is not None:
            frame.agent.careful.discard(self)  # what follows may be repeated: no hand-over waits for it
        if step.reconcile is None:
            self._end((False, _unknown(step, key, cause)))
            return
        failure: BaseException | None = None
        happened = True
        value: Any = None
        try:
            async with asyncio.timeout(step.timeout_s):
                value = await step.reconcile(key, self.args, self.kwargs)
        except NotDone:
            happened = False
        except Exception as error:
            failure = error
        if failure is not None:
            if isinstance(failure, EngineError) or not self._again(frame, failure, began):
                self._end((False, _unknown(step, key, failure)))
        elif happened:
            self._end((True, value))
        elif cause is not None:
            self._failed(frame, cause.__cause__ or cause if isinstance(cause, OutcomeUnknown) else cause, began)
        else:
            self.intended = False  # the same attempt, now


def _nowhere(frame: Frame) -> str:
    """Why no checkpoint can say that a step begins here, and what to do instead; empty where one can."""
    if in_region(frame):
        return "it is called in an atomic region, where nothing is checkpointed; call it from a statement of a playbook"
    owner = frame.call_.owner
    while owner is not None and owner.frame is not None:
        above = owner.frame
        if owner.branch is None and above.in_flight:
            if above.playbook.rewritten.sites[above.site - 1].entering is not None:
                return (
                    "it is called as a `with` is entered, which happens again after a crash; call it before the `with`"
                )
        owner = above.call_.owner
    return ""


def _unknown(step: Step, key: str, cause: BaseException | None) -> OutcomeUnknown:
    if isinstance(cause, OutcomeUnknown):  # it said so itself
        cause.step, cause.key = cause.step or step.name, cause.key or key
        return cause
    error = OutcomeUnknown(step=step.name, key=key)
    error.__cause__ = cause
    return error


def _attempts_1(
    step: Step,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    number: int,
    spent_s: float,
    pause_s: float,
    error: str,
    intended: bool,
) -> Attempts:
    attempts = Attempts(step, args, kwargs)
    attempts.number, attempts.spent_s, attempts.pause_s = number, spent_s, pause_s
    attempts.error, attempts.intended = error, intended
    return attempts


def attempts_of(frame: Frame) -> Attempts | None:
    """Of a step's frame, running or restored; None for any other."""
    found = operation_of(frame)
    return found if isinstance(found, Attempts) else None
