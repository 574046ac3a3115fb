"""What a coordinator decides, without doing any of it: which sessions are dead, and what a leader has to see to now.

Called by the shell in `duty` with what it read and the time on its own monotonic clock; answers are values. Nothing here
reads a clock, sleeps or knows a store, so every case is a unit test.

The rule of death (DESIGN 4.2) has two halves:

* A session is dead when its counter of heartbeats has not changed for the timeout. The time counts from the *answer* that
  first showed the counter to the *request* that last showed it, so a slow answer never makes a session look more silent.
* That time must be one in which the watcher itself never lost the store. A failed reading, or too long a gap between two
  answers (the watcher was stopped, the machine slept, the store stood still), begins every count anew: whatever kept
  the watcher away may have kept the heartbeats away too.

A gap of half the timeout is still contact: heartbeats come at least five times in a timeout, so a store that stands still
for less than that leaves time for the next one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from playbooks_providers.ids import SessionId

CONTACT = 0.5  # part of the timeout: a longer gap between two answers is a loss of the store
READINGS_PER_TIMEOUT = 10  # so that a death is seen at most a tenth of the timeout late
SWEEP_ROUND_S = 60.0  # a round of the slow sweep begins at most this often
COUNT_EVERY_S = 2.0  # grows with queues and sessions, not with agents; scrapes come every 15 s

# --- who is dead -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters of heartbeats, read once. Times are seconds on the watcher's monotonic clock."""

    asked_s: float
    answered_s: float
    beats: Mapping[SessionId, int]


@dataclass(frozen=True, slots=True)
class Pulse:
    """A counter and since when it has been seen unchanged."""

    beats: int
    since_s: float


@dataclass(frozen=True, slots=True)
class Watch:
    """What a watcher knows since it last lost the store. `vanished`: sessions that it missed and nobody has `noticed`."""

    pulses: Mapping[SessionId, Pulse] = field(default_factory=dict)
    asked_s: float = 0.0
    answered_s: float | None = None
    vanished: frozenset[SessionId] = frozenset()


@dataclass(frozen=True, slots=True)
class Silent:
    """A session to bury, if its counter is still *beats*."""

    session: SessionId
    beats: int
    silent_s: float


LOST = Watch()  # what is left of any watch when a reading fails: nothing


def observe(watch: Watch, reading: Reading, timeout_s: float) -> Watch:
    """Add one reading to what is known."""
    gap_s = 0.0 if watch.answered_s is None else reading.answered_s - watch.answered_s
    known = watch.pulses if gap_s <= CONTACT * timeout_s else {}
    pulses = {}
    for session, beats in reading.beats.items():
        pulse = known.get(session)
        unchanged = pulse is not None and pulse.beats == beats
        pulses[session] = pulse if pulse and unchanged else Pulse(beats, reading.answered_s)
    vanished = watch.vanished | (watch.pulses.keys() - reading.beats.keys())
    return Watch(pulses, reading.asked_s, reading.answered_s, vanished)


def noticed(watch: Watch) -> Watch:
    """The leader has planned for the sessions that vanished."""
    return replace(watch, vanished=frozenset())


def silent(watch: Watch, timeout_s: float) -> tuple[Silent, ...]:
    """The sessions that are dead by now, the longest silent first."""
    found = [
        Silent(session, pulse.beats, watch.asked_s - pulse.since_s)
        for session, pulse in watch.pulses.items()
        if watch.asked_s - pulse.since_s >= timeout_s
    ]
    return tuple(sorted(found, key=lambda dead: -dead.silent_s))


# --- what a leader sees to -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tenure:
    """One leader's time in office. Times as in `Reading`.

    ``patient_until_s``: nobody is buried before. ``chores_s``: when the timeout is published and ownerless tickets are
    looked for again. ``sweep_s``: when the next round of the sweep may begin; ``cursor``: where the present one stands.
    ``count_s``: when what there is to do is counted again, for the metrics.
    """

    patient_until_s: float
    chores_s: float
    sweep_s: float
    cursor: str = ""
    count_s: float = -math.inf


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do at this tick. Timers are looked at on every tick and need no decision."""

    publish: bool
    bury: tuple[Silent, ...]
    look_for_ownerless: bool
    sweep: bool
    count: bool = False


def begin(now_s: float, timeout_s: float, published_s: float | None) -> Tenure:
    """A leader takes office. Where a longer timeout was published before, workers still keep to that one: for its length
    nobody is buried, and each worker reads the new one with its next heartbeat."""
    patience_s = published_s if published_s is not None and published_s > timeout_s else 0.0
    return Tenure(patient_until_s=now_s + patience_s, chores_s=now_s, sweep_s=now_s)


def begin_again(tenure: Tenure, now_s: float) -> Tenure:
    """The store was lost in the middle of something: look at once for what may have been left half done."""
    return replace(tenure, chores_s=now_s)


def plan(tenure: Tenure, watch: Watch, now_s: float, timeout_s: float) -> tuple[Plan, Tenure]:
    """What the leader does now, and its tenure once that is done.

    Ownerless tickets (held by a session that is gone: its remover died half way) are looked for at the start, once a
    timeout, and whenever a session has vanished.
    """
    chores = now_s >= tenure.chores_s
    todo = Plan(
        publish=chores,
        bury=silent(watch, timeout_s) if now_s >= tenure.patient_until_s else (),
        look_for_ownerless=chores or bool(watch.vanished),
        sweep=bool(tenure.cursor) or now_s >= tenure.sweep_s,
        count=now_s >= tenure.count_s,
    )
    if chores:
        tenure = replace(tenure, chores_s=now_s + timeout_s)
    if todo.count:
        tenure = replace(tenure, count_s=now_s + COUNT_EVERY_S)
    return todo, tenure


def swept(tenure: Tenure, cursor: str, now_s: float) -> Tenure:
    """One step of the sweep was taken and goes on at *cursor*; "" ends the round."""
    begins = not tenure.cursor
    return replace(tenure, cursor=cursor, sweep_s=now_s + SWEEP_ROUND_S if begins else tenure.sweep_s)


# --- how often -------------------------------------------------------------------------------------------------------


def pace_s(tick_s: float, timeout_s: float) -> float:
    """The pause between two readings."""
    return min(tick_s, timeout_s / READINGS_PER_TIMEOUT)


def backoff_s(failures: int, tick_s: float) -> float:
    """The pause after so many failed readings in a row: doubling, at most two seconds."""
    return min(2.0, float(tick_s * 2 ** min(failures - 1, 10)))
