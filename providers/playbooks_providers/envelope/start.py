"""The arguments of a start record, encrypted before it is given to a home, where this process encrypts.

Called by whoever starts agents, and by whoever is about to use what one was started with. The same start is the same record,
so that a home can tell that it was asked twice; a key that has changed meanwhile makes it another one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace

from playbooks_providers.envelope.cipher import Unreadable, opened
from playbooks_providers.envelope.sealer import Sealer
from playbooks_providers.errors import BadStart
from playbooks_providers.model import StartRecord


def seal_start(sealer: Sealer | None, start: StartRecord) -> StartRecord:
    """*start* as it may be stored."""
    if sealer is None or sealer.cipher is None:
        return start
    plain = json.dumps([start.args, start.kwargs], sort_keys=True, separators=(",", ":")).encode()
    sealed = sealer.cipher.seal_alike(*_where(start), plain)
    return replace(start, sealed=base64.b64encode(sealed).decode())


def open_start(sealer: Sealer | None, start: StartRecord) -> StartRecord:
    """*start* with its arguments. Raises `BadStart`."""
    if not start.sealed:
        return start
    try:
        cipher = None if sealer is None else sealer.cipher
        plain = opened(cipher, *_where(start), base64.b64decode(start.sealed))
    except (Unreadable, ValueError) as error:
        raise BadStart(start.agent, str(error)) from error
    args, kwargs = json.loads(plain)
    return replace(start, args=args, kwargs=kwargs)


def same_start(sealer: Sealer | None, there: StartRecord, start: StartRecord) -> bool:
    """Whether they say the same, whichever keys they are encrypted with."""
    if there.origin == start.origin:
        return True
    try:
        one, other = open_start(sealer, there), open_start(sealer, start)
    except BadStart:
        return False
    return replace(one, sealed="").origin == replace(other, sealed="").origin


def _where(start: StartRecord) -> tuple[str, str]:
    """Context and place: what it is an argument of."""
    return f"start {start.agent}", f"{start.program}:{start.entry}"
