"""The bytes of a checkpoint: a check sum of what follows (4 bytes), the length of the index (4), the index, the dumps.

Written by capture.py, read by restore.py. Signatures are the affair of whoever stores it; the sum is for the bytes that
reach a C unpickler, which some of them would keep busy for hours. It costs as much as the pickling of plain data (0.15 ms
for 1 MB), so it is "none" where whoever stores the bytes signs them.
"""

from __future__ import annotations

import zlib
from typing import Any

from playbooks_worker.engine.errors import ResumeMismatch
from playbooks_worker.engine.sinks import Sink
from playbooks_worker.engine.snapshot import load_index, save_index

_FRONT_BYTES = 8
_NONE = b"none"


def written(index: Any, dumps: Sink, *, summed: bool = True) -> bytes:
    head = save_index(index)
    size = len(head).to_bytes(4, "big")
    total = dumps.crc(zlib.crc32(head, zlib.crc32(size))).to_bytes(4, "big") if summed else _NONE
    return dumps.joined((total, size, head))


def rewritten(index: Any, dumps: memoryview) -> bytes:
    """Another *index* before the same dumps; without a check sum, for who signs it."""
    head = save_index(index)
    return b"".join((_NONE, len(head).to_bytes(4, "big"), head, dumps))


def read(payload: bytes) -> tuple[tuple[Any, ...], memoryview]:
    """The index and the dumps. Raises `ResumeMismatch` when the bytes are not those that were written."""
    view = memoryview(payload)
    total = view[:4]
    if len(view) < _FRONT_BYTES or (total != _NONE and zlib.crc32(view[4:]) != int.from_bytes(total, "big")):
        raise ResumeMismatch("its checkpoint is damaged; resume from the one before it")
    size = int.from_bytes(view[4:8], "big")
    return load_index(view[_FRONT_BYTES : _FRONT_BYTES + size]), view[_FRONT_BYTES + size :]
