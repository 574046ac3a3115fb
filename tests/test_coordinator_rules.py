"""Which sessions a coordinator buries, and when it does its chores: decided without I/O, on a clock turned by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from playbooks_coordinator import rules
from playbooks_coordinator.rules import LOST, Reading, Tenure, Watch, observe, silent
from playbooks_providers.ids import SessionId

A, B = SessionId("a"), SessionId("b")
TIMEOUT_S = 5.0


def watch_of(*readings: tuple[float, Mapping[SessionId, int]], onto: Watch = LOST) -> Watch:
    """A watch after readings that were answered at once, each (time, counters)."""
    watch = onto
    for at_s, beats in readings:
        watch = observe(watch, Reading(at_s, at_s, beats), TIMEOUT_S)
    return watch


def every(start_s: float, end_s: float, step_s: float, beats: Mapping[SessionId, int]) -> list:
    count = int((end_s - start_s) / step_s + 1e-9)
    return [(start_s + turn * step_s, beats) for turn in range(count + 1)]


def names(watch: Watch) -> list[SessionId]:
    return [dead.session for dead in silent(watch, TIMEOUT_S)]


# --- death -----------------------------------------------------------------------------------------------------------


def test_a_session_seen_for_the_first_time_is_alive() -> None:
    assert names(watch_of((100.0, {A: 7}))) == []


def test_nobody_is_dead_before_anything_was_read() -> None:
    assert names(LOST) == []


def test_a_counter_unchanged_for_the_timeout_is_a_death_and_names_its_count() -> None:
    watch = watch_of(*every(0.0, 5.0, 0.25, {A: 7}))
    assert silent(watch, TIMEOUT_S) == (rules.Silent(A, 7, 5.0),)


def test_a_counter_unchanged_for_less_than_the_timeout_is_not() -> None:
    assert names(watch_of(*every(0.0, 4.75, 0.25, {A: 7}))) == []


def test_a_session_that_beats_lives_for_ever() -> None:
    watch = LOST
    for turn in range(200):
        watch = watch_of((turn * 0.25, {A: turn // 4}), onto=watch)
        assert names(watch) == []


def test_a_beat_just_before_the_timeout_begins_the_count_anew() -> None:
    watch = watch_of(*every(0.0, 4.75, 0.25, {A: 7}), (5.0, {A: 8}))
    assert names(watch) == []
    assert names(watch_of(*every(5.25, 9.75, 0.25, {A: 8}), onto=watch)) == []
    assert names(watch_of(*every(5.25, 10.0, 0.25, {A: 8}), onto=watch)) == [A]


def test_a_counter_that_goes_down_is_a_change_too() -> None:
    """After a failover the store may know less than before."""
    watch = watch_of(*every(0.0, 4.75, 0.25, {A: 7}), (5.0, {A: 3}))
    assert names(watch) == []


def test_each_session_has_its_own_silence_and_the_longest_comes_first() -> None:
    watch = watch_of(*every(0.0, 1.0, 0.25, {A: 1, B: 1}), *every(1.25, 6.5, 0.25, {A: 1, B: 2}))
    assert names(watch) == [A, B]
    living = watch_of(*every(0.0, 1.0, 0.25, {A: 1, B: 1}), *every(1.25, 6.0, 0.25, {A: 1, B: 2}))
    assert names(living) == [A]


def test_a_session_that_is_removed_is_forgotten_and_named_until_it_is_noticed() -> None:
    watch = watch_of((0.0, {A: 1, B: 1}), (0.25, {B: 1}), (0.5, {B: 1}))
    assert watch.vanished == {A}
    assert A not in watch.pulses
    assert rules.noticed(watch).vanished == frozenset()
    assert rules.noticed(watch).pulses == watch.pulses


def test_a_death_stays_one_until_the_session_beats_or_is_gone() -> None:
    watch = watch_of(*every(0.0, 6.0, 0.25, {A: 7}))
    assert names(watch) == [A]
    assert names(watch_of((6.25, {A: 8}), onto=watch)) == []
    assert names(watch_of((6.25, {}), onto=watch)) == []


# --- the watcher's own losses ----------------------------------------------------------------------------------------


def test_a_failed_reading_begins_every_count_anew() -> None:
    before = watch_of(*every(0.0, 4.75, 0.25, {A: 7}))
    assert names(before) == []
    after = watch_of(*every(5.25, 10.0, 0.25, {A: 7}), onto=LOST)
    assert names(after) == []
    assert names(watch_of((10.25, {A: 7}), onto=after)) == [A]


def test_a_watcher_that_was_stopped_past_the_timeout_kills_nobody_when_it_wakes() -> None:
    """SIGSTOP, or the whole machine suspended with its workers: the counters stood still, but so did the watcher."""
    watch = watch_of(*every(0.0, 1.0, 0.25, {A: 7}), (61.0, {A: 7}))
    assert names(watch) == []
    assert names(watch_of(*every(61.25, 65.75, 0.25, {A: 7}), onto=watch)) == []
    assert names(watch_of(*every(61.25, 66.0, 0.25, {A: 7}), onto=watch)) == [A]


def test_a_store_that_stood_still_kills_nobody_when_it_goes_on() -> None:
    """The request was sent before, the answer came after; the heartbeats had no chance either."""
    watch = watch_of(*every(0.0, 1.0, 0.25, {A: 7}))
    watch = observe(watch, Reading(1.25, 21.0, {A: 7}), TIMEOUT_S)
    assert names(watch) == []
    assert names(watch_of((21.25, {A: 7}), onto=watch)) == []
    assert names(watch_of(*every(21.25, 26.0, 0.25, {A: 7}), onto=watch)) == [A]


@pytest.mark.parametrize(("gap_s", "kept"), [(0.25, True), (2.5, True), (2.51, False), (4.0, False), (400.0, False)])
def test_a_gap_of_more_than_half_the_timeout_is_a_loss(gap_s: float, kept: bool) -> None:
    watch = watch_of((0.0, {A: 7}), (gap_s, {A: 7}))
    assert (watch.pulses[A].since_s == 0.0) is kept


def test_slow_ticks_delay_a_death_but_do_not_prevent_it() -> None:
    """A starved watcher that still reads every two seconds."""
    assert names(watch_of(*every(0.0, 4.0, 2.0, {A: 7}))) == []
    assert names(watch_of(*every(0.0, 6.0, 2.0, {A: 7}))) == [A]


def test_silence_counts_from_an_answer_to_a_request_so_that_slow_answers_add_nothing() -> None:
    watch = LOST
    for turn in range(5):  # asked at 0, 1, 2, 3, 4, each answered 0.9 s later
        watch = observe(watch, Reading(float(turn), turn + 0.9, {A: 7}), TIMEOUT_S)
    assert names(watch) == []
    watch = observe(watch, Reading(5.8, 5.85, {A: 7}), TIMEOUT_S)
    assert names(watch) == []
    watch = observe(watch, Reading(5.9, 5.95, {A: 7}), TIMEOUT_S)
    assert silent(watch, TIMEOUT_S) == (rules.Silent(A, 7, pytest.approx(5.0)),)


def test_a_session_that_vanished_while_the_watcher_was_away_is_still_named() -> None:
    watch = watch_of((0.0, {A: 1, B: 1}), (60.0, {B: 1}))
    assert watch.vanished == {A}


# --- the leader's chores ---------------------------------------------------------------------------------------------


def test_a_new_leader_publishes_looks_for_ownerless_tickets_and_sweeps_at_once() -> None:
    todo, _ = rules.plan(rules.begin(100.0, TIMEOUT_S, None), LOST, 100.0, TIMEOUT_S)
    assert todo == rules.Plan(publish=True, bury=(), look_for_ownerless=True, sweep=True, count=True)


def test_chores_come_once_a_timeout() -> None:
    tenure = rules.begin(100.0, TIMEOUT_S, TIMEOUT_S)
    done = []
    for quarter in range(44):  # eleven seconds
        todo, tenure = rules.plan(tenure, LOST, 100.0 + quarter / 4, TIMEOUT_S)
        assert todo.publish == todo.look_for_ownerless
        if todo.publish:
            done.append(quarter / 4)
    assert done == [0.0, 5.0, 10.0]


def test_a_removal_makes_the_leader_look_for_ownerless_tickets_at_once() -> None:
    _, tenure = rules.plan(rules.begin(0.0, TIMEOUT_S, None), LOST, 0.0, TIMEOUT_S)
    watch = watch_of((0.25, {A: 1}), (0.5, {}))
    todo, tenure = rules.plan(tenure, watch, 0.5, TIMEOUT_S)
    assert todo.look_for_ownerless
    assert not todo.publish
    todo, _ = rules.plan(tenure, rules.noticed(watch), 0.75, TIMEOUT_S)
    assert not todo.look_for_ownerless


def test_a_leader_that_lost_the_store_half_way_does_its_chores_again_at_once() -> None:
    _, tenure = rules.plan(rules.begin(0.0, TIMEOUT_S, None), LOST, 0.0, TIMEOUT_S)
    todo, _ = rules.plan(rules.begin_again(tenure, 1.0), LOST, 1.0, TIMEOUT_S)
    assert todo.publish
    assert todo.look_for_ownerless


def test_a_standby_that_takes_over_buries_at_once_whom_it_has_watched_die() -> None:
    watch = watch_of(*every(0.0, 6.0, 0.25, {A: 7, B: 7}))
    todo, _ = rules.plan(rules.begin(6.0, TIMEOUT_S, TIMEOUT_S), watch, 6.0, TIMEOUT_S)
    assert [dead.session for dead in todo.bury] == [A, B]


@pytest.mark.parametrize(
    ("published_s", "first_burial_s"),
    [(None, 5.0), (5.0, 5.0), (1.0, 5.0), (30.0, 30.0)],
)
def test_a_longer_timeout_that_was_published_before_is_kept_once_more(
    published_s: float | None, first_burial_s: float
) -> None:
    tenure = rules.begin(0.0, TIMEOUT_S, published_s)
    watch, burial_s = LOST, None
    for quarter in range(200):
        watch = watch_of((quarter / 4, {A: 7}), onto=watch)
        todo, tenure = rules.plan(tenure, watch, quarter / 4, TIMEOUT_S)
        if todo.bury:
            burial_s = quarter / 4
            break
    assert burial_s == first_burial_s


def test_a_sweep_goes_on_to_its_end_and_rests_until_the_round_is_a_minute_old() -> None:
    tenure = Tenure(patient_until_s=0.0, chores_s=1e9, sweep_s=0.0)
    swept = []
    for second in range(130):
        todo, tenure = rules.plan(tenure, LOST, float(second), TIMEOUT_S)
        if todo.sweep:
            swept.append(second)
            tenure = rules.swept(tenure, "" if len(swept) % 3 == 0 else f"step {second}", float(second))
    assert swept == [0, 1, 2, 60, 61, 62, 120, 121, 122]


def test_a_round_longer_than_a_minute_is_followed_by_the_next_one() -> None:
    tenure = Tenure(patient_until_s=0.0, chores_s=1e9, sweep_s=0.0)
    for second in (0.0, 30.0, 70.0):
        tenure = rules.swept(tenure, "" if second == 70.0 else "on", second)
    todo, _ = rules.plan(tenure, LOST, 70.25, TIMEOUT_S)
    assert todo.sweep


# --- how often -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tick_s", "timeout_s", "pace_s"), [(0.25, 5.0, 0.25), (0.25, 1.0, 0.1), (0.05, 5.0, 0.05)])
def test_readings_come_at_every_tick_and_at_least_ten_times_a_timeout(
    tick_s: float, timeout_s: float, pace_s: float
) -> None:
    assert rules.pace_s(tick_s, timeout_s) == pytest.approx(pace_s)


def test_failed_readings_are_tried_again_at_doubling_pauses_up_to_two_seconds() -> None:
    assert [rules.backoff_s(failures, 0.25) for failures in (1, 2, 3, 4, 5, 1000)] == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_what_there_is_to_do_is_counted_at_a_pace_of_its_own() -> None:
    tenure, counted = rules.begin(0.0, TIMEOUT_S, None), []
    for tick in range(50):
        now_s = tick * 0.25
        todo, tenure = rules.plan(tenure, rules.LOST, now_s, TIMEOUT_S)
        if todo.count:
            counted.append(now_s)
    assert counted == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
