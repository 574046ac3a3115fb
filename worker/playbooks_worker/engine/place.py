"""Where in an agent the running code stands: the place that new calls and new tasks belong to.

A playbook's own statements stand in its `Frame`; plain code that a site awaits, or that is a branch of its own, stands in a
`Below`, and further tasks of it at a `Plain` place there. What is made below is kept, so that a resume, which runs plain
coroutines again, finds it again: by the path of tasks, playbook and number (DESIGN 3.3, "Resume").
"""

from __future__ import annotations

from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.branches import Branch
    from playbooks_worker.engine.frames import Call, Frame
    from playbooks_worker.engine.playbooks import Playbook

Path: TypeAlias = tuple[str, ...]
# (True, value) or (False, exception); (None, CancelledError) of a call or task that was cancelled
Outcome: TypeAlias = "tuple[bool | None, Any]"


# The path of the task that made a call, its playbook, and which one of those.
Made: TypeAlias = tuple[Path, str, int]

# What most places hold: nothing is ever put into these.
NOTHING: Any = MappingProxyType({})
_NONE: Any = ()


class Place(Protocol):
    def call(self, playbook: Playbook, arguments: tuple[Any, ...]) -> Call: ...


here: ContextVar[Any] = ContextVar("playbooks_here", default=None)


class Region:
    """An atomic region: open until it has been left as often as it was entered. It began at this line of *frame*."""

    __slots__ = ("depth", "frame", "line")

    def __init__(self, frame: Frame) -> None:
        self.depth = 1
        self.frame = frame
        active = None if frame.coroutine is None else frame.coroutine.cr_frame
        self.line: int = 0 if active is None else active.f_lineno


class Below:
    """What was made since the last completed site of *frame*, or by the plain coroutine of *branch*, which a statement
    of *frame* has made. No frame: a branch that came back after the call that made it had ended."""

    __slots__ = (
        "agent",
        "atomic",
        "branch",
        "branches",
        "claims",
        "counts",
        "expected",
        "frame",
        "made",
        "numbers",
        "tasks",
    )

    def __init__(
        self, agent: Agent, frame: Frame | None, *, branch: Branch | None = None, atomic: Region | None = None
    ) -> None:
        self.agent = agent
        self.frame = frame
        self.branch = branch
        self.atomic = atomic  # while it is open, nothing of this is in any checkpoint
        # made for each await, and what follows stays empty below most: kept by the methods that say so, read by anybody
        self.counts: dict[tuple[Path, str], int] = NOTHING
        self.tasks: dict[Path, int] = NOTHING
        self.made: dict[Made, Call] = NOTHING
        self.expected: dict[Made, Call] = NOTHING
        # branches that the frame's own statements have made; those that an expression will make again, by number
        self.branches: list[Branch] = _NONE
        self.claims: dict[int, Branch] = NOTHING
        self.numbers: tuple[int, ...] = ()  # the numbers that come again first, where they are not 0, 1, 2, …

    @property
    def below(self) -> Below:
        return self

    @property
    def path(self) -> Path:
        return DIRECT

    def call(self, playbook: Playbook, arguments: tuple[Any, ...]) -> Call:
        return self.agent.made_below(self, DIRECT, playbook, arguments)

    @property
    def runs_again(self) -> bool:
        """Whether the plain code here would run again after a resume now."""
        if self.branch is not None:  # one whose outcome is being written does not
            return self.branch.alive and not self.branch.ended and self.branch.outcome is None
        return self.frame is not None and self.frame.below is self

    @property
    def depth(self) -> int:
        """The depth of a call that is made here."""
        return 0 if self.frame is None else self.frame.depth + 1

    def keep(self, made: Made, call: Call) -> None:
        if self.made is NOTHING:
            self.made = {}
        self.made[made] = call
        self.count(made[:2], made[2] + 1)

    def count(self, key: tuple[Path, str], number: int) -> None:
        if self.counts is NOTHING:
            self.counts = {}
        self.counts[key] = number

    def expect(self, made: Made, call: Call) -> None:
        if self.expected is NOTHING:
            self.expected = {}
        self.expected[made] = call

    def add(self, branch: Branch) -> None:
        if self.branches is _NONE:
            self.branches = []
        self.branches.append(branch)

    def claim(self, branch: Branch) -> None:
        if self.claims is NOTHING:
            self.claims = {}
        self.claims[branch.number] = branch

    def next_path(self, parent: Path) -> Path:
        number = self.tasks.get(parent, 0)
        if self.tasks is NOTHING:
            self.tasks = {}
        self.tasks[parent] = number + 1
        return (*parent, str(number))

    def next_number(self) -> int:
        """The number of the next branch of this frame."""
        made, known = len(self.branches), self.numbers
        if made < len(known):
            return known[made]
        return known[-1] + 1 + made - len(known) if known else made


def in_region(place: Any) -> bool:
    """Whether the code that stands at *place* runs in an atomic region."""
    below: Below | None = getattr(place, "below", None)
    while below is not None:
        if below.atomic is not None and below.atomic.depth:
            return True
        below = None if below.frame is None else below.frame.call_.owner
    return False


class Plain:
    """A task of plain code: ``path`` tells which one."""

    __slots__ = ("below", "path")

    def __init__(self, below: Below, path: Path) -> None:
        self.below = below
        self.path = path

    def call(self, playbook: Playbook, arguments: tuple[Any, ...]) -> Call:
        return self.below.agent.made_below(self.below, self.path, playbook, arguments)


# The path of a playbook's own statement, and of the code that a site awaits.
OWN: Path = ("own",)
DIRECT: Path = ("site",)
