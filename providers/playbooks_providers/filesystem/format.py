"""How a checkpoint lies in its file, and how a damaged file is told from a whole one. Bytes only.

A file is: 8 bytes of magic; fence, number, length of the header and length of the payload (unsigned, big endian, 8 bytes
each); the CRC-32 of all that (4 bytes); then the signed envelope header and the stored payload, and nothing after it. The
CRC only tells accidents, so that a damaged fence is not believed; the signature is in the header. The name's ``pkl`` is
what people expect of checkpoints; the file is not a pickle, and is never given to an unpickler.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from playbooks_providers.ids import CheckpointId
from playbooks_providers.model import Entry

MAGIC = b"PBCKPT1\n"
_NUMBERS = struct.Struct(">QQQQ")
_CRC = struct.Struct(">I")
_CHECKED_BYTES = len(MAGIC) + _NUMBERS.size
PROLOGUE_BYTES = _CHECKED_BYTES + _CRC.size


@dataclass(frozen=True, slots=True)
class Prologue:
    id: CheckpointId
    header_bytes: int
    payload_bytes: int

    @property
    def file_bytes(self) -> int:
        return PROLOGUE_BYTES + self.header_bytes + self.payload_bytes


def pack(entry: Entry) -> bytes:
    checked = MAGIC + _NUMBERS.pack(entry.id.fence, entry.id.seq, len(entry.header), len(entry.payload))
    return b"".join((checked, _CRC.pack(zlib.crc32(checked)), entry.header, entry.payload))


def read_prologue(start: bytes) -> Prologue | None:
    """What the first `PROLOGUE_BYTES` of a file say; None when they are not those of a checkpoint."""
    if len(start) < PROLOGUE_BYTES or not start.startswith(MAGIC):
        return None
    (crc,) = _CRC.unpack_from(start, _CHECKED_BYTES)
    if crc != zlib.crc32(start[:_CHECKED_BYTES]):
        return None
    fence, seq, header_bytes, payload_bytes = _NUMBERS.unpack_from(start, len(MAGIC))
    return Prologue(CheckpointId(fence, seq), header_bytes, payload_bytes)


def unpack(data: bytes, prologue: Prologue) -> tuple[bytes, bytes]:
    """Header and payload as far as they are there. Of a file with bytes beyond its end nothing is returned."""
    if len(data) > prologue.file_bytes:
        return b"", b""
    end = PROLOGUE_BYTES + prologue.header_bytes
    return data[PROLOGUE_BYTES:end], data[end:]
