"""What a delta is made of: it decodes to what it was made from, and to nothing else."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
import zstandard

from playbooks_providers.envelope import delta

CHANCE = random.Random(11)
BIG = CHANCE.randbytes(700_000)


def edited(seed: int, size: int, edits: int) -> tuple[bytes, bytes]:
    """A base and a payload that differ in *edits* places: replaced, inserted, removed."""
    chance = random.Random(seed)
    base = chance.randbytes(size)
    payload = bytearray(base)
    for _ in range(edits):
        at, length = chance.randrange(len(payload) + 1), chance.choice([1, 8, 40, 1000])
        match chance.randrange(3):
            case 0:
                payload[at : at + length] = chance.randbytes(length)
            case 1:
                payload[at:at] = chance.randbytes(length)
            case _:
                del payload[at : at + length]
    return base, bytes(payload)


@pytest.mark.parametrize("size", [0, 1, 23, 24, 25, 100, 5_000, 130_000, 600_000])
@pytest.mark.parametrize("edits", [0, 1, 3, 100])
def test_a_delta_decodes_to_what_it_was_made_from(size: int, edits: int) -> None:
    for seed in range(5):
        base, payload = edited(seed, size, edits)
        assert delta.decode(delta.encode(payload, base), base, len(payload)) == payload


@pytest.mark.parametrize(
    ("base", "payload"),
    [
        (b"", b""),
        (b"", BIG),
        (BIG, b""),
        (BIG, BIG),
        (BIG, BIG[::-1]),
        (BIG, BIG + BIG),
        (BIG + BIG, BIG),
        (BIG, BIG[300_000:] + BIG[:300_000]),
        (bytes(500_000), bytes(600_000)),
        (b"ab" * 100_000, b"ba" * 100_000),
        (BIG, b"x" + BIG[:1000] + BIG[1001:]),
    ],
)
def test_the_same_for_payloads_that_are_hard_to_match(base: bytes, payload: bytes) -> None:
    assert delta.decode(delta.encode(payload, base), base, len(payload)) == payload


def test_a_delta_takes_what_has_changed_and_little_more() -> None:
    for size in (5_000, 100_000, 700_000, 5_000_000):
        base = CHANCE.randbytes(size)
        grown = b"turn 8" + base[6 : size // 2] + CHANCE.randbytes(1000) + base[size // 2 :]
        assert len(delta.encode(grown, base)) < 1000 + 300


def test_what_has_moved_far_is_found_too() -> None:
    base = CHANCE.randbytes(3_000_000)
    moved = base[2_000_000:] + base[:2_000_000]
    assert len(delta.encode(moved, base)) < 1000


def test_changes_all_over_a_large_state_are_found() -> None:
    """As when one object more before a long history shifts every later reference of the pickle by one."""
    messages = [CHANCE.randbytes(500) for _ in range(2000)]
    base, shifted = b"\x05".join(messages), b"\x06".join(messages)
    assert len(delta.encode(shifted, base)) < len(base) / 50


def test_whole_payloads_compress_and_come_back() -> None:
    for payload in (b"", b"x", b"text " * 10_000, BIG):
        assert delta.decompress(delta.compress(payload), len(payload)) == payload


BASE, PAYLOAD = edited(3, 200_000, 4)
GOOD = delta.encode(PAYLOAD, BASE)


@pytest.mark.parametrize("length", [0, 1, 2, 10, 30, len(GOOD) // 2, len(GOOD) - 1])
def test_a_delta_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ValueError):
        delta.decode(GOOD[:length], BASE, len(PAYLOAD))


@pytest.mark.parametrize("size", [0, len(PAYLOAD) - 1, len(PAYLOAD) + 1, 2**40])
def test_a_size_that_is_not_the_payloads_is_refused(size: int) -> None:
    with pytest.raises(ValueError):
        delta.decode(GOOD, BASE, size)
    with pytest.raises(ValueError):
        delta.decompress(delta.compress(PAYLOAD), size)


def test_pieces_outside_of_the_base_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        delta.decode(GOOD, BASE[:1000], len(PAYLOAD))


@pytest.mark.parametrize(
    "bomb",
    [
        lambda: zstandard.ZstdCompressor().compress(bytes(50_000_000)),  # says that it holds 50 MB
        lambda: zstandard.ZstdCompressor(write_content_size=False).compress(bytes(50_000_000)),  # says nothing
        lambda: b"garbage" * 20,
    ],
)
def test_a_frame_that_holds_more_than_the_header_says_is_not_decompressed(
    bomb: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = bomb()

    def never(**_: object) -> None:
        raise AssertionError("decompressed")

    monkeypatch.setattr(zstandard, "ZstdDecompressor", never)
    with pytest.raises(ValueError):
        delta.decompress(frame, 100)
    with pytest.raises(ValueError):
        delta.decode(struct.pack(">HQQQ", 1, 0, 0, 100) + frame, b"", 100)
    with pytest.raises(ValueError):
        delta.decode(struct.pack(">H", 0) + frame, b"", 100)
