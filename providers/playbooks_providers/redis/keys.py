"""Every Redis key of Playbooks Enterprise: its name, type, writer and end. No other module builds a key.

Called by the rooms of this package, and by tests that check for leaks (`Keys.describe`). It must not know what is stored
under a key, only where, and until when.

All keys of one agent share the hash tag ``{agent}``, so that a script may touch them together in a Cluster; those of a queue
(its lanes, its cap) share its name, and sessions have a tag of their own. The rest (``sessions``, ``due``, ...) are single
keys, and no script mixes two of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from playbooks_providers.errors import ConfigError
from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.lanes import SIGN

GROUP = "workers"  # the one consumer group of each queue; a consumer's name is a session's id


@dataclass(frozen=True, slots=True)
class KeyKind:
    """One line of DESIGN 4.6's table. ``ends`` says which event, or which time to live, removes the key."""

    name: str
    pattern: str
    type: str
    written_by: str
    ends: str


KINDS = (
    KeyKind("meta", r"\{[^{}]+\}:meta", "hash", "scripts only", "finished: PEXPIREAT with all keys; deleted: 1 day"),
    KeyKind("checkpoints", r"\{[^{}]+\}:checkpoints", "stream", "owner (XADD), mint (-0)", "parked, finished: deleted"),
    KeyKind("state", r"\{[^{}]+\}:state", "string", "create, park, stop, finish, orders", "with meta"),
    KeyKind(
        "inbox",
        r"\{[^{}]+\}:inbox",
        "stream",
        "deliver; its owner trims",
        "parked, finished: deleted; failed: with meta",
    ),
    KeyKind("events", r"\{[^{}]+\}:events", "stream", "emit, by the owner; MAXLEN", "with meta; restarted: deleted"),
    KeyKind(
        "sources", r"sources", "hash", "keep_sources; one field per version of a playbook", "stays (few, 1 KB each)"
    ),
    KeyKind(
        "queue",
        r"queue:\{[^{}!]+\}(!\w+)?",
        "stream",
        "enqueue; acknowledge removes",
        "stays (few: one per lane of each queue name)",
    ),
    KeyKind("cap", r"cap:\{[^{}!]+\}", "string", "set_cap, for a person", "set_cap without a number"),
    KeyKind(
        "bell", r"bell:\{[^{}!]+\}", "list", "enqueue, acknowledge, read_capped, of a capped queue", "heard; with cap"
    ),
    KeyKind("queues", r"queues", "set", "enqueue, readers", "stays (few)"),
    KeyKind("programs", r"programs", "hash", "publish; one field per session", "its field with the session"),
    KeyKind("sessions", r"sessions", "zset", "register, beat; bury removes", "stays (empty: gone)"),
    KeyKind("session", r"session:\{[^{}]+\}", "hash", "register", "buried: 1 day"),
    KeyKind("pokes", r"pokes:\{[^{}]+\}", "stream", "poke", "buried, or an hour after the last"),
    KeyKind("offers", r"offers", "hash", "offer; one field per session", "its field with the session"),
    KeyKind("draining", r"draining", "set", "ask_to_drain; one member per session", "its member with the session"),
    KeyKind("session_timeout", r"session_timeout", "string", "coordinator", "stays (one)"),
    KeyKind("due", r"due", "zset", "callers of release, park; fire_due, deliver", "stays (empty: gone)"),
    KeyKind("asking", r"asking", "hash", "asks, by owners; finish, terminate, delete", "stays (empty: gone)"),
    KeyKind("leader", r"leader", "string", "coordinators", "PX: the lease"),
)


@dataclass(frozen=True, slots=True)
class AgentKeys:
    meta: str
    checkpoints: str
    state: str
    inbox: str
    events: str


class Keys:
    """The names under one prefix. Raises `ConfigError` for a prefix that would break hash tags or patterns."""

    def __init__(self, prefix: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._:-]+", prefix):
            raise ConfigError(f"redis.prefix {prefix!r}: use letters, digits, '.', '_', ':' or '-'")
        self.prefix = prefix
        self.queues = f"{prefix}:queues"
        self.programs = f"{prefix}:programs"
        self.sources = f"{prefix}:sources"
        self.sessions = f"{prefix}:sessions"
        self.offers = f"{prefix}:offers"
        self.draining = f"{prefix}:draining"
        self.session_timeout = f"{prefix}:session_timeout"
        self.due = f"{prefix}:due"
        self.asking = f"{prefix}:asking"
        self.leader = f"{prefix}:leader"
        self.any_meta = f"{prefix}:{{*}}:meta"  # a pattern for SCAN; the prefix has no character that is special there
        self._meta = re.compile(re.escape(prefix) + r":\{([^{}]+)\}:meta")

    def agent(self, agent: AgentId) -> AgentKeys:
        return AgentKeys(
            meta=f"{self.prefix}:{{{agent}}}:meta",
            checkpoints=f"{self.prefix}:{{{agent}}}:checkpoints",
            state=f"{self.prefix}:{{{agent}}}:state",
            inbox=f"{self.prefix}:{{{agent}}}:inbox",
            events=f"{self.prefix}:{{{agent}}}:events",
        )

    def queue(self, lane: str) -> str:
        queue, sign, priority = lane.partition(SIGN)
        return f"{self.prefix}:queue:{{{queue}}}{sign}{priority}"

    def cap(self, queue: str) -> str:
        return f"{self.prefix}:cap:{{{queue}}}"

    def bell(self, queue: str) -> str:
        return f"{self.prefix}:bell:{{{queue}}}"

    def session(self, session: SessionId) -> str:
        return f"{self.prefix}:session:{{{session}}}"

    def pokes(self, session: SessionId) -> str:
        return f"{self.prefix}:pokes:{{{session}}}"

    def agent_of(self, meta: bytes | str) -> AgentId:
        """The agent whose ``meta`` key this is."""
        text = meta.decode() if isinstance(meta, bytes) else meta
        found = self._meta.fullmatch(text)
        if found is None:
            raise ValueError(f"not a meta key: {text}")
        return AgentId(found[1])

    def describe(self, key: str) -> KeyKind | None:
        """Which kind of key this is; None for a key that no line of the table allows (a leak)."""
        head = self.prefix + ":"
        if key.startswith(head):
            for kind in KINDS:
                if re.fullmatch(kind.pattern, key[len(head) :]):
                    return kind
        return None
