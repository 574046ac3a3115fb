"""`spawn`, and the handle of a child: an agent of its own, which tells its parent how it has ended.

Its id comes of where it was spawned, so that a spawn that is repeated after a crash means the same child.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.effects import key_of_operation
from playbooks_worker.engine.errors import ChildFailed, NoSuchAgent
from playbooks_worker.engine.playbooks import playbook_of
from playbooks_worker.engine.talk.plain import plain
from playbooks_worker.engine.talk.waiting import Talk, Wait, in_agent

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Frame

_SHOWN = 80  # characters of the parent's id in its child's


@dataclass(frozen=True, slots=True)
class Handle:
    """A child of this agent. Awaiting it waits for its end: the result of its playbook, or `ChildFailed`. It may be kept in
    variables, awaited again and again, and by several branches.

    A child tells how it has ended once. One that had failed and is retried by a person goes on for itself: its parent, which
    may have acted on the failure, hears nothing more."""

    agent_id: str

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.result().__await__()

    def result(self) -> Awaitable[Any]:
        """The same as awaiting it, as a call: for `asyncio.gather` and its like."""
        made: Awaitable[Any] = in_agent("await a child", lambda: _Join(self.agent_id))
        return made

    def cancel(self, why: str = "") -> Awaitable[None]:
        """Cancel it: `AgentCancelled` is raised at its awaits and in its own children, wherever they are. Answers when it is
        certain to be told; await the handle to learn how it has ended. One that has ended stays as it is."""
        made: Awaitable[None] = in_agent("cancel a child", lambda: _CancelChild(self.agent_id, why))
        return made

    def status(self) -> Awaitable[str]:
        """Where it stands now, in the words of ``playbooksctl list`` ("running", "waiting", "completed" and their like). An
        agent may be somewhere else a moment later. Raises `NoSuchAgent` when it was deleted."""
        made: Awaitable[str] = in_agent("look at a child", lambda: _Status(self.agent_id))
        return made


class _Spawn(Talk):
    __slots__ = ("args", "child", "entry", "kwargs", "program", "queue")

    def __init__(
        self, program: str, entry: str, args: list[Any], kwargs: dict[str, Any], child: str | None, queue: str | None
    ) -> None:
        super().__init__()
        self.program = program
        self.entry = entry
        self.args = args
        self.kwargs = kwargs
        self.child = child
        self.queue = queue

    def __reduce__(self) -> Any:
        return _Spawn, (self.program, self.entry, self.args, self.kwargs, self.child, self.queue)

    async def once(self, frame: Frame) -> None:
        agent = frame.agent
        child = self.child
        if child is None:
            digest = key_of_operation(frame.call_).rpartition("/")[2]
            child = f"{agent.id[:_SHOWN]}.{self.entry}-{digest}"
        elif await self._is_taken(frame, child):
            self.result = (False, ValueError(f"spawn: agent {child} exists already; choose another agent_id"))
            return
        start = {
            "program": self.program,
            "entry": self.entry,
            "args": self.args,
            "kwargs": self.kwargs,
            "queue": self.queue,
        }
        agent.letters.spawn(child, start)
        self.result = (True, Handle(child))

    async def _is_taken(self, frame: Frame, child: str) -> bool:
        return (
            await frame.agent.world.status(child) is not None
        )  # one that has ended is known, too, until it is forgotten

    def named(self) -> str:
        return "spawn"

    def told(self) -> str:
        return f"spawn {self.program}:{self.entry}"

    def arguments(self) -> dict[str, Any]:
        return {"playbook": f"{self.program}:{self.entry}", "args": self.args, **self.kwargs}


def spawn(
    function: Callable[..., Any], /, *args: Any, agent_id: str | None = None, queue: str | None = None, **kwargs: Any
) -> Awaitable[Handle]:
    """Start the playbook *function* as an agent of its own, on any worker that serves *queue* (default: this agent's).

    Answers its `Handle` when it is certain to run. Raises TypeError for what is no playbook of a module, for arguments that
    do not fit or that JSON cannot hold; ValueError when an agent *agent_id* exists."""
    made = playbook_of(function)
    if made is None:
        raise TypeError(f"spawn: {getattr(function, '__qualname__', function)!r} is not a playbook: decorate it")
    program, _, entry = made.id.partition(":")
    if "." in entry:
        raise TypeError(f"spawn: {made.id} is a method: an agent begins with a playbook of a module")
    made.bind(*args, **kwargs)
    given = plain(list(args), "spawn"), plain(kwargs, "spawn")
    answer: Awaitable[Handle] = in_agent("spawn", lambda: _Spawn(program, entry, *given, agent_id, queue))
    return answer


_FORGOTTEN = {
    "status": "unknown",
    "type": "Forgotten",
    "message": "it ended long ago, and more than 1,000 children have ended since: await a handle in time",
}


class _Join(Wait):
    __slots__ = ("child",)

    def __init__(self, child: str) -> None:
        super().__init__(None)
        self.child = child

    def __reduce__(self) -> Any:
        return _Join, (self.child,)

    async def once(self, frame: Frame) -> None:
        agent = frame.agent
        box = agent.letters
        if self.child in box.children:
            await agent.world.fetch()
        ended = box.ended.get(self.child)
        if ended is None and self.child not in box.children:
            ended = await agent.world.ended(self.child) or _FORGOTTEN
        if ended is None:
            await self.waits(agent)
        elif ended["status"] == "completed":
            self.result = (True, ended["value"])
        else:
            self.result = (False, ChildFailed(self.child, ended["status"], ended["type"], ended["message"]))

    def named(self) -> str:
        return "child"

    def told(self) -> str:
        return f"child {self.child}"

    def arguments(self) -> dict[str, Any]:
        return {"child": self.child}


class _CancelChild(Talk):
    __slots__ = ("child", "why")

    def __init__(self, child: str, why: str) -> None:
        super().__init__()
        self.child = child
        self.why = why

    def __reduce__(self) -> Any:
        return _CancelChild, (self.child, self.why)

    async def once(self, frame: Frame) -> None:
        agent = frame.agent
        if self.child in agent.letters.children:
            why = self.why or f"its parent {agent.id} has cancelled it"
            agent.letters.cancel_child(self.child, key_of_operation(frame.call_), why)
        self.result = (True, None)

    def named(self) -> str:
        return "cancel"

    def told(self) -> str:
        return f"cancel {self.child}"

    def arguments(self) -> dict[str, Any]:
        return {"child": self.child, "why": self.why}


class _Status(Talk):
    __slots__ = ("child",)

    def __init__(self, child: str) -> None:
        super().__init__()
        self.child = child

    def __reduce__(self) -> Any:
        return _Status, (self.child,)

    async def once(self, frame: Frame) -> None:
        box = frame.agent.letters
        status = box.ended[self.child]["status"] if self.child in box.ended else None
        if status is None:
            status = await frame.agent.world.status(self.child)
        if status is None and any(one.kind == "spawn" and one.receiver == self.child for one in box.outbox):
            status = "ready"  # it is about to be
        if status is None:
            self.result = (False, NoSuchAgent(f"agent {self.child} does not exist any more: it was deleted"))
        else:
            self.result = (True, status)

    def named(self) -> str:
        return "status"

    def told(self) -> str:
        return f"status of {self.child}"

    def arguments(self) -> dict[str, Any]:
        return {"child": self.child}


def gather(*awaited: Any, return_exceptions: bool = False) -> asyncio.Future[list[Any]]:
    """`asyncio.gather` that takes handles of children beside calls of playbooks: results in order; the first failure, or
    with *return_exceptions* all of them."""
    return asyncio.gather(
        *(one.result() if isinstance(one, Handle) else one for one in awaited), return_exceptions=return_exceptions
    )
