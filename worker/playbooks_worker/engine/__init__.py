"""The engine: rewrites playbooks, runs agents, takes and resumes checkpoints. Knows nothing of stores or processes."""

from playbooks_worker.engine import async_headers as _async_headers
from playbooks_worker.engine import async_iterators as _async_iterators  # their helpers join those of emitted code
from playbooks_worker.engine.agent import Agent
from playbooks_worker.engine.changes import Change, diff, place, refusal
from playbooks_worker.engine.contextual import durable
from playbooks_worker.engine.effects import effect_key
from playbooks_worker.engine.errors import (
    AgentCancelled,
    AgentLost,
    AgentStopped,
    CannotSave,
    CheckpointTooLarge,
    ChildFailed,
    CodeChanged,
    DetachedTask,
    EngineError,
    NoAnswer,
    NoSuchAgent,
    NotRestoredError,
    OutcomeUnknown,
    PlaybookRefused,
    ResumeMismatch,
)
from playbooks_worker.engine.forking import forked, owed
from playbooks_worker.engine.kept import kept_sources
from playbooks_worker.engine.observing import Observer
from playbooks_worker.engine.outcomes import Blocked, Cancelled, Completed, Failed, Moment, Outcome, Persist, Stopped
from playbooks_worker.engine.playbooks import Playbook, playbook, playbook_of, playbooks_in
from playbooks_worker.engine.resources import close_resources, resource
from playbooks_worker.engine.restore import changes_of
from playbooks_worker.engine.steps import step
from playbooks_worker.engine.talk.children import Handle, gather, spawn
from playbooks_worker.engine.talk.emit import emit
from playbooks_worker.engine.talk.letters import Message, ask, person, receive, send
from playbooks_worker.engine.talk.mailbox import Mailing, Outgoing, Owes, Question, Received
from playbooks_worker.engine.talk.sleeping import now, sleep, sleep_until
from playbooks_worker.engine.talk.waiting import agent_id
from playbooks_worker.engine.talk.world import World

assert _async_headers and _async_iterators

__all__ = [
    "Agent",
    "AgentCancelled",
    "AgentLost",
    "AgentStopped",
    "Blocked",
    "Cancelled",
    "CannotSave",
    "Change",
    "CheckpointTooLarge",
    "ChildFailed",
    "CodeChanged",
    "Completed",
    "DetachedTask",
    "EngineError",
    "Failed",
    "Handle",
    "Mailing",
    "Message",
    "Moment",
    "NoAnswer",
    "NoSuchAgent",
    "NotRestoredError",
    "Observer",
    "Outcome",
    "OutcomeUnknown",
    "Outgoing",
    "Owes",
    "Persist",
    "Playbook",
    "PlaybookRefused",
    "Question",
    "Received",
    "ResumeMismatch",
    "Stopped",
    "World",
    "agent_id",
    "ask",
    "changes_of",
    "close_resources",
    "diff",
    "durable",
    "effect_key",
    "emit",
    "forked",
    "gather",
    "kept_sources",
    "now",
    "owed",
    "person",
    "place",
    "playbook",
    "playbook_of",
    "playbooks_in",
    "receive",
    "refusal",
    "resource",
    "send",
    "sleep",
    "sleep_until",
    "spawn",
    "step",
]
