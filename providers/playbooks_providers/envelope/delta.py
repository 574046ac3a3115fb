"""A payload as what has changed since another one; and whole ones, compressed. Bytes in, bytes out.

Called by `sealer` and by the host. It knows no signature: whoever decodes has verified what it decodes.

A stored delta is: a table of *pieces*, then one zstd frame. Each piece says how many bytes to copy from the base, from
where, and how many bytes of the frame's content follow them. Table: number of pieces (2 bytes), then for each: offset,
length, literal (8 bytes each); all unsigned, big endian. No pieces: all of the payload is in the frame. The frame was made
with a raw-content dictionary: the bytes of the base that no piece copies, in order (none when there are none).

Why pieces: what two payloads have in common lies mostly at the same place or a little further on, and is found there by
comparing memory, 2 ms for 10 MB. zstd alone has to hash the whole base for every delta (11 ms for 2 MB, 180 ms for 10 MB),
in tables sized to it: with its default ones it misses everything further away than 1 MB. What the pieces leave over,
wherever it has moved to, zstd finds (DESIGN 3.4; figures in docs/decisions).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from playbooks_providers.envelope.header import Codec

_COUNT = struct.Struct(">H")
_PIECE = struct.Struct(">QQQ")

MOST_PIECES = 64
_ENOUGH_TRIED = 8  # pieces after which a sixteenth must be covered: changes all over are zstd's affair
_PROBE = 24  # bytes that must be equal before two places count as the same
_FURTHEST = 1 << 16  # bytes ahead that are searched for such a place
_LEAST_COPY = 32  # a piece costs 24 bytes
_SEARCH_FROM = 128 << 10  # bytes below which zstd alone is as fast as looking for pieces
_DICTIONARY_LIMIT = 16 << 20  # bytes of leftovers whose hash table (4 bytes each) is still worth its memory

_SMALLEST_WINDOW_LOG = 10
_RAW = zstandard.DICT_TYPE_RAWCONTENT


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes of the base from ``offset``, then ``literal`` bytes that are not from there."""

    offset: int
    length: int
    literal: int


def compress(payload: bytes) -> bytes:
    """*payload* as one zstd frame."""
    return zstandard.ZstdCompressor(level=1).compress(payload)


def decompress(stored: bytes, size: int) -> bytes:
    """The opposite. Raises `ValueError` when it is not a frame of exactly *size* bytes; never makes more than that."""
    return _content(stored, size, b"")


def encode(payload: bytes, base: bytes) -> bytes:
    """*payload* as a delta against *base*."""
    pieces = _pieces(payload, base)
    table = b"".join(_PIECE.pack(piece.offset, piece.length, piece.literal) for piece in pieces)
    rest = _literals(payload, pieces) if pieces else payload
    return b"".join((_COUNT.pack(len(pieces)), table, _frame(rest, _leftovers(base, pieces) if rest else b"")))


def decode(stored: bytes, base: bytes, size: int) -> bytes:
    """The opposite. Raises `ValueError` unless the outcome is whole and of *size* bytes."""
    try:
        (count,) = _COUNT.unpack_from(stored)
        pieces = [Piece(*_PIECE.unpack_from(stored, _COUNT.size + i * _PIECE.size)) for i in range(count)]
    except struct.error as error:
        raise ValueError("its table of pieces is cut short") from error
    if not pieces:
        return _content(stored[_COUNT.size :], size, _leftovers(base, ()))
    literal = sum(piece.literal for piece in pieces)
    if literal + sum(piece.length for piece in pieces) != size:
        raise ValueError(f"its pieces do not make up {size} bytes")
    if any(piece.offset + piece.length > len(base) for piece in pieces):
        raise ValueError("a piece lies outside its base")
    frame = stored[_COUNT.size + count * _PIECE.size :]
    rest = _content(frame, literal, _leftovers(base, pieces) if literal else b"")
    whole = memoryview(base)
    out: list[bytes | memoryview] = []
    at = 0
    for piece in pieces:
        out.append(whole[piece.offset : piece.offset + piece.length])
        out.append(rest[at : at + piece.literal])
        at += piece.literal
    return b"".join(out)


def unpack(stored: bytes, codec: Codec, size: int, base: bytes) -> bytes:
    """The payload of *size* bytes that was stored as *codec* says; *base* is looked at for a delta only."""
    if codec == "raw":
        return stored
    return decompress(stored, size) if codec == "zstd" else decode(stored, base, size)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _pieces(new: bytes, base: bytes) -> list[Piece]:
    """From both ends, and between them again wherever the same bytes go on a little further in either. None in what is
    small."""
    if len(new) < _SEARCH_FROM:
        return []
    shorter = min(len(new), len(base))
    head = _common(new, 0, base, 0, shorter)
    tail = _common_end(new, len(new), base, len(base), shorter - head)
    end, base_end = len(new) - tail, len(base) - tail
    found: list[tuple[int, int, int]] = [(0, 0, head)] if head else []  # (in new, in base, how many)
    at, base_at, covered = head, head, head + tail
    while at < end and base_at < base_end and len(found) < MOST_PIECES - 2:
        place = _again(new, at, end, base, base_at, base_end)
        if place is None:
            break
        ahead, base_ahead = place
        back = _common_end(new, ahead, base, base_ahead, min(ahead - at, base_ahead - base_at))
        ahead, base_ahead = ahead - back, base_ahead - back
        length = _common(new, ahead, base, base_ahead, min(end - ahead, base_end - base_ahead))
        if length >= _LEAST_COPY:
            found.append((ahead, base_ahead, length))
            covered += length
            if len(found) == _ENOUGH_TRIED and 16 * covered < len(new):
                break
        at, base_at = ahead + length, base_ahead + length
    if tail:
        found.append((end, base_end, tail))
    pieces: list[Piece] = []
    if not found or found[0][0]:
        found.insert(0, (0, 0, 0))
    for (begin, offset, length), after in zip(found, [*(begin for begin, _, _ in found[1:]), len(new)], strict=True):
        pieces.append(Piece(offset, length, after - begin - length))
    return pieces


def _again(new: bytes, at: int, end: int, base: bytes, base_at: int, base_end: int) -> tuple[int, int] | None:
    """The nearest places where both go on alike, if there are any near."""
    ahead = 0
    while ahead <= _FURTHEST and at + ahead + _PROBE <= end:
        probe = new[at + ahead : at + ahead + _PROBE]
        found = base.find(probe, base_at, min(base_end, base_at + 4 * ahead + 4096))
        if found >= 0:
            return at + ahead, found
        ahead += max(8, ahead // 4)
    return None


def _common(a: bytes, i: int, b: bytes, j: int, most: int) -> int:
    """How many bytes from a[i] and b[j] on are equal, up to *most*. Compares memory, in steps that double."""
    same, step = 0, 64
    while same < most:
        step = min(step, most - same)
        if a.startswith(b[j + same : j + same + step], i + same):
            same += step
            step = min(step * 2, 1 << 20)
        elif step == 1:
            break
        else:
            step //= 2
            most = min(most, same + 2 * step + 1)
    return same


def _common_end(a: bytes, i: int, b: bytes, j: int, most: int) -> int:
    """How many bytes before a[i] and b[j] are equal, up to *most*."""
    same, step = 0, 64
    while same < most:
        step = min(step, most - same)
        if a.startswith(b[j - same - step : j - same], i - same - step):
            same += step
            step = min(step * 2, 1 << 20)
        elif step == 1:
            break
        else:
            step //= 2
            most = min(most, same + 2 * step + 1)
    return same


def _literals(new: bytes, pieces: list[Piece]) -> bytes:
    out: list[bytes] = []
    at = 0
    for piece in pieces:
        at += piece.length
        out.append(new[at : at + piece.literal])
        at += piece.literal
    return b"".join(out)


def _leftovers(base: bytes, pieces: Sequence[Piece]) -> bytes:
    """What of *base* no piece copies: what is to be found of it has moved. Too much of it is nothing."""
    out: list[bytes] = []
    at = 0
    for piece in pieces:  # pieces are in the base's order, too
        if piece.length:
            out.append(base[at : piece.offset])
            at = piece.offset + piece.length
    out.append(base[at:])
    rest = b"".join(out) if pieces else base
    return rest if len(rest) <= _DICTIONARY_LIMIT else b""


# --- zstd ------------------------------------------------------------------------------------------------------------


def _frame(content: bytes, dictionary: bytes) -> bytes:
    if len(dictionary) < _PROBE:
        return compress(content)
    window_log = max(_SMALLEST_WINDOW_LOG, (len(dictionary) + len(content) - 1).bit_length())
    parameters = zstandard.ZstdCompressionParameters(
        window_log=window_log,
        hash_log=window_log - 2,
        chain_log=6,
        search_log=1,
        min_match=7,
        strategy=zstandard.STRATEGY_FAST,
    )
    known = zstandard.ZstdCompressionDict(dictionary, dict_type=_RAW)
    return zstandard.ZstdCompressor(dict_data=known, compression_params=parameters).compress(content)


def _content(frame: bytes, size: int, dictionary: bytes) -> bytes:
    try:
        if zstandard.frame_content_size(frame) != size:  # looked at first: the library believes what a frame says
            raise ValueError(f"it says that it holds {zstandard.frame_content_size(frame)} bytes instead of {size}")
        known = zstandard.ZstdCompressionDict(dictionary, dict_type=_RAW) if len(dictionary) >= _PROBE else None
        content = zstandard.ZstdDecompressor(dict_data=known).decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"zstd: {error}") from error
    if len(content) != size:
        raise ValueError(f"it holds {len(content)} bytes instead of {size}")
    return content
