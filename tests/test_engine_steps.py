"""Steps and effect keys: what of an effect survives a crash, what repeats, and what says that it cannot know."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import paying as program  # noqa: E402
from harness import Store, kill_everywhere, resume, same_everywhere, start  # noqa: E402

from playbooks_worker.engine import Agent, Completed, Failed, Stopped, effect_key, step  # noqa: E402


@pytest.fixture(autouse=True)
def _fresh():
    program.reset()


def world(name):
    return [entry for entry in program.WORLD if entry[0] == name]


# --- attempts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [program.in_turn, program.in_branches, program.of_a_class, program.held])
def test_steps_end_the_same_killed_at_every_checkpoint(case):
    assert isinstance(same_everywhere(case, reset=program.reset), Completed)


@pytest.mark.parametrize("failing", ["b", "c", ("turn", 1)])
def test_steps_that_fail_at_first_end_the_same_killed_at_every_checkpoint(failing):
    def reset():
        program.reset()
        program.FAILURES[failing] = 2

    outcome = same_everywhere(program.in_turn, reset=reset, between=program.FAILURES.clear)
    assert outcome.value[0] == "a"


def test_a_step_costs_one_checkpoint():
    store = Store()
    start(program.in_turn, store=store)
    assert len(store.payloads) == 7


def test_a_failed_attempt_is_in_the_checkpoint_and_a_crash_goes_on_with_the_next():
    program.FAILURES["b"] = 9
    store = Store(kill_at=3)  # a; b failed once; b failed twice
    start(program.in_turn, store=store)
    assert len(world("b")) == 2
    assert json.loads(store.moments[-1].steps_json) == [["paying:tried", 3, 4, "ConnectionError: b refused"]]
    outcome = resume(store.payloads[-1])
    assert isinstance(outcome, Failed) and str(outcome.error) == "b refused"
    assert len(world("b")) == 4


def test_the_stack_of_a_checkpoint_names_the_step_and_its_attempt():
    program.FAILURES["b"] = 1
    store = Store()
    start(program.in_turn, store=store)
    stack = json.loads(store.moments[1].stack_json)
    assert [row[0] for row in stack] == ["paying:in_turn", "paying:tried"]
    assert stack[1][2:] == ["step tried, attempt 2 of 4, after ConnectionError: b refused", 1]
    assert Path(program.__file__).read_text().splitlines()[stack[1][1] - 1].startswith("@step(retries=3")


def test_a_step_that_gives_up_raises_its_own_error_and_shows_no_file_of_the_engine():
    program.FAILURES["b"] = 9
    outcome = start(program.in_turn)
    assert isinstance(outcome.error, ConnectionError) and outcome.error.__context__ is None
    assert "engine" not in outcome.traceback and "in tried" in outcome.traceback and "in in_turn" in outcome.traceback
    program.reset()
    program.FAILURES["c"] = 9
    text = start(program.in_turn).traceback
    assert "engine" not in text and "concurrent" not in text and "in threaded" in text


# --- keys ----------------------------------------------------------------------------------------------------------------


def test_effects_in_other_turns_branches_and_calls_have_other_keys():
    outcome = start(program.keys)
    used = [key for _, key in world("noted")]
    assert len(set(used)) == len(used) == 10
    assert outcome.value[0] == used[0], "what a statement asks for is the key of the next await"
    assert outcome.value[3] not in used and outcome.value[3].endswith("/again")
    assert all(key.startswith("a/") for key in used)


def test_a_reissued_effect_has_its_key_again():
    expected, resumed = kill_everywhere(program.keys)  # the world is kept over the kill
    assert [outcome for _, outcome in resumed] == [expected] * len(resumed)
    assert len(set(world("noted"))) == 10


def test_branches_that_run_in_another_order_after_the_crash_keep_their_keys():
    def keys(late):
        program.reset()
        program.LATE = late
        assert isinstance(start(program.racing), Completed)
        return {entry[0]: entry[1] for entry in program.WORLD}

    assert keys("left") == keys("right")


def test_a_task_that_is_held_across_awaits_keeps_its_key():
    same_everywhere(program.tasks_held, reset=program.reset)
    kill_everywhere(program.tasks_held)  # the world is kept over the kill
    assert len(set(world("noted"))) == 2


def test_all_attempts_of_a_step_have_one_key_in_every_process():
    program.FAILURES["b"] = 3
    store = Store(kill_at=3)
    start(program.in_turn, store=store)
    resume(store.payloads[-1])
    assert len(world("b")) == 4 and len(set(world("b"))) == 1


def test_agents_have_keys_of_their_own():
    start(program.charged_once)
    asyncio.run(Agent("other", persist=Store().persist).start(program.charged_once))
    (_, one), (_, other) = world("once")
    assert one.split("/")[1:] == other.split("/")[1:] and other.startswith("other/")


def test_outside_an_agent_keys_are_random_and_one_for_all_attempts():
    assert effect_key() != effect_key()
    program.FAILURES["x"] = 2
    asyncio.run(program.tried("x"))
    asyncio.run(program.tried("x"))
    assert [len(set(world("x")[:3])), len(set(world("x")))] == [1, 2]


# --- outcomes that nobody knows ------------------------------------------------------------------------------------------


def killed_in(playbook, effects, store=None):
    """The payload with which it goes on after a kill right after the *effects*-th effect, whose outcome got lost."""
    store = store or Store()

    async def main():
        running = asyncio.ensure_future(Agent("a", persist=store.persist).start(playbook))
        while len(program.WORLD) < effects:
            await asyncio.sleep(0)
        asyncio.get_running_loop().stop()
        await running

    from harness import run

    assert run(main()) is None
    return store.payloads[-1]


def test_an_effect_that_may_have_happened_is_not_repeated_but_raised():
    outcome = resume(killed_in(program.charged_once, 1))
    ((_, key),) = world("once")
    assert outcome == Completed(("charge", key))


def test_the_intent_is_durable_before_the_effect_begins():
    store = Store(kill_at=1)
    assert start(program.charged_once, store=store) is None
    assert not program.WORLD
    assert resume(store.payloads[0]).value[0] == "charge"
    assert not program.WORLD


def test_a_crash_before_the_intent_runs_it():
    """The checkpoint of a sibling says nothing of a step that waits behind it."""
    store = Store(kill_at=1)
    start(program.charged_beside, store=store)
    assert isinstance(resume(store.payloads[0]), Completed)


def test_a_function_that_finds_out_makes_it_exactly_once_wherever_it_is_killed():
    expected = start(program.charged_found)
    assert expected == Completed((1, [2, 3], "four"))
    for effects in range(1, 5):
        program.reset()
        payload = killed_in(program.charged_found, effects)
        assert resume(payload) == expected
        assert sorted(name for name, _ in program.WORLD) == ["four", "one", "three", "two"]
    same_everywhere(program.charged_found, reset=program.reset)


def test_it_costs_one_checkpoint_more():
    store = Store()
    start(program.charged_once, store=store)
    assert len(store.payloads) == 2


def test_an_attempt_that_was_seen_to_fail_is_known_and_tried_again():
    program.FAILURES["one"] = 1
    assert start(program.charged_found) == Completed((1, [2, 3], "four"))
    assert len(world("one")) == 2


def test_a_timeout_is_an_unknown_outcome():
    outcome = start(program.timed_out, "raise")
    assert outcome.value == ("OutcomeUnknown", "TimeoutError", 1)
    program.reset()
    outcome = start(program.timed_out, "find")
    assert outcome.value == ("found", None, 1)
    program.reset()
    assert start(program.timed_out, "not done").value == ("TimeoutError", None, 2)
    program.reset()
    assert start(program.timed_out, "retry").value == ("TimeoutError", None, 2)


def test_a_step_that_cannot_tell_may_say_so():
    outcome = start(program.lost_answer)
    assert outcome.value == ("bank did not answer", 1)


def test_a_reconciliation_that_fails_is_tried_again_and_then_gives_up_as_unknown():
    payload = killed_in(program.asks_a_dead_bank, 1)
    program.FAILURES["asked"] = 1
    assert resume(payload) == Completed(("here", 2))
    program.FAILURES["asked"] = 9
    outcome = resume(payload)
    assert outcome.value[0] == "OutcomeUnknown" and isinstance(outcome.value[1], ConnectionError)


def test_a_cancelled_step_is_the_programs_own_decision():
    assert same_everywhere(program.cancelled_charge, reset=program.reset).value == ("timeout", "next")


# --- hand-overs ----------------------------------------------------------------------------------------------------------


def handed_over(playbook, effects):
    """(outcome, the newest payload) of a run that was asked to leave at its *effects*-th effect."""
    store = Store()

    async def main():
        agent = Agent("a", persist=store.persist)
        running = asyncio.ensure_future(agent.start(playbook))
        while len(program.WORLD) < effects:
            await asyncio.sleep(0)
        agent.stop_at_checkpoint("drain")
        return await running

    return asyncio.run(main()), store.payloads[-1]


@pytest.mark.parametrize("effects", range(4))
def test_a_hand_over_waits_for_outcomes_that_would_be_unknown(effects):
    outcome, payload = handed_over(program.charged_in_turn, effects)
    assert outcome == Stopped("drain")
    assert resume(payload) == Completed([0, 1, 2, 3])
    assert len(program.WORLD) == 4


@pytest.mark.parametrize("effects", range(6))
def test_a_hand_over_lets_no_other_effect_begin_that_would_be_unknown(effects):
    outcome, payload = handed_over(program.charged_all_the_time, effects)
    assert outcome == Stopped("drain")
    assert len(program.WORLD) <= effects + 2
    assert resume(payload) == Completed([0, 1, 2, 3, 4, 5, 6, 7])
    assert len(program.WORLD) == 8


def test_a_stop_while_it_runs_leaves_the_outcome_unknown():
    store = Store()

    async def main():
        agent = Agent("a", persist=store.persist)
        running = asyncio.ensure_future(agent.start(program.charged_once))
        while not program.WORLD:
            await asyncio.sleep(0)
        await agent.stop("drain deadline")
        return await running

    assert asyncio.run(main()) == Stopped("drain deadline")
    assert resume(store.payloads[-1]).value[0] == "charge"


# --- threads -------------------------------------------------------------------------------------------------------------


def test_a_synchronous_step_runs_in_a_thread_with_the_context_of_its_call():
    assert start(program.in_context).value == "tenant of the call"
    assert world("c")[0][2] is False


def test_what_a_thread_raises_arrives_as_it_is():
    assert start(program.stop_iteration).value == ("coroutine raised StopIteration", "KeyError")


def test_a_thread_outlives_its_timeout_and_its_agent():
    program.RELEASED.clear()
    outcome = start(program.slow_thread)
    assert outcome.value == "timeout"
    assert not world("slow")
    program.RELEASED.set()
    program.FINISHED.wait(10)
    assert len(world("slow")) == 1


# --- what a step may be, and hold ----------------------------------------------------------------------------------------


def test_a_step_is_one_effect_and_calls_no_playbook():
    outcome = start(program.calls_inside)
    assert "step with_playbook calls playbook paying:charged_once: a step is one effect" in outcome.value
    assert "step sync_with_playbook calls playbook" in start(program.calls_inside_thread).value


def test_a_step_inside_a_step_is_a_part_of_it_with_keys_of_its_own():
    store = Store()
    program.FAILURES["part"] = 1
    assert start(program.nested, store=store) == Completed(["part", "part", "part"])
    assert len(store.payloads) == 1
    keys = [key for _, key in world("part")]
    assert len(keys) == 4 and len(set(keys)) == 3 and keys[0] == keys[1]


def test_a_step_that_no_module_holds_is_refused_inside_an_agent_only():
    assert asyncio.run(program.make_local()()) == 1
    outcome = start(program.uses_local)
    assert "step make_local.<locals>.local that no module holds by name" in str(outcome.error)
    assert "define it at module level" in str(outcome.error)


def test_any_function_may_be_made_a_step_under_another_name():
    assert start(program.renamed) == Completed(7)


def test_what_cannot_be_a_step_is_said_at_once():
    with pytest.raises(TypeError, match="is a playbook, which is resumed inside"):
        step(program.keys)
    with pytest.raises(TypeError, match="put @step below @staticmethod"):
        step(staticmethod(len))
    with pytest.raises(ValueError, match="retries=-1"):
        step(retries=-1)(print)
    with pytest.raises(ValueError, match="on_unknown='ignore'"):
        step(on_unknown="ignore")(print)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        program.tried()


def test_only_what_retry_on_names_is_tried_again():
    program.FAILURES["typed"] = 1
    with pytest.raises(ConnectionError):
        asyncio.run(program.only_value_errors("typed"))
    program.FAILURES["chosen"] = 1
    assert asyncio.run(program.only_refused("chosen")) == "chosen"


def test_the_strategies_of_tenacity_are_taken():
    program.FAILURES["strategic"] = 2
    assert asyncio.run(program.strategic("strategic")) == "strategic"
    program.FAILURES["strategic"] = 99
    with pytest.raises(ConnectionError):
        asyncio.run(program.strategic("strategic"))
    assert program.FAILURES["strategic"] == 94, "five attempts"


def test_a_step_deep_down_is_within_the_recursion_limit():
    assert start(program.deep, 440) == Completed(440)


# --- where a step may be called ------------------------------------------------------------------------------------------


class Slow(Store):
    """A store whose writes are durable some turns of the loop later."""

    def persist(self, moment, payload):
        super().persist(moment, payload)
        return self._later()

    async def _later(self):
        for _ in range(20):
            await asyncio.sleep(0)
        self.durable = len(self.payloads)


def test_no_effect_begins_while_its_intent_is_being_written():
    store = Slow()
    seen = []

    async def main():
        running = asyncio.ensure_future(Agent("a", persist=store.persist).start(program.charged_found))
        while not running.done():
            before = len(program.WORLD)
            await asyncio.sleep(0)
            if len(program.WORLD) > before:
                seen.append(store.durable == len(store.payloads))
        return running.result()

    assert asyncio.run(main()) == Completed((1, [2, 3], "four"))
    assert seen == [True] * len(seen) and len(seen) >= 3


def test_killed_while_an_intent_is_being_written_it_runs_once():
    """The write of every checkpoint is lost in turn: what the one before it says must be enough."""
    whole = Store()
    expected = start(program.charged_found, store=whole)
    for number in range(2, len(whole.payloads) + 1):
        program.reset()
        victim = Store(kill_at=number)
        assert start(program.charged_found, store=victim) is None
        assert resume(victim.payloads[-2]) == expected
        assert sorted(name for name, _ in program.WORLD) == ["four", "one", "three", "two"]


@pytest.mark.parametrize("case", [program.holds_a_header, program.in_every_kind_of_task])
def test_steps_in_headers_and_tasks_end_the_same_killed_at_every_checkpoint(case):
    assert isinstance(same_everywhere(case, reset=program.reset), Completed)


def test_steps_in_handlers_end_the_same_killed_at_every_checkpoint():
    def reset():
        program.reset()
        program.FAILURES["fails"] = 1

    expected, resumed = kill_everywhere(program.careful_in_handlers, reset=reset)
    assert expected == Completed([1, "fails refused", 3])
    said = [outcome.error.step if isinstance(outcome, Failed) else outcome for _, outcome in resumed]
    assert set(map(repr, said)) == {repr(expected), repr("charge")}, "unknown only where it was killed at its intent"
    assert said.count("charge") == 1


def test_what_must_not_be_repeated_is_refused_where_it_would_be():
    outcome = start(program.careful_in_a_header)
    assert "step charge, which must not be repeated (on_unknown): it is called as a `with` is entered" in str(
        outcome.error
    )
    assert not program.WORLD


def test_an_error_of_a_step_is_caught_and_kept_as_any_other():
    def reset():
        program.reset()
        program.FAILURES["b"] = 9

    def between():
        program.FAILURES["b"] = 9

    outcome = same_everywhere(program.remembers_what_went_wrong, reset=reset, between=between)
    assert outcome.value == ("b refused", "NoneType")


def test_a_frozen_agent_begins_no_attempt():
    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.ensure_future(agent.start(program.in_turn))
        agent.freeze()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not program.WORLD
        agent.thaw()
        return await running

    assert isinstance(asyncio.run(main()), Completed)


def test_a_region_of_a_playbooks_own_statements_refuses_intents_and_tells_its_turns_apart():
    outcome = start(program.careful_in_a_comprehension)
    assert "it is called in an atomic region, where nothing is checkpointed" in str(outcome.error)
    assert not program.WORLD
    assert len(set(start(program.keys_in_a_comprehension).value)) == 3


def test_an_attempt_that_was_seen_to_fail_is_no_unknown_outcome_after_a_crash_in_the_pause(monkeypatch):
    program.FAILURES["paused"] = 1
    store = Store(kill_at=2)  # its intent; its failure
    assert start(program.charged_after_a_pause, store=store) is None
    monkeypatch.setattr(program.pauses.__step__, "_reconciler", fail_when_asked)
    assert resume(store.payloads[-1]) == Completed(1)
    assert len(world("paused")) == 2


def fail_when_asked(key, *args):
    raise AssertionError("its outcome was known")


def test_a_reconciliation_that_is_tried_again_does_not_run_the_step_again():
    program.FAILURES["asked"] = 1
    assert start(program.asked_twice) == Completed("found")
    assert [entry[0] for entry in program.WORLD] == ["begun", "asked", "asked"]


def test_an_agent_that_is_frozen_during_a_pause_begins_no_attempt_until_it_is_thawed():
    program.FAILURES["paused"] = 1

    async def main():
        agent = Agent("a", persist=Store().persist)
        running = asyncio.ensure_future(agent.start(program.paused_plainly))
        while not program.WORLD:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        agent.freeze()
        await asyncio.sleep(0.1)  # the pause is over
        assert len(program.WORLD) == 1
        agent.thaw()
        return await running

    assert asyncio.run(main()) == Completed("paused")
    assert len(program.WORLD) == 2
