"""The envelope opens what it sealed, where it sealed it, and nothing else."""

from __future__ import annotations

import dataclasses
import hmac
import json
import random
from typing import Any

import pytest

from playbooks_providers.envelope import Header, Sealer, read_header
from playbooks_providers.errors import BadCheckpoint
from playbooks_providers.ids import AgentId, CheckpointId, Nonce
from playbooks_providers.model import Entry

AGENT = AgentId("a1")
KEY = "k" * 40
STACK = '[["audit:main",12,"await digest(\\"\\u00e9\\")",0],["audit:digest",30,"x = await f()",1]]'


def header(**changes: Any) -> Header:
    whole: dict[str, Any] = {
        "agent": AGENT,
        "program": "audit",
        "fence": 1700000000000,
        "seq": 7,
        "nonce": Nonce("00ff"),
        "time_ms": 1700000000123,
        "kind": "step",
        "stack_json": STACK,
        "lowering": 1,
        "attempts": 1,
    }
    return Header(**{**whole, **changes})


def sealed(payload: bytes = b"payload", **changes: Any) -> Entry:
    head = header(**changes)
    h, d = Sealer(KEY).seal(head, payload)
    return Entry(head.id, h, d)


def test_what_was_sealed_opens_with_every_field() -> None:
    opened = Sealer(KEY).open(sealed(), AGENT)
    expected = header(size=7, key=Sealer(KEY).key_id)
    assert dataclasses.replace(opened.header, stack_json="") == dataclasses.replace(expected, stack_json="")
    assert opened.header.stack == [("audit:main", 12, 'await digest("é")', 0), ("audit:digest", 30, "x = await f()", 1)]
    assert opened.payload == b"payload"


@pytest.mark.parametrize("size", [0, 1, 1_000, 65_536, 1_000_000])
def test_payloads_of_any_size_open(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert Sealer(KEY).open(sealed(payload), AGENT).payload == payload


def test_a_result_and_an_error_are_kept_as_json() -> None:
    result = {"a": [1, None, "ü", 1.5], "b": {"c": True}}
    assert Sealer(KEY).open(sealed(b"", kind="completed", result=result), AGENT).header.result == result
    error = {"type": "ValueError", "message": 'bad "x"\n', "traceback": "Traceback ..."}
    assert Sealer(KEY).open(sealed(b"", kind="failed", error=error), AGENT).header.error == error


def test_names_that_need_escaping_survive() -> None:
    head = header(program='pro"g\\ram\n\u2028é', nonce=Nonce("\x00"))
    h, d = Sealer(KEY).seal(head, b"")
    opened = Sealer(KEY).open(Entry(head.id, h, d), AGENT).header
    assert (opened.program, opened.nonce) == (head.program, head.nonce)


def test_the_stored_header_is_plain_json_after_the_mac() -> None:
    stored = sealed()
    data = json.loads(stored.header[32:])
    assert data["v"] == 1 and data["stack"] == json.loads(STACK) and data["codec"] == "raw"
    assert data.keys().isdisjoint({"result", "error", "base", "steps", "dill"}), "what does not apply is not there"


def test_another_key_does_not_open_it_and_the_error_names_both_keys() -> None:
    other = Sealer("another")
    with pytest.raises(BadCheckpoint, match=f"signed with another key.*{Sealer(KEY).key_id}.*{other.key_id}"):
        other.open(sealed(), AGENT)


def test_a_flipped_byte_anywhere_is_noticed() -> None:
    stored = sealed(b"some payload")
    sealer = Sealer(KEY)
    for place in range(len(stored.header)):
        torn = bytearray(stored.header)
        torn[place] ^= 1
        with pytest.raises(BadCheckpoint):
            sealer.open(Entry(stored.id, bytes(torn), stored.payload), AGENT)
    for place in range(len(stored.payload)):
        torn = bytearray(stored.payload)
        torn[place] ^= 0x80
        with pytest.raises(BadCheckpoint, match="corrupt or not signed"):
            sealer.open(Entry(stored.id, stored.header, bytes(torn)), AGENT)


def test_truncation_at_any_length_is_noticed() -> None:
    stored = sealed(b"some payload")
    sealer = Sealer(KEY)
    for length in range(len(stored.header)):
        with pytest.raises(BadCheckpoint):
            sealer.open(Entry(stored.id, stored.header[:length], stored.payload), AGENT)
    for length in range(len(stored.payload)):
        with pytest.raises(BadCheckpoint, match=f"truncated: {length} of 12 bytes"):
            sealer.open(Entry(stored.id, stored.header, stored.payload[:length]), AGENT)
    with pytest.raises(BadCheckpoint, match="truncated"):
        sealer.open(Entry(stored.id, b"", b""), AGENT)


def test_bytes_moved_from_the_payload_to_the_header_are_noticed() -> None:
    stored = sealed(b"   payload")  # trailing blanks would still be valid JSON
    with pytest.raises(BadCheckpoint):
        Sealer(KEY).open(Entry(stored.id, stored.header + b"   ", b"payload"), AGENT)


def test_an_entry_of_another_agent_or_position_does_not_open() -> None:
    stored = sealed()
    with pytest.raises(BadCheckpoint, match="of agent a1 and moved here"):
        Sealer(KEY).open(stored, AgentId("a2"))
    for place in (CheckpointId(stored.id.fence, 8), CheckpointId(stored.id.fence + 1, 7)):
        with pytest.raises(BadCheckpoint, match="signed as checkpoint 1700000000000-7"):
            Sealer(KEY).open(Entry(place, stored.header, stored.payload), AGENT)


def test_a_newer_format_and_an_unknown_codec_are_refused_by_name() -> None:
    sealer = Sealer(KEY)
    plain = sealed().header[32:]
    for was, becomes, why in ((b'"v":1', b'"v":2', "format 2"), (b'"raw"', b'"lzma"', "lzma")):
        text = plain.replace(was, becomes)
        with pytest.raises(BadCheckpoint, match=why):
            sealer.open(Entry(header().id, sealer.mac(text, b"payload") + text, b"payload"), AGENT)


def test_an_unverified_header_reads_without_a_key() -> None:
    assert read_header(sealed().header).seq == 7
    for garbage in (b"", b"x" * 40, b"\x00" * 31, b"m" * 32 + b"[]", b"m" * 32 + b'{"v":1}', b"m" * 32 + b"1"):
        with pytest.raises(ValueError):
            read_header(garbage)


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Sealer("")


GOLDEN_MAC = "18410af78e5ae42f1652127c6b60e51adec3ed3137492d14fb3391de39a1f566"
GOLDEN_HEADER = (
    b'{"v":1,"agent":"a1","program":"audit","fence":1700000000000,"seq":7,"nonce":"00ff","time_ms":1700000'
    b'000123,"kind":"step","stack":[["audit:main",12,"await digest(\\"\\u00e9\\")",0],["audit:digest",30,"x ='
    b' await f()",1]],"size":7,"codec":"raw","key":"dc4c5d17","python":"3.11",'
    b'"lowering":1,"attempts":1}'
)


def test_a_checkpoint_written_by_the_first_release_opens_for_ever() -> None:
    stored = Entry(CheckpointId(1700000000000, 7), bytes.fromhex(GOLDEN_MAC) + GOLDEN_HEADER, b"payload")
    opened = Sealer(KEY).open(stored, AGENT)
    assert dataclasses.replace(opened.header, stack_json="", python="") == header(
        size=7, key=Sealer(KEY).key_id, stack_json="", python=""
    )


@pytest.mark.parametrize("key", [KEY, "k" * 200])
def test_a_stamp_seals_the_same_bytes_as_the_sealer(key: str) -> None:
    sealer = Sealer(key)
    stamp = sealer.stamp(header(seq=1, time_ms=1, stack_json="[]"))
    step = header(seq=7, time_ms=99, stack_json='[["p:main",3,"await \\u00e4()",0]]')
    assert stamp.step(7, 99, step.stack_json, b"payload") == sealer.seal(step, b"payload")


def test_the_signature_is_hmac_as_the_standard_library_has_it() -> None:
    for key in (KEY, "k" * 64, "k" * 65):
        h, d = Sealer(key).seal(header(), b"payload")
        text = h[32:]
        message = len(text).to_bytes(4, "big") + text + d
        assert h[:32] == hmac.digest(key.encode(), message, "sha256")
