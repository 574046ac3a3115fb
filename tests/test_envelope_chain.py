"""A delta opens with its whole chain, verified to the last link before anything of it is decoded; and with nothing else."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from playbooks_providers.envelope import Base, Codec, Header, Sealer, base_mac, delta, read_header
from playbooks_providers.errors import BadCheckpoint
from playbooks_providers.ids import AgentId, CheckpointId, Nonce
from playbooks_providers.model import Entry

AGENT = AgentId("a1")
SEALER = Sealer("k" * 40)
CHANCE = random.Random(5)
STATES = [CHANCE.randbytes(40_000)]
for _ in range(3):
    STATES.append(STATES[-1] + CHANCE.randbytes(500))


def sealed(
    seq: int, stored: bytes, *, size: int, codec: Codec = "raw", base: Base | None = None, nonce: str = "n"
) -> Entry:
    header = Header(
        agent=AGENT,
        program="p",
        fence=9,
        seq=seq,
        nonce=Nonce(nonce),
        time_ms=1,
        kind="step",
        stack_json="[]",
        lowering=1,
        attempts=1,
        size=size,
        codec=codec,
        base=base,
    )
    return Entry(header.id, *SEALER.seal(header, stored))


def on(base: Entry, ids: tuple[CheckpointId, ...] = ()) -> Base:
    return Base((*ids, base.id), base_mac(base.header), len(ids) + 1, 1)


def link(seq: int, base: Entry, ids: tuple[CheckpointId, ...] = (), *, size: int | None = None) -> Entry:
    """State *seq* as a delta against the one before it."""
    stored = delta.encode(STATES[seq], STATES[seq - 1])
    return sealed(seq, stored, size=len(STATES[seq]) if size is None else size, codec="delta", base=on(base, ids))


WHOLE = sealed(0, STATES[0], size=len(STATES[0]))
ONE = link(1, WHOLE)
TWO = link(2, ONE, (WHOLE.id,))
THREE = link(3, TWO, (WHOLE.id, ONE.id))
CHAIN = [WHOLE, ONE, TWO]


def test_a_delta_opens_with_its_chain_in_any_order() -> None:
    for bases in (CHAIN, CHAIN[::-1]):
        opened = SEALER.open(THREE, AGENT, bases)
        assert opened.payload == STATES[3]
        assert opened.chain == (*CHAIN, THREE)
        assert opened.header.whole == WHOLE.id and opened.header.id == THREE.id
        assert opened.header.base == on(TWO, (WHOLE.id, ONE.id))


def test_a_whole_one_may_be_compressed_and_then_opens_alone() -> None:
    text = b"some text " * 1000
    entry = sealed(4, delta.compress(text), size=len(text), codec="zstd")
    opened = SEALER.open(entry, AGENT)
    assert opened.payload == text and opened.chain == (entry,) and opened.header.whole == entry.id


def test_a_base_that_is_not_there_is_named() -> None:
    for missing in range(3):
        there = [entry for number, entry in enumerate(CHAIN) if number != missing]
        with pytest.raises(BadCheckpoint, match=f"checkpoint 9-3 cannot be used: its base 9-{missing} is not there"):
            SEALER.open(THREE, AGENT, there)


def flipped(entry: Entry) -> Entry:
    return Entry(entry.id, entry.header, bytes([entry.payload[0] ^ 1]) + entry.payload[1:])


HARM: dict[str, tuple[Callable[[Entry], Entry], str]] = {
    "a flipped bit": (flipped, "corrupt or not signed"),
    "a payload cut short": (lambda entry: Entry(entry.id, entry.header, entry.payload[:-5]), "."),
    "no header": (lambda entry: Entry(entry.id, b"", b""), "truncated"),
    "another key": (
        lambda entry: Entry(
            entry.id, *Sealer("another").seal(dataclasses.replace(SEALER.verify(entry, AGENT)), entry.payload)
        ),
        "signed with another key",
    ),
}


@pytest.mark.parametrize(("harm", "why"), HARM.values(), ids=HARM.keys())
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_base_that_is_damaged_is_named_with_what_is_wrong_and_nothing_is_decoded(
    harm: Callable[[Entry], Entry], why: str, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("decoded before everything was verified")

    monkeypatch.setattr(delta, "unpack", never)
    bases = [harm(entry) if number == place else entry for number, entry in enumerate(CHAIN)]
    with pytest.raises(BadCheckpoint, match=f"checkpoint 9-3 cannot be used: its base 9-{place} cannot be used.*{why}"):
        SEALER.open(THREE, AGENT, bases)


def test_a_damaged_delta_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "unpack", lambda *_: pytest.fail("decoded"))
    with pytest.raises(BadCheckpoint, match="corrupt or not signed"):
        SEALER.open(flipped(THREE), AGENT, CHAIN)


def test_a_base_that_was_exchanged_for_another_signed_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "unpack", lambda *_: pytest.fail("decoded"))
    twin = sealed(
        2, TWO.payload, size=len(STATES[2]), codec="delta", base=on(ONE, (WHOLE.id,)), nonce="of another owner"
    )
    with pytest.raises(BadCheckpoint, match="its base 9-2 is another checkpoint than the one it was made on"):
        SEALER.open(THREE, AGENT, [WHOLE, ONE, twin])
    other = Entry(TWO.id, ONE.header, ONE.payload)
    with pytest.raises(BadCheckpoint, match="its base 9-2 cannot be used: it was signed as checkpoint 9-1"):
        SEALER.open(THREE, AGENT, [WHOLE, ONE, other])


def test_a_chain_that_does_not_add_up_is_refused() -> None:
    """Signed, so a bug of whoever wrote it: the ids that a delta needs are those of its base and that base."""
    short = sealed(3, THREE.payload, size=len(STATES[3]), codec="delta", base=on(TWO))
    with pytest.raises(BadCheckpoint, match="its base 9-2 is another checkpoint"):
        SEALER.open(short, AGENT, CHAIN)


@pytest.mark.parametrize("size", [0, 10, len(STATES[1]) - 1, 2**50])
def test_a_size_that_lies_is_refused_even_when_it_is_signed(size: int) -> None:
    with pytest.raises(BadCheckpoint, match="checkpoint 9-1 cannot be used: it does not decode"):
        SEALER.open(link(1, WHOLE, size=size), AGENT, CHAIN)


def test_a_header_that_contradicts_itself_is_refused() -> None:
    entry = sealed(1, b"x", size=1, codec="delta")
    with pytest.raises(BadCheckpoint, match="stored as delta"):
        SEALER.open(entry, AGENT, CHAIN)
    for codec in (b"raw", b"zstd"):
        text = ONE.header[32:].replace(b'"base":', b'"codec":"' + codec + b'","base":')
        with pytest.raises(BadCheckpoint, match=f"stored as {codec.decode()}"):
            SEALER.open(Entry(ONE.id, SEALER.mac(text, ONE.payload) + text, ONE.payload), AGENT, CHAIN)


@pytest.mark.parametrize("seed", range(10))
def test_any_chain_of_ids_is_written_short_and_read_the_same(seed: int) -> None:
    chance = random.Random(seed)
    ids = [CheckpointId(7, 3)]
    while len(ids) < 40:
        last = ids[-1]
        fence = last.fence + (chance.random() < 0.1) * chance.randrange(1, 4)
        ids.append(CheckpointId(fence, last.seq + chance.choice([1, 1, 1, 1, 16])))
    for base in (tuple(ids), tuple(ids[-3:]), tuple(ids[:1])):
        entry = sealed(1000, b"x", size=1, codec="delta", base=Base(base, "00", 1, 1))
        read = read_header(entry.header).base
        assert read is not None and read.ids == base
    own = tuple(CheckpointId(9, seq) for seq in range(17, 32))
    assert (
        b'"ids":[1,[17,31]],'
        in sealed(32, b"x", size=1, codec="delta", base=Base((CheckpointId(9, 1), *own), "00", 31, 1)).header
    )


def test_a_header_that_names_too_long_a_run_of_bases_is_refused_before_it_is_made() -> None:
    text = b'{"v":1,"fence":9,"base":{"ids":[[1,999999999999]],"mac":"","number":1,"bytes":1}}'
    with pytest.raises(ValueError, match="a run of bases from 1 to 999999999999"):
        read_header(b"m" * 32 + text)
