"""The one command that is said for every await, as bytes: the fenced append of a checkpoint (DESIGN 4.1).

    XADD <stream> NOMKSTREAM MINID = <oldest to keep> <fence>-<seq> h <header> d <payload> n <nonce>

Packed by hand, because hiredis's packer takes twice the time. Used by writer.py. Fields: ``h`` envelope header, ``d``
payload, ``n`` the owner's nonce. The nonce is inside the header too, but there it is the sealer's: with a field of its own,
the writer and its script recognise an earlier send without parsing headers.
"""

from __future__ import annotations

from playbooks_providers.ids import CheckpointId


def head(key: str) -> bytes:
    """What every append to this stream begins with."""
    words = [b"XADD", key.encode(), b"NOMKSTREAM", b"MINID", b"="]
    return b"*13\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def append(head: bytes, oldest: CheckpointId, id: CheckpointId, header: bytes, payload: bytes, nonce: bytes) -> bytes:
    """The whole command, as Redis reads it."""
    least, new = b"%d-%d" % (oldest.fence, max(oldest.seq, 0)), b"%d-%d" % (id.fence, id.seq)
    return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n$1\r\nh\r\n$%d\r\n%b\r\n$1\r\nd\r\n$%d\r\n%b\r\n$1\r\nn\r\n$%d\r\n%b\r\n" % (
        head, len(least), least, len(new), new, len(header), header, len(payload), payload, len(nonce), nonce,
    )  # fmt: skip
