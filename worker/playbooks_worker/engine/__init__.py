"""The engine: rewrites playbooks, runs agents, takes and resumes checkpoints. Knows nothing of stores or processes."""

from playbooks_worker.engine import async_iterators as _async_iterators  # their helpers join those of emitted code
from playbooks_worker.engine import headers as _headers
from playbooks_worker.engine.agent import Agent
from playbooks_worker.engine.changes import Change, diff, place, refusal
from playbooks_worker.engine.effects import effect_key
from playbooks_worker.engine.errors import (
    AgentLost,
    AgentStopped,
    CannotSave,
    CheckpointTooLarge,
    CodeChanged,
    DetachedTask,
    EngineError,
    NotRestoredError,
    OutcomeUnknown,
    PlaybookRefused,
    ResumeMismatch,
)
from playbooks_worker.engine.kept import kept_sources
from playbooks_worker.engine.outcomes import Blocked, Completed, Failed, Moment, Outcome, Persist, Stopped
from playbooks_worker.engine.playbooks import Playbook, playbook, playbook_of, playbooks_in
from playbooks_worker.engine.resources import close_resources, resource
from playbooks_worker.engine.restore import changes_of
from playbooks_worker.engine.steps import step

assert _headers and _async_iterators

__all__ = [
    "Agent",
    "AgentLost",
    "AgentStopped",
    "Blocked",
    "CannotSave",
    "Change",
    "CheckpointTooLarge",
    "CodeChanged",
    "Completed",
    "DetachedTask",
    "EngineError",
    "Failed",
    "Moment",
    "NotRestoredError",
    "Outcome",
    "OutcomeUnknown",
    "Persist",
    "Playbook",
    "PlaybookRefused",
    "ResumeMismatch",
    "Stopped",
    "changes_of",
    "close_resources",
    "diff",
    "effect_key",
    "kept_sources",
    "place",
    "playbook",
    "playbook_of",
    "playbooks_in",
    "refusal",
    "resource",
    "step",
]
