"""`run --snoop`: the letters between agents, one line each, as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from playbooks_worker.cli.output import Output
from playbooks_worker.cli.views import as_text

if TYPE_CHECKING:
    from playbooks_providers.ids import AgentId
    from playbooks_worker.engine import Outgoing

_SHOWN = 400
_VERBS = {"message": "tells", "question": "asks", "reply": "answers"}


class Snoop:
    """*first*: the first agent of the run, whose id begins those of its children."""

    def __init__(self, out: Output, first: AgentId) -> None:
        self._out = out
        self._prefix = f"{first}."

    def heard(self, sender: AgentId, letter: Outgoing) -> None:
        one, other = sender.removeprefix(self._prefix), letter.receiver.removeprefix(self._prefix)
        if letter.kind == "spawn":
            self._out.note(f"{one} starts {other}")
        elif letter.kind == "cancel":
            self._out.note(f"{one} cancels {other}")
        else:
            self._out.note(f"{one} {_VERBS[letter.kind]} {other}: {short(letter.value)}")


def short(value: Any) -> str:
    text = " ".join(as_text(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
