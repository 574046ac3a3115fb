"""Calls and frames: the agent's own call stack, and the awaits of rewritten playbooks.

A `Call` is what calling a playbook makes; a `Frame` is its activation. `go` runs one site: emitted code awaits nothing
else. Nested playbooks cost two Python frames each, the emitted coroutine and `go` (DESIGN 3.3).
"""

from __future__ import annotations

import asyncio
import collections.abc
import types
from collections.abc import Callable, Generator
from types import CellType, CodeType, CoroutineType
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine import contextual, iterators, observing, remaking, seen
from playbooks_worker.engine.driving import drive, steps_of
from playbooks_worker.engine.endings import Ending
from playbooks_worker.engine.errors import AgentStopped, AwaitedTwice
from playbooks_worker.engine.place import NOTHING, OWN, Below, Outcome, Region, here
from playbooks_worker.engine.raising import came_to, raise_as_it_was
from playbooks_worker.engine.reentry import NOT_BOUND, PutBack, Reentry
from playbooks_worker.engine.syntax import SEEN, UNBOUND

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.described import Still
    from playbooks_worker.engine.playbooks import Playbook


class Frame(Reentry):
    """One activation of a playbook. ``turn`` counts the sites entered; ``saved`` is what a checkpoint said of it, until
    the emitted code has taken it back."""

    __slots__ = (
        "atomic",
        "below",
        "brought",
        "depth",
        "ending",
        "headers",
        "in_flight",
        "pc",
        "saved",
        "still",
        "task",
        "thrown",
        "turn",
        "value",
    )

    def __init__(self, agent: Agent, call: Call, depth: int) -> None:
        self.agent = agent
        self.call_ = call
        self.playbook = call.playbook
        self.depth = depth
        self.pc = 0
        self.spot = 0
        self.site = 0
        self.turn = 0
        self.in_flight = False
        self.evaluating = None
        self.atomic: Region | None = None  # of its own statements (regions.py)
        self.value: Any = None
        self.outcome: Outcome | None = None
        self.ending = 0  # of its site, while it has an outcome (endings.py)
        self.saved: dict[str, Any] | None = None
        self.still: Still | None = None  # what the last checkpoint said of it, while it waits at its site
        self.came = NOTHING
        self.cells: dict[str, CellType] = {}
        self.headers: list[tuple[int, tuple[Any, ...], Any]] = []  # open: number, targets, manager
        self.yielded = NOTHING
        self.context = NOTHING
        self.coroutine: Any = None
        self.task: asyncio.Task[Any] | None = None  # that runs it
        self.below: Below = Below(agent, self)
        self.thrown = -1  # the last turn that an error ended which was thrown in (raising.py)
        self.brought = (-1, 0)  # in which turn plain code has got such an error, and its identity
        self._put_back: PutBack | None = None

    def turned(self) -> None:
        """Its site is over: what was made below it belongs to the past."""
        agent = self.agent
        self.in_flight = False
        self.value = None
        self.still = None
        self.below = Below(agent, self, atomic=self.atomic)
        if not agent.dead:  # dead: closed by a collector, perhaps, in the context of whatever runs just then
            here.set(self)
            if contextual.DECLARED:
                contextual.noted(self)

    def over(self, code: CodeType) -> Callable[..., Any]:
        return self.playbook.activation(self, self.cells, HELPERS, code)

    # --- a place ---------------------------------------------------------------------------------------------------
    def call(self, playbook: Playbook, arguments: tuple[Any, ...]) -> Call:
        return self.agent.made_below(self.below, OWN, playbook, arguments)


class Call(collections.abc.Coroutine):  # type: ignore[type-arg]  # accepted wherever asyncio takes a coroutine
    """A call of a playbook inside an agent: new, running (a frame) or finished (an outcome). Pickles as its id.

    ``given`` is what its arguments were when a plain coroutine made it: that code runs again after a resume and must
    make the same call."""

    __slots__ = (
        "__weakref__",
        "again",
        "agent",
        "arguments",
        "awaiting",
        "context",
        "driver",
        "ending",
        "frame",
        "given",
        "id",
        "key",
        "outcome",
        "owner",
        "playbook",
        "told",
    )

    def __init__(self, agent: Agent, number: int, playbook: Playbook, arguments: tuple[Any, ...]) -> None:
        self.agent = agent
        self.id = number
        self.key = ""  # effects.py: what names it in effect keys
        self.playbook = playbook
        self.arguments = arguments
        self.frame: Frame | None = None
        self.outcome: Outcome | None = None
        self.ending = 0  # that of an outcome which is an error (endings.py)
        self.driver: Any = None
        self.awaiting: tuple[Any, Any] | None = None  # the task whose plain code awaits it
        self.owner: Below | None = None
        self.given: bytes | None = None
        self.again = False  # loaded: the plain code that made it, or has cancelled it, runs again
        self.context: contextual.Values | None = None  # at its end, of who awaited it
        self.told: Any = None  # the place of the plain code that has cancelled it (a timeout, a sibling); loaded: True

    @property
    def __name__(self) -> str:
        """What asyncio calls it, in the `repr` of a task and in what it logs of one."""
        return self.playbook.function.__qualname__

    def __repr__(self) -> str:
        state = "finished" if self.outcome is not None else "running" if self.frame is not None else "new"
        return f"<call {self.id} of {self.playbook.id}, {state}>"

    def begin(self, owner: Below | None, depth: int, task: asyncio.Task[Any] | None) -> Any:
        """The coroutine of its activation, new or restored, which *task* is to run."""
        frame = self.frame
        if self.agent.observer is not None:
            observing.call_began(self.agent.observer, self, owner, again=frame is not None)
        if frame is None:
            frame = self.frame = Frame(self.agent, self, depth)
            names = self.playbook.rewritten.names
            if names.cells:
                given = dict(zip(names.parameters, self.arguments, strict=True))
                frame.cells = {name: CellType(given[name]) if name in given else CellType() for name in names.cells}
        elif frame.coroutine is not None:
            raise AwaitedTwice(self)
        self.owner = owner
        frame.task = task
        self.agent.running[self.id] = self
        self.agent.ordered = None
        frame.coroutine = self.playbook.activation(frame, frame.cells, HELPERS)()
        return frame.coroutine

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if not outcome[0]:
            self.agent.endings += 1
            self.ending = self.agent.endings
        self.frame = None
        if self.given is None:
            self.arguments = ()  # otherwise matching.py may ask for them
        self.agent.running.pop(self.id, None)
        self.agent.ordered = None
        if self.agent.observer is not None:
            observing.call_ended(self.agent.observer, self, outcome)

    # --- a coroutine for asyncio -----------------------------------------------------------------------------------
    def send(self, value: Any) -> Any:
        if self.driver is None:
            self.driver = drive(self)
        return self.driver.send(value)

    def throw(self, *error: Any) -> Any:
        if self.driver is None:
            self.driver = drive(self)
        return self.driver.throw(*error)

    def close(self) -> None:
        if self.driver is not None:
            self.driver.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        """In the same task the same one: `anext(iterator, default)` asks for it before each of its steps."""
        task, known = asyncio.current_task(), self.awaiting
        if known is not None and known[0] is task and known[1].gi_frame is not None:
            found: Generator[Any, Any, Any] = known[1]
            return found
        made = drive(self)
        self.awaiting = (task, made)
        return made


def _ask(future: asyncio.Future[Any]) -> None:
    """A gather, say, ends after the dead frame that awaited it: not to be reported as never asked about."""
    if not future.cancelled():
        future.exception()


@types.coroutine
def go(frame: Frame, number: int, value: Any) -> Generator[Any, Any, Any]:
    """Run site *number* on *value*: record its outcome, have it checkpointed, and only then let user code go on."""
    agent = frame.agent
    if frame.pc:  # entered again
        frame.pc = 0
        again = agent.restoring
        agent.reached(frame, value)
        if frame.outcome is not None:
            yield from agent.goes_on(Ending(frame.ending, frame.call_.id))
            done, result = frame.outcome
            frame.outcome = None
            if done:
                return result
            raise_as_it_was(result)
    else:
        again = False
        frame.turn += 1
        frame.site = number
        if contextual.DECLARED:
            contextual.noted(frame)
    frame.value = value
    frame.in_flight = True
    kind = type(value)
    try:
        if agent.gated:
            yield from agent.may_start(again)
        if kind is Call:
            if agent.restoring_calls:
                agent.complete(value)
                if agent.restoring and value.frame is None:
                    yield from agent.others_first(value)
            if value.outcome is not None:
                done, result = value.outcome
                if not done:
                    raise_as_it_was(result)
            else:
                coroutine = value.begin(frame.below, frame.depth + 1, frame.task)
                here.set(value.frame)
                result = yield from coroutine
                value.end((True, result))
        else:
            here.set(frame.below)
            if agent.observer is not None:
                observing.effect_began(agent.observer, frame, value, again=again)
            result = yield from value if kind is CoroutineType else steps_of(value)
        if frame.below.expected:
            agent.all_made(frame.below)
        if agent.dead:
            raise AgentStopped(agent.why)
        outcome: Outcome = (True, result)
        if agent.observer is not None and kind is not Call:
            agent.observer.effect_ended(frame.call_.id, None)
    except BaseException as error:
        if kind is CoroutineType:
            value.close()  # it may not have started
        if agent.must_stop(error):
            if isinstance(value, asyncio.Future):
                value.add_done_callback(_ask)
            raise AgentStopped(agent.why) from None
        came_to(frame, error, value.frame if kind is Call else None)
        if kind is Call and value.outcome is None and getattr(error, "call", None) is not value:
            value.end((False, error))
        elif agent.observer is not None:
            agent.observer.effect_ended(frame.call_.id, error)
        if isinstance(error, asyncio.CancelledError):  # never the outcome of a site
            frame.turned()
            if agent.restoring:  # its handlers wait for the other frames
                yield from agent.barrier()
            agent.owed = agent.gated = True  # a checkpoint taken meanwhile has not seen its handlers
            if (seen := agent.as_raised(frame, error)) is not error:
                raise seen from None
            raise
        outcome = (False, error)
    frame.outcome = outcome
    agent.endings += 1
    frame.ending = agent.endings
    frame.turned()
    if not frame.playbook.of_operation:  # the end of its call is the checkpoint
        yield from agent.commit()
    frame.outcome = None
    if outcome[0]:
        return outcome[1]
    raise_as_it_was(outcome[1])


HELPERS: dict[str, CellType] = {
    ".go": CellType(go),
    ".iter": CellType(iterators.saved_iter),
    ".again": CellType(iterators.again),
    ".set": CellType(set),
    ".cell": CellType(CellType),
    ".made": CellType(remaking.made),
    ".whole": CellType(remaking.whole),
    ".remade": CellType(remaking.remade),
    ".spread": CellType(remaking.spread),
    ".BaseException": CellType(BaseException),
    ".AssertionError": CellType(AssertionError),
    SEEN: CellType(seen.as_seen),
    UNBOUND: CellType(NOT_BOUND),
}
