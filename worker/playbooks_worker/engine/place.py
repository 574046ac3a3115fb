"""Where in an agent the running code stands: the place that new calls and new tasks belong to.

A playbook's own statements stand in its `Frame`; a task made below a site stands in a `Branch`. What is made below a
site in flight is kept in its `Below`, so that a resume, which runs plain coroutines again, finds it again: by the path of
tasks, playbook and number (DESIGN 3.3, "Resume").
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio

    from playbooks_worker.engine.frames import Call, Frame
    from playbooks_worker.engine.playbooks import Playbook

Path: TypeAlias = tuple[str, ...]
# (True, value) or (False, exception); (None, CancelledError) of a call whose task was cancelled
Outcome: TypeAlias = "tuple[bool | None, Any]"


class Place(Protocol):
    def call(self, playbook: Playbook, arguments: tuple[Any, ...]) -> Call: ...


here: ContextVar[Any] = ContextVar("playbooks_here", default=None)


class Below:
    """What was made since the last completed site of *frame* and belongs to the site that is next or in flight."""

    __slots__ = ("atomic", "counts", "expected", "finished", "frame", "made", "outcomes", "plain", "tasks")

    def __init__(self, frame: Frame, atomic: bool = False) -> None:
        self.frame = frame
        self.atomic = atomic  # below a header that is entered again or left: nothing of it is in any checkpoint
        self.counts: dict[tuple[Path, str], int] = {}
        self.tasks: dict[Path, int] = {}
        self.made: dict[tuple[Path, str, int], Call] = {}
        self.outcomes: dict[Path, Outcome] = {}
        self.expected: dict[tuple[Path, str, int], Call] = {}
        self.finished: dict[Path, Outcome] = {}
        # live tasks over plain coroutines that the frame's own statement made, with the line that made them
        self.plain: dict[asyncio.Task[Any], tuple[Path, int]] = {}

    def next_path(self, parent: Path) -> Path:
        number = self.tasks.get(parent, 0)
        self.tasks[parent] = number + 1
        return (*parent, str(number))


def in_region(place: Any) -> bool:
    """Whether the code that stands at *place* runs in an atomic region."""
    below: Below | None = getattr(place, "below", None)
    while below is not None:
        if below.atomic:
            return True
        below = below.frame.call_.owner
    return False


class Branch:
    """A task below a site, or the code that a site awaits directly: ``path`` tells which."""

    __slots__ = ("below", "path")

    def __init__(self, below: Below, path: Path) -> None:
        self.below = below
        self.path = path

    def call(self, playbook: Playbook, arguments: tuple[Any, ...]) -> Call:
        frame = self.below.frame
        return frame.agent.made_below(self.below, self.path, playbook, arguments)


# The two places that a frame itself can be: evaluating its own statement, or awaiting what a site evaluates to.
OWN: Path = ("own",)
DIRECT: Path = ("site",)
