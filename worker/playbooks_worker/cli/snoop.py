"""`run --snoop`: the letters between agents, one line each, as they arrive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from playbooks_worker.cli.output import Output

if TYPE_CHECKING:
    from playbooks_providers.ids import AgentId
    from playbooks_worker.engine import Outgoing

_SHOWN = 400
_WORDS = {"question": " asks", "reply": " answers"}


class Snoop:
    def __init__(self, out: Output) -> None:
        self._out = out

    def heard(self, sender: AgentId, letter: Outgoing) -> None:
        if letter.kind == "spawn":
            self._out.note(f"{sender} starts {letter.receiver}")
        elif letter.kind == "cancel":
            self._out.note(f"{sender} cancels {letter.receiver}")
        else:
            self._out.note(f"{sender}{_WORDS.get(letter.kind, '')} → {letter.receiver}: {short(letter.value)}")


def short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
