"""The frames of a checkpoint with their variables, loaded to be looked at: no agent runs, and nothing of a playbook.

For `playbooksctl show --locals`, on a payload whose signature has been verified, in a process that has loaded the program.
Loading makes objects of the program's classes (their `__setstate__` runs, as at any resume), and that is all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playbooks_worker.engine import restore
from playbooks_worker.engine.agent import Agent
from playbooks_worker.engine.branches import Branch
from playbooks_worker.engine.diagnosis import contents
from playbooks_worker.engine.errors import AgentStopped, CodeChanged
from playbooks_worker.engine.frames import Frame
from playbooks_worker.engine.operations import operation_of
from playbooks_worker.engine.outcomes import Moment
from playbooks_worker.engine.reducers import Target
from playbooks_worker.engine.reentry import NOT_BOUND
from playbooks_worker.engine.standing import row


@dataclass(frozen=True, slots=True)
class HeldByHeader:
    """In the place of what a `with` header holds, and would bring anew."""

    line: int

    def __repr__(self) -> str:
        return f"<made anew by the `with` in line {self.line}>"


@dataclass(frozen=True, slots=True)
class SeenTask:
    """In the place of a task."""

    branch: Branch

    def __repr__(self) -> str:
        branch = self.branch
        runs = branch.call.playbook.id if branch.call is not None else "a coroutine"
        if branch.making is not None:
            runs = branch.making[0].__qualname__
        outcome = branch.outcome or (branch.call.outcome if branch.call is not None else None)
        if outcome is None:
            return f"<task {branch.name} of {runs}, under way>"
        done, value = outcome
        ended = "was cancelled" if done is None else f"returned {value!r}" if done else f"raised {value!r}"
        return f"<task {branch.name}, {ended}>"


class _Loader(restore.Loader):
    def task(self, identity: int) -> SeenTask:
        return SeenTask(self.branches[identity])


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """One frame. ``outcome``: (whether it returned, value or exception) of its await, when that had completed."""

    playbook: str
    line: int
    statement: str
    depth: int
    variables: dict[str, Any]
    outcome: tuple[Any, Any] | None


def look(agent_id: str, payload: bytes) -> list[SeenFrame]:
    """The frames, outermost first. Raises `CodeChanged` or `ResumeMismatch` where a resume would be refused."""
    agent = Agent(agent_id, persist=_writes_nothing)
    loader = restore.open_payload(agent, payload, loader=_Loader)
    try:
        loader.rest()
    except AgentStopped as stopped:  # how a resume is told that something cannot be loaded
        raise CodeChanged(f"its checkpoint cannot be loaded with this program ({stopped})") from stopped
    return [_seen(frame) for number in loader.running if (frame := loader.calls[number].frame) is not None]


def _seen(frame: Frame) -> SeenFrame:
    operation = operation_of(frame)
    if operation is not None:
        arguments = {name: _shown(frame, value) for name, value in operation.arguments().items()}
        return SeenFrame(*row(frame), arguments, frame.outcome)
    rewritten = frame.playbook.rewritten
    kept = {**(frame.saved or {}), **contents(frame)}
    names = (*rewritten.names.parameters, *rewritten.names.plain, *rewritten.names.cells)
    variables = {
        name: _shown(frame, kept[name]) for name in dict.fromkeys(names) if kept.get(name, NOT_BOUND) is not NOT_BOUND
    }
    return SeenFrame(*row(frame), variables, frame.outcome)


def _shown(frame: Frame, value: Any) -> Any:
    if type(value) is not Target:
        return value
    holder = frame.agent.running[value.call].playbook if value.call in frame.agent.running else frame.playbook
    return HeldByHeader(holder.rewritten.headers[value.header - 1].line)


def _writes_nothing(moment: Moment, payload: bytes) -> None:
    raise AssertionError(f"checkpoint {moment.seq} of an agent that is only looked at")
