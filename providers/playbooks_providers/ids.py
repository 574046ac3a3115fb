"""Names of things: agents, sessions, checkpoints; made and checked here and nowhere else."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple, NewType

from playbooks_providers.errors import InvalidAgentId

AgentId = NewType("AgentId", str)
SessionId = NewType("SessionId", str)
Nonce = NewType("Nonce", str)

_AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def agent_id(text: str) -> AgentId:
    """Check *text* as an agent's id. Raises `InvalidAgentId`."""
    if not _AGENT_ID.fullmatch(text):
        raise InvalidAgentId(text)
    return AgentId(text)


def new_agent_id(program: str) -> AgentId:
    """A fresh id that a person can read aloud: the program's name and 40 random bits."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", program.rpartition(".")[2]).strip("._-")[:80]
    return AgentId(f"{stem or 'agent'}-{secrets.token_hex(5)}")


def new_session_id() -> SessionId:
    """Random and never reused: names of workers repeat, sessions do not."""
    return SessionId(secrets.token_hex(8))


def new_nonce() -> Nonce:
    """Tells two attempts of the same owner apart."""
    return Nonce(secrets.token_hex(6))


class CheckpointId(NamedTuple):
    """`<fence>-<seq>`: *fence* grows with each owner, *seq* counts the checkpoints of the agent's whole life.

    It is also the id of the entry in the agent's stream, which is what makes it a fence (DESIGN 4.1).
    ``seq == 0`` is the entry that a mint writes: it holds no state and never counts as a checkpoint.
    (A tuple, because it is made, compared and looked up for every await, which costs a dataclass four times as much.)
    """

    fence: int
    seq: int

    def __str__(self) -> str:
        return f"{self.fence}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> CheckpointId:
        fence, _, seq = text.partition("-")
        return cls(int(fence), int(seq))
