"""Large checkpoints are pickled into memory that is used again: nothing of one is ever seen in another."""

from __future__ import annotations

import asyncio
import random
import zlib

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Agent, Completed, Moment, sinks
from playbooks_worker.engine.payload import read

LARGE = 2 * sinks.LARGE


async def effect(turn: int) -> bytes:
    await asyncio.sleep(0)
    return random.Random(turn).randbytes(LARGE if turn % 3 else 10)


@playbook
async def swelling(turns: int) -> int:
    """Large and small in turn, so that every checkpoint has another size than the one before."""
    total = 0
    parts = [b"x" * LARGE]
    for turn in range(turns):
        parts.append(await effect(turn))
        if turn % 3 == 2:
            parts.clear()
        total += len(parts[-1]) if parts else 0
    return total


@pytest.mark.parametrize("kind", [sinks.Pieces, sinks.Used])
def test_a_sink_gives_back_what_was_written(kind: type[sinks.Pieces | sinks.Used]) -> None:
    for round_ in range(3):  # the same memory again
        sink = kind()
        written = [bytes([round_]) * size for size in (1, 70_000, 0, 300_000 - 90_000 * round_)]
        for piece in written:
            sink.write(piece)
        assert sink.size() == sum(map(len, written))
        assert sink.joined([b"head", b""]) == b"head" + b"".join(written)


def test_two_that_write_at_the_same_time_have_memory_of_their_own() -> None:
    one, other = sinks.Used(), sinks.Used()
    one.write(b"1" * 100)
    other.write(b"2" * 100)
    assert (one.joined(), other.joined()) == (b"1" * 100, b"2" * 100)


def test_memory_is_used_again_and_the_largest_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_UNUSED", [])
    monkeypatch.setattr(sinks, "_KEPT_BYTES", 1000)
    first = sinks.Used()
    first.write(b"x" * 900)
    first.joined()
    kept = list(sinks._UNUSED)
    second = sinks.Used()
    assert [second._memory] == kept and not sinks._UNUSED
    second.write(b"x" * 1001)
    second.joined()
    assert not sinks._UNUSED


def test_each_checkpoint_of_an_agent_that_swells_and_shrinks_goes_on_to_the_same_end() -> None:
    payloads: list[bytes] = []

    def persist(moment: Moment, payload: bytes) -> None:
        payloads.append(payload)

    async def plain() -> int:
        return await swelling(9)

    expected = asyncio.run(plain())
    assert asyncio.run(Agent("a", persist=persist).start(swelling, (9,))) == Completed(expected)
    assert max(map(len, payloads)) > LARGE > min(map(len, payloads[:-1]))
    for payload in payloads[:-1]:
        said = asyncio.run(Agent("a", persist=lambda moment, payload: None).resume(payload))
        assert said == Completed(expected)


@pytest.mark.parametrize("summed", [True, False])
def test_a_payload_has_a_check_sum_unless_whoever_stores_it_signs_it(summed: bool) -> None:
    payloads: list[bytes] = []

    def persist(moment: Moment, payload: bytes) -> None:
        payloads.append(payload)

    asyncio.run(Agent("a", persist=persist, summed=summed).start(swelling, (2,)))
    for payload in payloads[:-1]:
        assert (payload[:4] == b"none") != summed
        assert read(payload)[0]


@pytest.mark.parametrize("sink", [sinks.Pieces, sinks.Used], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("shape", [(125, 2000), (2000, 125)])
def test_memory_that_is_no_row_of_bytes_is_counted_in_bytes(sink, shape):
    """Arrays hand over their memory as it is: with dimensions, and items of several bytes."""
    memory = memoryview(bytes(range(250)) * 8000).cast("B").cast("d", shape)
    used = sink()
    used.write(b"before")
    used.write(memory)
    used.write(b"after")
    whole = b"before" + memory.tobytes() + b"after"
    assert (used.size(), used.crc(0)) == (len(whole), zlib.crc32(whole))
    assert used.joined() == whole
