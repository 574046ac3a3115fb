"""What the engine itself goes on with after a crash: the attempts of a step, a sleep, a wait for a letter.

Each is an `Operation`, and its call inside an agent one of a playbook of ours. The playbook is only the loop that a resume
re-enters; all that a checkpoint says is the operation's own state, by its `__reduce__`. The playbook's name carries a
version: checkpoints refer to it, so that a later engine which needs another loop adds one beside it.
"""

from __future__ import annotations

import abc
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.place import Outcome, here
from playbooks_worker.engine.playbooks import playbook, playbook_of

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Frame
    from playbooks_worker.engine.playbooks import Playbook


@playbook
async def operation_1(operation: Operation) -> Any:
    while operation.result is None:
        await operation
    return operation.take()


class Operation(abc.ABC):
    """Awaiting it is one turn, `once`; ``result`` ends it. Nothing is checkpointed between the last turn and the end of its
    call, which is a checkpoint."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        self.result: Outcome | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        return self.once(here.get().frame).__await__()

    @abc.abstractmethod
    async def once(self, frame: Frame) -> None:
        """One turn of it, for *frame*'s agent."""

    @abc.abstractmethod
    def row(self, frame: Frame) -> tuple[str, int, str]:
        """For people: (whose, line, what it does just now)."""

    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """For people: what it was called with."""

    @abc.abstractmethod
    def named(self) -> str:
        """For people: what a playbook that it calls was called by."""

    def take(self) -> Any:
        """The result, once."""
        assert self.result is not None
        done, value = self.result
        self.result = None
        if done:
            return value
        raise value


def operation_of(frame: Frame) -> Operation | None:
    """Of an operation's frame, running or restored; None for a playbook's own."""
    if not frame.playbook.of_operation:
        return None
    if frame.call_.arguments:
        found = frame.call_.arguments[0]
    elif frame.saved:
        found = frame.saved.get("operation")
    else:
        coroutine = frame.coroutine
        found = None if coroutine is None else coroutine.cr_frame.f_locals.get("operation")
    return found if isinstance(found, Operation) else None


made = playbook_of(operation_1)
assert made is not None
OPERATION: Playbook = made
OPERATION.of_operation = True


def inside_an_operation(frame: Frame, called: Playbook) -> RuntimeError:
    """The error of a step, say, that calls a playbook."""
    operation = operation_of(frame)
    name = "a step" if operation is None else operation.named()
    return RuntimeError(
        f"{name} calls playbook {called.id}: a step is one effect, which is not resumed inside; call the playbook from a "
        "playbook, or make the step a playbook"
    )
