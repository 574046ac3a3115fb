"""The small files beside an agent's checkpoints: whose it is, how its last owner left it, what is wanted of it.

Each is written whole under another name and then renamed. What cannot be read says nothing: fences are in the checkpoints,
too, and the rest is told again by whoever wanted it. Used by store.py, which knows where they are.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, replace
from typing import Any

from playbooks_providers.model import Choice, Order, Status


@dataclass(frozen=True, slots=True)
class Owner:
    """`owner.json`: the newest owner. ``attempts``: takes since an owner last wrote. ``session``: one owner's time with it.

    ``birth`` is when the agent was restarted or taken back to an earlier checkpoint, Unix time in milliseconds; 0: never,
    and then it was born when it was started. (Fences begin at 1 here, whoever bore the id before.) ``choice`` is how a
    person has said that it goes on, from checkpoint ``at`` (0: the newest), and holds until one is written under ``chosen``
    or a greater fence (0: nobody has said anything)."""

    fence: int = 0
    attempts: int = 0
    birth: int = 0
    session: str = ""
    choice: Choice = Choice.RESUME
    at: int = 0
    chosen: int = 0

    def next(self, newest: int, session: str) -> Owner:
        """Who comes after. *newest*: the fence of the newest checkpoint."""
        attempts = 1 if newest == self.fence else self.attempts + 1
        made = replace(self, fence=max(self.fence, newest) + 1, attempts=attempts, session=session)
        return made if newest < self.chosen else replace(made, choice=Choice.RESUME, at=0, chosen=0)

    def to_json(self) -> bytes:
        return json.dumps({"format": 1, **asdict(self)}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Owner:
        data = _record(text)
        try:
            numbers = {name: int(data[name]) for name in ("fence", "attempts", "birth", "at", "chosen")}
            return cls(**numbers, session=str(data["session"]), choice=Choice(data["choice"]))
        except (ValueError, LookupError, TypeError):
            return cls()


@dataclass(frozen=True, slots=True)
class Left:
    """`left.json`: the owner with this fence has ended its agent or set it aside. A newer owner makes it void.

    That an agent has ended need not be durable: whoever finds it ended and not left ends it again."""

    status: Status
    why: str
    fence: int

    def to_json(self) -> bytes:
        return json.dumps({"format": 1, **asdict(self)}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Left | None:
        data = _record(text)
        try:
            return cls(Status(data["status"]), str(data["why"]), int(data["fence"]))
        except (ValueError, LookupError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Wanted:
    """`order.json`: the order that stands, and the id of the one that was obeyed last."""

    order: Order | None = None
    obeyed: str = ""

    def to_json(self) -> bytes:
        order = None if self.order is None else json.loads(self.order.to_json())
        return json.dumps({"format": 1, "order": order, "obeyed": self.obeyed}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Wanted:
        data = _record(text)
        try:
            order = None if data["order"] is None else Order.from_json(json.dumps(data["order"]))
            return cls(order, str(data["obeyed"]))
        except (ValueError, LookupError, TypeError):
            return cls()


@dataclass(frozen=True, slots=True)
class Holder:
    """`lock`, while its OS lock is held: ``name`` is for people, ``fence`` says under which it was taken."""

    name: str
    fence: int

    @staticmethod
    def text(pid: int, fence: int) -> str:
        return f"process {pid} on {socket.gethostname()}\n{fence}\n"

    @classmethod
    def from_text(cls, text: str) -> Holder:
        """Nothing is in it when it was taken right now."""
        name, _, fence = text.partition("\n")
        return cls(name or "another process", int(fence) if fence.strip().isdigit() else 0)


def _record(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}
