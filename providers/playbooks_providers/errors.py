"""What can go wrong at the homes of state. One root; facts as attributes; each message says what to do next.

Two questions decide an error: may the same call be tried again (`Unreachable`, `StorageFull`), and whose fault is it.
A driver's own errors are translated at the adapter's edge, the cause kept. *Answers* that a caller must expect (a
refused lock, a lost agent) are not errors: they are types in `model`.
"""

from __future__ import annotations

from collections.abc import Sequence


class ProviderError(Exception):
    """Root of all errors of this package."""


class InvalidAgentId(ProviderError):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"invalid agent id {text!r}: use 1 to 128 letters, digits, '.', '_' or '-', starting with a letter or digit"
        )
        self.text = text


class Unreachable(ProviderError):
    """The store cannot be reached now; nothing is known about the last request. Retry with backoff."""


class StorageFull(ProviderError):
    """The store has no room (Redis at maxmemory, a full disk). Nothing is lost; retry when there is room."""


class StorageFailed(ProviderError):
    """The store refuses in a way that trying again does not cure: permissions, a broken disk, a file in the way."""


class EntryTooLarge(ProviderError):
    """The store takes no entry of this size; it never will. Nothing of it was stored, and what was before is untouched."""

    def __init__(self, size: int, why: str, cure: str) -> None:
        super().__init__(f"an entry of {size} bytes is refused: {why}; {cure}")
        self.size = size
        self.why = why
        self.cure = cure


class BadCheckpoint(ProviderError):
    """A checkpoint that must not be used: torn, corrupt, or not signed with this key. Nothing of it was unpickled."""

    def __init__(self, agent: str, checkpoint: str, why: str) -> None:
        super().__init__(f"agent {agent}: checkpoint {checkpoint} cannot be used: {why}")
        self.agent = agent
        self.checkpoint = checkpoint
        self.why = why


class BadStart(ProviderError):
    """What an agent was started with cannot be read: it is encrypted, and its key is not here."""

    def __init__(self, agent: str, why: str) -> None:
        super().__init__(f"agent {agent}: what it was started with cannot be read: {why}")
        self.agent = agent
        self.why = why


class BadLetter(ProviderError):
    """A letter that must not be read: not signed with this key, or written for another place."""

    def __init__(self, agent: str, sender: str, why: str) -> None:
        super().__init__(f"agent {agent}: a letter of {sender} cannot be read: {why}")
        self.agent = agent
        self.sender = sender


class LockedLetter(BadLetter):
    """A letter that is right, and encrypted with a key that is not here: it can be read where that is."""


class AgentLocked(ProviderError):
    """Another process runs this agent now (filesystem provider: its OS lock is held)."""

    def __init__(self, agent: str, holder: str) -> None:
        super().__init__(f"agent {agent} is running in {holder}; wait for it to end, or stop that process first")
        self.agent = agent
        self.holder = holder


class UnknownAgent(ProviderError):
    def __init__(self, agent: str) -> None:
        super().__init__(f"no agent {agent} here")
        self.agent = agent


class UnknownCheckpoint(ProviderError):
    def __init__(self, agent: str, number: int, kept: Sequence[int]) -> None:
        there = f"has no checkpoint {number}: kept are {', '.join(map(str, kept))}" if kept else "has no checkpoint now"
        super().__init__(f"agent {agent} {there}")
        self.agent = agent
        self.number = number
        self.kept = list(kept)


class ConfigError(ProviderError):
    """A setting that cannot be used. One line: which key, where it came from, what is allowed."""
