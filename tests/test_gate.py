"""The gate: when an executor freezes, by a clock that the test turns."""

from __future__ import annotations

import asyncio
import math

from playbooks_providers.clock import ManualClock
from playbooks_worker.host.gate import Gate


def test_without_a_session_to_lose_it_is_always_open() -> None:
    clock = ManualClock()
    gate = Gate(clock.monotonic)
    clock.advance(1e9)
    assert gate.is_open


def test_it_closes_one_timeout_after_the_last_accepted_request_was_sent() -> None:
    clock = ManualClock()
    gate = Gate(clock.monotonic, deadline=-math.inf)
    assert not gate.is_open
    clock.advance(10)
    gate.renew(sent_at=9.5, timeout_s=1.0)  # the answer took half a second: that time is not ours
    assert gate.is_open
    clock.advance(0.499)
    assert gate.is_open
    clock.advance(0.001)
    assert not gate.is_open


def test_a_shorter_timeout_rules_from_the_next_renewal_on() -> None:
    clock = ManualClock()
    gate = Gate(clock.monotonic, deadline=-math.inf)
    gate.renew(0.0, 5.0)
    gate.renew(0.0, 1.0)
    clock.advance(1.0)
    assert not gate.is_open


def test_who_waits_goes_on_when_a_renewal_comes_and_not_before() -> None:
    async def main() -> None:
        clock = ManualClock()
        gate = Gate(clock.monotonic, deadline=-math.inf)
        waiting = [asyncio.create_task(gate.wait_open()) for _ in range(2)]
        await asyncio.sleep(0)
        clock.advance(10)
        gate.renew(sent_at=1.0, timeout_s=5.0)  # accepted too late: over already
        done, _ = await asyncio.wait(waiting, timeout=0.01)
        assert not done
        gate.renew(sent_at=9.0, timeout_s=5.0)
        await asyncio.wait_for(asyncio.gather(*waiting), 5)

    asyncio.run(main())


def test_it_stays_closed_after_the_session_was_refused() -> None:
    clock = ManualClock()
    gate = Gate(clock.monotonic)
    gate.close()
    assert not gate.is_open
