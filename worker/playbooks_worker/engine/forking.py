"""The mailbox in the payload of a checkpoint, without its agent: as that of another one, which goes on from there with
another post; and what an agent owes that is ended where it stands.

Called by the host (forking.py, ending.py), with a payload whose signature has been verified. It reads the index and nothing
of the program's own.
"""

from __future__ import annotations

from playbooks_worker.engine.payload import rewritten
from playbooks_worker.engine.restore import read_index
from playbooks_worker.engine.talk.mailbox import Mailbox, Owes


def forked(payload: bytes, of: str) -> bytes:
    """What another agent goes on from. Letters that were read are its own; of those that agent *of* has yet to send, and of
    what its children will say, it knows nothing. Raises `ResumeMismatch` for what is no checkpoint of this engine."""
    index, dumps = read_index(payload)
    *others, mailbox = index
    if mailbox is not None:
        box = Mailbox.of(mailbox)
        box.fork(of)
        mailbox = box.plain()
    return rewritten((*others, mailbox), dumps)


def owed(payload: bytes) -> Owes:
    """What an agent owes to others that is ended where this checkpoint stands. Raises `ResumeMismatch` like `forked`."""
    *_, mailbox = read_index(payload)[0]
    return Owes(0, ()) if mailbox is None else Mailbox.of(mailbox).owes()
