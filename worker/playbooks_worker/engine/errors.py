"""What the engine says when it refuses, cannot save, or must stop. One root for errors, one for signals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playbooks_worker.engine.markers import About


class EngineError(Exception):
    """Root of what the engine raises about a program."""


class PlaybookRefused(EngineError):
    """A construct that cannot be resumed, found at decoration or at first use: file, line, construct, advice."""

    def __init__(self, filename: str, line: int, construct: str, advice: str) -> None:
        super().__init__(f"{filename}:{line}: {construct}: {advice}")
        self.filename = filename
        self.line = line
        self.construct = construct


class CannotSave(EngineError):
    """A checkpoint could not be taken because a value cannot be saved. The agent fails; nothing ran past it."""


class NotRestoredError(EngineError):
    """A value was used that did not come back with the agent: it could not be saved, or not be loaded. ``about`` says what
    it was, where it stood and why (`markers.About`)."""

    def __init__(self, about: About) -> None:
        super().__init__(about.said())
        self.about = about


class CheckpointTooLarge(EngineError):
    """The state of an agent takes more than a checkpoint may. The agent fails; nothing ran past its last checkpoint."""


class DetachedTask(EngineError):
    """A task that a playbook started and did not await in the same statement: no checkpoint can bring it back."""


class ResumeMismatch(EngineError):
    """What runs again below a site no longer makes the same calls. Never raised into user code: the agent is blocked."""


class CodeChanged(EngineError):
    """A playbook on the saved stack is missing or was edited. The agent is blocked; nothing is lost.

    ``changes`` are those of the frames (`changes.Change`), as far as it is frames that do not fit."""

    def __init__(self, message: str, changes: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.changes = changes


class OutcomeUnknown(EngineError):
    """Nobody knows whether a step happened: its process died, or it was cut short by its timeout, before its outcome was
    known. Raised at the step's await (`on_unknown="raise"`); a step that cannot tell (a lost answer) may raise it itself.

    ``step`` is its name, ``key`` its `effect_key`."""

    def __init__(self, message: str = "", *, step: str = "", key: str = "") -> None:
        super().__init__(
            message
            or f"whether step {step} has happened is not known: it was cut short before its outcome was; look it up by its "
            f"effect key {key!r}, then repeat it or go on"
        )
        self.step = step
        self.key = key


class NotDone(Exception):
    """Raised by the callable of `@step(on_unknown=...)`: the effect has not happened, so the step may run."""


class AgentLost(Exception):
    """Raised by `persist` when another owner has the agent: it is dropped here at once."""


class AgentStopped(asyncio.CancelledError):
    """The agent was marked dead in this process (stop, drain, lost lock). Not for user code: an ordinary cancellation
    to plain coroutines, invisible to the handlers and `finally` blocks of playbooks. What was in flight is repeated
    where the agent goes on."""


class AwaitedTwice(RuntimeError):
    """Somebody awaits a call that another is awaiting: an error of the second, and not the end of the call."""

    def __init__(self, call: Any) -> None:
        super().__init__(f"{call!r} is awaited twice at the same time")
        self.call = call

    def __reduce__(self) -> Any:
        return RuntimeError, self.args


class AgentCancelled(asyncio.CancelledError):
    """Raised at the awaits of an agent that a person, or its parent, has cancelled. Its `finally` blocks run, durably; ended
    by it, the agent is *cancelled*. ``why`` is what was said."""

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why


class NoSuchAgent(EngineError):
    """A letter was to go to an agent that is unknown, or has ended."""


class NoAnswer(EngineError):
    """An agent that was asked has ended, however it ended, and has not answered. ``agent_id`` is its id."""

    def __init__(self, agent_id: str, how: str) -> None:
        super().__init__(f"agent {agent_id} has ended ({how}) and did not answer")
        self.agent_id = agent_id
        self.how = how

    def __reduce__(self) -> Any:
        return NoAnswer, (self.agent_id, self.how)


class ChildFailed(EngineError):
    """A child that was awaited has failed or was cancelled. ``agent_id`` is its id, ``status`` how it ended, ``kind`` the
    type of its error."""

    def __init__(self, agent_id: str, status: str, kind: str, message: str) -> None:
        super().__init__(f"child {agent_id} {status}: {kind}: {message}" if kind else f"child {agent_id} {status}")
        self.agent_id = agent_id
        self.status = status
        self.kind = kind
        self.message = message

    def __reduce__(self) -> Any:
        return ChildFailed, (self.agent_id, self.status, self.kind, self.message)
