"""The engine: rewrites playbooks, runs agents, takes and resumes checkpoints. Knows nothing of stores or processes."""

from playbooks_worker.engine import headers as _headers  # its helpers join those of emitted code
from playbooks_worker.engine.agent import Agent
from playbooks_worker.engine.errors import (
    AgentLost,
    AgentStopped,
    CannotSave,
    CodeChanged,
    DetachedTask,
    EngineError,
    PlaybookRefused,
    ResumeMismatch,
)
from playbooks_worker.engine.outcomes import Blocked, Completed, Failed, Moment, Outcome, Persist, Stopped
from playbooks_worker.engine.playbooks import Playbook, playbook, playbook_of, playbooks_in

assert _headers

__all__ = [
    "Agent",
    "AgentLost",
    "AgentStopped",
    "Blocked",
    "CannotSave",
    "CodeChanged",
    "Completed",
    "DetachedTask",
    "EngineError",
    "Failed",
    "Moment",
    "Outcome",
    "Persist",
    "Playbook",
    "PlaybookRefused",
    "ResumeMismatch",
    "Stopped",
    "playbook",
    "playbook_of",
    "playbooks_in",
]
