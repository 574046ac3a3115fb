"""The payload of a checkpoint as that of another agent, which goes on from there: the same program state, another post.

Called by who makes the agent (host/forking.py), with a payload whose signature has been verified. It reads the index and
nothing of the program's own.
"""

from __future__ import annotations

from playbooks_worker.engine.payload import rewritten
from playbooks_worker.engine.restore import read_index
from playbooks_worker.engine.talk.mailbox import Mailbox


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
