"""Playbooks Enterprise: durable, distributed execution for agents written in async Python.

What a program imports. Everything else of this package is reached through the commands; they must answer at once, so the
engine is imported when one of its names is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playbooks_worker.engine import (
        AgentCancelled,
        CannotSave,
        ChildFailed,
        Handle,
        Message,
        NoAnswer,
        NoSuchAgent,
        NotRestoredError,
        OutcomeUnknown,
        PlaybookRefused,
        agent_id,
        ask,
        durable,
        effect_key,
        emit,
        gather,
        now,
        person,
        playbook,
        receive,
        resource,
        send,
        sleep,
        sleep_until,
        spawn,
        step,
    )

__all__ = [
    "AgentCancelled",
    "CannotSave",
    "ChildFailed",
    "Handle",
    "Message",
    "NoAnswer",
    "NoSuchAgent",
    "NotRestoredError",
    "OutcomeUnknown",
    "PlaybookRefused",
    "agent_id",
    "ask",
    "durable",
    "effect_key",
    "emit",
    "gather",
    "now",
    "person",
    "playbook",
    "receive",
    "resource",
    "send",
    "sleep",
    "sleep_until",
    "spawn",
    "step",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from playbooks_worker import engine

    value = globals()[name] = getattr(engine, name)
    return value
