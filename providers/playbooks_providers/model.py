"""The shared vocabulary: what passes between worker, coordinator and the homes of state.

Every answer is a type of its own. Nothing here does I/O, and nothing here is a persisted shape except where it says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId


class Status(StrEnum):
    """Where an agent is in its life (the table of transitions is `lifecycle.py`)."""

    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    BLOCKED = "blocked"
    QUARANTINED = "quarantined"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class OrderKind(StrEnum):
    """What a person, or another agent, can want of an agent whatever it does now."""

    PAUSE = "pause"  # stop after the next checkpoint, until a person lets it go on
    CANCEL = "cancel"  # raise AgentCancelled at its awaits, so that its `finally` blocks run
    TERMINATE = "terminate"  # run no statement of it any more; tell who waits for it, then end it as cancelled


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of an agent; kept with it, as JSON (format 1), until its owner has obeyed.

    ``id`` is random and made by whoever orders: the same order again, after an unknown outcome, is known by it.
    ``deadline_ms`` is Unix time in milliseconds: an agent that has not ended by then is ended without more ado.
    """

    id: str
    kind: OrderKind
    why: str = ""
    deadline_ms: int | None = None

    def to_json(self) -> str:
        return json.dumps(
            {"format": 1, "id": self.id, "kind": self.kind, "why": self.why, "deadline_ms": self.deadline_ms},
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Order:
        data = json.loads(text)
        return cls(data["id"], OrderKind(data["kind"]), data["why"], data["deadline_ms"])


class Choice(StrEnum):
    """How an agent goes on that was set aside or has failed, as a person has chosen. Holds until its next checkpoint."""

    RESUME = "resume"  # from its checkpoint, with the code that it was written by
    ACCEPT_CHANGED = "accept-changed"  # from its checkpoint, in edited playbooks too where their sites line up
    RESTART = "restart"  # again from its start record


@dataclass(frozen=True, slots=True)
class StartRecord:
    """What an agent was started with; persisted as JSON (format 1) before its first statement runs.

    ``args``/``kwargs`` are JSON values as the caller gave them. ``entry`` is the qualified name of the playbook inside
    the program. ``created_ms`` is Unix time in milliseconds. A child names the agent that has spawned it, and that one's
    birth. ``run`` is the id of the first agent of its run; empty: this one is the first. ``forked`` says
    of what it was forked: JSON of agent, birth and checkpoint. ``sealed``: the arguments encrypted (envelope/start.py), and
    then they stand nowhere else in the JSON. Two records are *the same start*
    when `origin` is equal.
    """

    agent: AgentId
    program: str
    entry: str
    args: list[Any]
    kwargs: dict[str, Any]
    queue: str
    created_ms: int
    parent: str = ""
    parent_birth: int = 0
    run: str = ""
    forked: str = ""
    sealed: str = ""

    @property
    def origin(self) -> str:
        """Canonical JSON of program, entry, arguments, parent and what it was forked from: what is equal when a second
        submit is the same."""
        said: list[Any] = [self.program, self.entry, *([self.sealed] if self.sealed else [self.args, self.kwargs])]
        if self.parent:
            said += [self.parent, self.parent_birth]
        if self.forked:
            said += [self.forked]
        return json.dumps(said, sort_keys=True, separators=(",", ":"))

    def to_json(self) -> str:
        return json.dumps(
            {
                "format": 1,
                "agent": self.agent,
                "program": self.program,
                "entry": self.entry,
                "args": [] if self.sealed else self.args,
                "kwargs": {} if self.sealed else self.kwargs,
                "queue": self.queue,
                "created_ms": self.created_ms,
                "parent": self.parent,
                "parent_birth": self.parent_birth,
                "run": self.run,
                "forked": self.forked,
                **({"sealed": self.sealed} if self.sealed else {}),
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> StartRecord:
        data = json.loads(text)
        return cls(
            agent=AgentId(data["agent"]),
            program=data["program"],
            entry=data["entry"],
            args=data["args"],
            kwargs=data["kwargs"],
            queue=data["queue"],
            created_ms=data["created_ms"],
            parent=data["parent"],
            parent_birth=data["parent_birth"],
            run=data["run"],
            forked=data["forked"],
            sealed=data.get("sealed", ""),
        )


@dataclass(frozen=True, slots=True)
class Ticket:
    """A queue entry: the right to open *agent* once, as long as *fence* is its newest. ``entry`` is the queue's own id."""

    agent: AgentId
    fence: int
    queue: str
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of an agent: a ticket opened by one session with one nonce. Every write of its owner carries *fence*.

    ``resume_from`` is the checkpoint to go on from (None: from the start record). ``attempts`` counts how often the
    agent was taken since an owner last wrote anything, this time included. ``choice`` is how a person has said that it
    is to go on; with `Choice.RESTART` there is no ``resume_from``, though there may be checkpoints. ``birth`` is the
    agent's first fence, or that of its last restart: its name on the wire, beside its id. ``order`` is wanted of it now.
    """

    agent: AgentId
    fence: int
    session: SessionId
    nonce: Nonce
    queue: str
    resume_from: CheckpointId | None
    attempts: int
    start: StartRecord
    choice: Choice = Choice.RESUME
    birth: int = 0
    order: Order | None = None


class Entry(NamedTuple):
    """One stored checkpoint: its id, the signed envelope header (`h`) and the stored payload bytes (`d`).

    (A tuple for the same reason as its id.)"""

    id: CheckpointId
    header: bytes
    payload: bytes


# --- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Saved:
    """The checkpoint is durable, as far as the provider promises."""

    id: CheckpointId


@dataclass(frozen=True, slots=True)
class Lost:
    """Refused: a newer owner exists. The agent must be dropped here without running another statement."""

    agent: AgentId


@dataclass(frozen=True, slots=True)
class Created:
    """*ticket* must be enqueued (again, harmlessly, when ``fresh`` is False and the agent is still ready)."""

    ticket: Ticket | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class Exists:
    """An agent of this id was started with something else."""

    agent: AgentId
    status: Status
    start: StartRecord


@dataclass(frozen=True, slots=True)
class Taken:
    """``by_letter``: it had waited, and a letter has made it ready."""

    lock: Lock
    by_letter: bool = False


@dataclass(frozen=True, slots=True)
class Stale:
    """The ticket is not the agent's newest, or was opened by somebody else: acknowledge it and drop it."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Minted:
    """The agent is ready (or waiting for its delay) under a new fence; *ticket* must be enqueued unless delayed."""

    ticket: Ticket
    due_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The transition no longer applies: the agent moved on (another fence, another status) or does not exist."""

    agent: AgentId


@dataclass(frozen=True, slots=True)
class Done:
    """The transition holds now (it was made, or had been made before)."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Not paused: nobody wants that any more. Nothing has changed; its owner hands the agent over, to go on as it stands."""

    agent: AgentId


# --- views, for people and for rules ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One executor's session as its supervisor registered it. ``started_ms`` is Unix time in milliseconds."""

    session: SessionId
    worker: str
    host: str
    pid: int
    build: str
    started_ms: int


@dataclass(frozen=True, slots=True)
class AgentView:
    """What can be said about an agent without unpickling anything. ``why`` explains blocked, paused, quarantined.

    ``mail`` counts the letters that were accepted and are not known to be in its state. ``wake_ms`` (Unix time): when it
    wakes at the latest, if it waits for a time.
    """

    agent: AgentId
    status: Status
    fence: int
    start: StartRecord
    session: SessionId | None = None
    attempts: int = 0
    why: str = ""
    last: CheckpointId | None = None
    header: bytes = b""
    birth: int = 0
    mail: int = 0
    wake_ms: int | None = None
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What workers publish about a program: its playbooks and their signatures as text, by qualified name.

    ``signatures`` maps a qualified name to a list of parameters
    ``[name, kind, has_default]`` with *kind* the name of `inspect.Parameter.kind` (so that arguments can be bound
    without importing the program).
    """

    program: str
    queue: str
    build: str
    signatures: dict[str, list[tuple[str, str, bool]]] = field(default_factory=dict)
