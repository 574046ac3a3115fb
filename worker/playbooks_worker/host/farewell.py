"""What is told of an end: to the parent, how its child has ended; to who asked, that there is no answer. Letters whose
sender is the end, or the question, itself, so that there is one of each, ever.

Of one that had failed and is retried or restarted, the second end is dropped by its parent, which knows that this child has
ended: it may have acted on the failure, and an await that has raised does not change its mind.
"""

from __future__ import annotations

from typing import Any

from playbooks_providers.envelope import Body, Header, Owed, Sealer, seal_letter
from playbooks_providers.errors import BadCheckpoint
from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Letter
from playbooks_providers.model import AgentView, Entry, StartRecord, Status
from playbooks_worker.host.answers import answered
from playbooks_worker.host.patience import patiently
from playbooks_worker.host.post import Home


def as_cancelled(why: str) -> dict[str, Any]:
    """What is told of a child that was ended without its own doing."""
    return {"status": Status.CANCELLED.value, "type": "AgentCancelled", "message": why}


def value_of(header: Header, status: Status) -> dict[str, Any]:
    """What is told of an agent whose last checkpoint has this header."""
    if status is Status.COMPLETED:
        return {"status": status.value, "value": header.result}
    error = header.error or {}
    return {"status": status.value, "type": error.get("type", ""), "message": error.get("message", "")}


def how_it_ended(sealer: Sealer, view: AgentView) -> dict[str, Any] | None:
    """The same of one that its home still knows. None: what it knows does not verify."""
    if view.last is None:
        return as_cancelled(view.why)
    try:
        return value_of(sealer.verify(Entry(view.last, view.header, b""), view.agent), view.status)
    except BadCheckpoint:
        return None


def farewell(sealer: Sealer, start: StartRecord, birth: int, value: dict[str, Any]) -> Letter:
    """Of the child that was started with *start* and has *birth*. *value*: its status, and its result or error."""
    body = Body("ended", start.agent, value)
    return seal_letter(sealer, AgentId(start.parent), f"{start.agent}:end", birth, 1, body, pressing=True, once=True)


def unanswered_letter(sealer: Sealer, question: Owed, birth: int, how: str) -> Letter:
    """To who asked: the one that was asked, which has *birth*, has ended *how*. One for each question, ever."""
    body = Body("unanswered", question.id, how)
    return seal_letter(
        sealer, AgentId(question.asker), f"unanswered:{question.id}", birth, 1, body, pressing=True, once=True
    )


async def tell_parent(home: Home, sealer: Sealer, start: StartRecord, birth: int, value: dict[str, Any]) -> None:
    """For who has ended a child that nobody holds. May be repeated."""
    letter = farewell(sealer, start, birth, value)
    parent = AgentId(start.parent)
    await patiently(lambda: answered(home, parent, letter, birth=start.parent_birth), "tell a parent")
