"""Atomic regions of a playbook's own statements: while one is open no snapshot is taken, and its end is a checkpoint.

Opened by emitted code (`except*` handlers) and by async_iterators.py (loops over what cannot be saved). A crash in a region
resumes at the last await that was completed before it. The regions of `with` headers are the agent's (`Agent.enter_region`):
there the code of a manager runs, not the playbook's.
"""

from __future__ import annotations

import sys
from types import CellType, TracebackType

from playbooks_worker.engine.errors import AgentStopped
from playbooks_worker.engine.frames import HELPERS, Frame
from playbooks_worker.engine.place import Below, Region


def enter(frame: Frame) -> None:
    """From here to `leave` the sites of *frame*, and the playbooks called in them, are not checkpointed by themselves."""
    if frame.atomic is not None:
        frame.atomic.depth += 1
        return
    frame.atomic = Region(frame)
    frame.agent.regions.append(frame.atomic)
    frame.below = Below(frame.agent, frame, atomic=frame.atomic)


def leave(frame: Frame) -> None:
    """What was done in the region is checkpointed before the next effect starts."""
    agent, region = frame.agent, frame.atomic
    assert region is not None
    region.depth -= 1
    if not region.depth:
        agent.regions.remove(region)
        frame.atomic = None
        frame.below = Below(agent, frame)
        agent.owed = agent.gated = True
    agent.left_region()


class Atomic:
    """The manager of an emitted `with` whose body is a region."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __enter__(self) -> None:
        enter(self._frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._frame)


def ended(frame: Frame) -> BaseException:
    """What ends a dead agent, taken out of the groups that Python puts it in where `except*` handlers raise."""
    error = sys.exception()
    if isinstance(error, BaseExceptionGroup) and error.subgroup(GeneratorExit) is not None:
        return GeneratorExit()
    return AgentStopped(frame.agent.why) if isinstance(error, BaseExceptionGroup) or error is None else error


HELPERS[".ended"] = CellType(ended)
HELPERS[".region"] = CellType(Atomic)
