"""`emit`: tells people what an agent does, while it does it. Nothing of it is in the agent's state.

Each event carries the key of the effect that told it, so that whoever reads knows which ones a repeated effect replaces.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.attempts import attempts_of
from playbooks_worker.engine.effects import effect_key
from playbooks_worker.engine.place import OWN, here
from playbooks_worker.engine.talk.plain import plain

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.place import Below

MOST_CHARACTERS = 16_000
OWN_STATEMENT = "/own"
"""Ends the key of what a playbook's own statements tell: they are not repeated with the effect that follows them."""


def emit(event: Any) -> None:
    """Tell people what the agent does: text, or JSON data, for ``playbooksctl tail``. It neither waits nor fails when nobody
    can be told; what was told last may be lost when the process dies.

    To be called in playbooks and in what they call, steps and threads included. Texts that one effect tells are parts of one
    text (the words of a model as they come: put the line ends in); one of a playbook's own statements is a line. When an
    effect is repeated, after a crash or by its `step`, what it tells then replaces what it told before. Outside an agent
    nobody is told. Raises TypeError for what JSON cannot hold, ValueError for more than 16,000 characters of it."""
    value = plain(event, "emit")
    size = len(json.dumps(value, ensure_ascii=False))
    if size > MOST_CHARACTERS:
        raise ValueError(
            f"emit: {size:,} characters at once; people are told at most {MOST_CHARACTERS:,}, so tell less"
        )
    place = here.get()
    if place is None:
        return
    below: Below = place.below
    agent: Agent = below.agent
    if agent.dead:
        return
    attempts = attempts_of(below.frame) if below.frame is not None else None
    key = effect_key().removeprefix(f"{agent.id}/")
    if place is below.frame and getattr(place, "path", OWN) is OWN:
        key += OWN_STATEMENT
    agent.world.emit(key, 1 if attempts is None else attempts.number, value)
