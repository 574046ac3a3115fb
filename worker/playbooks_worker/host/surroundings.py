"""What every life in a process shares: given by whoever wires a process (executor, run), passed on untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playbooks_providers.contracts import Checkpoints
from playbooks_providers.envelope import Sealer
from playbooks_worker.host.history import PLAIN_BELOW
from playbooks_worker.host.tracing import Tracer

DEFAULT_MAX_BYTES = 64_000_000
DEFAULT_INBOX_LIMIT = 1000
DEFAULT_KEEP_EVENTS = 10_000


@dataclass(frozen=True)
class Surroundings:
    """What every life in a process shares. ``now_ms`` is Unix time in milliseconds, for people.

    ``plain_below``: bytes of a payload below which it is stored as it is, and not as a delta; ``max_bytes``: beyond
    which the agent fails. ``inbox_limit``: letters that wait for one agent, beyond which senders wait. ``park_after_s``: how
    long an agent has only waited when it is given up until something comes for it; None: never. ``keep_events``: of
    what an agent tells people, so many are kept, about."""

    checkpoints: Checkpoints
    sealer: Sealer
    now_ms: Callable[[], int]
    keep_last_n: int = 10
    plain_below: int = PLAIN_BELOW
    strict: bool = False  # a value that cannot be saved is an error, and no marker
    max_bytes: int = DEFAULT_MAX_BYTES
    inbox_limit: int = DEFAULT_INBOX_LIMIT
    park_after_s: float | None = None
    keep_events: int = DEFAULT_KEEP_EVENTS
    keep_when_parked: bool = False  # all checkpoints, not the last one alone
    tracer: Tracer | None = None
    kept: bool = True  # False: nothing is ever resumed (unkept.py)
