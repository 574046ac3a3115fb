"""The body of a letter: MAC and JSON, bound to its sender, its receiver and its number, so that nobody can move or forge it.

Persisted shape: 32 bytes of HMAC-SHA256, then UTF-8 JSON; or, encrypted (cipher.py), a byte 1 and what that gives. Called by
whoever delivers for an agent and whoever reads for one.

=======  =============================================================================================================
v        format of this body: 1
kind     "message", "question", "reply", or "ended" (of a child)
id       of the question that it is or that it answers, else empty
value    what was sent, as JSON
=======  =============================================================================================================
"""

from __future__ import annotations

import hmac
import json
from typing import Any, NamedTuple

from playbooks_providers.envelope.cipher import Unreadable, opened
from playbooks_providers.envelope.header import MAC_BYTES
from playbooks_providers.envelope.sealer import Sealer
from playbooks_providers.errors import BadLetter, LockedLetter
from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Letter, Mail

FORMAT = 1
_ENCRYPTED = b"\1"
_compact = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Body(NamedTuple):
    """What a letter says (fields as in the module's table)."""

    kind: str
    id: str
    value: Any


def seal_letter(
    sealer: Sealer,
    receiver: AgentId,
    sender: str,
    birth: int,
    number: int,
    body: Body,
    *,
    pressing: bool = False,
    once: bool = False,
) -> Letter:
    """The letter, ready to be delivered. *birth* and *number* are the sender's (`model.Letter`)."""
    text = _compact({"v": FORMAT, "kind": body.kind, "id": body.id, "value": body.value}).encode()
    place = _place(receiver, sender, birth, number)
    if sealer.cipher is not None:
        text = _ENCRYPTED + sealer.cipher.seal(_context(sender, birth), place, text)
    mac = sealer.mac(place.encode(), text)
    return Letter(sender, birth, number, mac + text, pressing, once)


def open_letter(sealer: Sealer, receiver: AgentId, letter: Mail) -> Body:
    """Raises `BadLetter` for one that was not written for *receiver* by *sender* with this key, and `LockedLetter`."""
    mac, text = letter.body[:MAC_BYTES], letter.body[MAC_BYTES:]
    place = _place(receiver, letter.sender, letter.birth, letter.number)
    if not hmac.compare_digest(mac, sealer.mac(place.encode(), text)):
        raise BadLetter(receiver, letter.sender, f"not signed with this key (key id {sealer.key_id}), or not for it")
    if text[:1] == _ENCRYPTED:
        try:
            text = opened(sealer.cipher, _context(letter.sender, letter.birth), place, text[1:])
        except Unreadable as error:
            raise LockedLetter(receiver, letter.sender, str(error)) from error
    try:
        said = json.loads(text)
        if said["v"] != FORMAT:
            raise BadLetter(receiver, letter.sender, f"it has format {said['v']}, and this version reads {FORMAT}")
        return Body(said["kind"], said["id"], said["value"])
    except (ValueError, LookupError, TypeError) as error:  # signed with our key: a bug of whoever wrote it
        raise BadLetter(receiver, letter.sender, f"it does not decode: {error!r}") from error


def _place(receiver: AgentId, sender: str, birth: int, number: int) -> str:
    return _compact(["letter", receiver, sender, birth, number])


def _context(sender: str, birth: int) -> str:
    return f"letters {sender} {birth}"
