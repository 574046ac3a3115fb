"""Given agents that tell people what they do, When they are killed anywhere, Then what stands is what an agent tells that
nobody kills: each effect's words once, in their order."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from playbooks_providers.events import Event, EventPlace
from playbooks_providers.ids import AgentId
from playbooks_worker import emit
from playbooks_worker.engine import Agent, Completed
from playbooks_worker.engine.talk.world import Alone
from playbooks_worker.host.events import Reading

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import tellers  # noqa: E402 - found beside the programs it runs
from harness import Store, run  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Ears(Alone):
    """Hears what an agent tells, of one owner after another."""

    def __init__(self):
        self.events = []
        self.fence = 1

    def emit(self, key, attempt, event):
        body = {"key": key, "attempt": attempt, "time_ms": 0, "event": event}
        self.events.append(Event(EventPlace(self.fence, len(self.events) + 1), json.dumps(body).encode()))

    @property
    def standing(self):
        return [told.event for told in Reading(AgentId("a1")).read(self.events)]

    @property
    def by_effect(self):
        effects = {}
        for told in Reading(AgentId("a1")).read(self.events):
            effects.setdefault(told.key, []).append(told.event)
        return effects


def live(program, ears, *, kill_at=0, payload=None):
    store = Store(kill_at)
    agent = Agent("a", persist=store.persist, world=ears)
    return run(agent.start(program) if payload is None else agent.resume(payload)), store


STORY = ["begins", "once ", "upon ", "a time\n", "goes on"]
for number in range(2):
    STORY += [{"turn": number}, f"plain {number} ", f"inner {number}", f"{number} one ", f"{number} two\n"]
    STORY += [{"inner": number}, "and after\n"]
STORY += ["from ", "a thread\n", "ends"]


def test_what_an_agent_tells_is_heard_in_order():
    ears = Ears()
    outcome, _ = live(tellers.story, ears)
    assert outcome == Completed("told")
    assert ears.standing == STORY


def test_killed_at_every_checkpoint_what_stands_is_the_same():
    unhurt = Ears()
    whole = live(tellers.story, unhurt)[1]
    for number in range(1, len(whole.payloads) + 1):
        ears = Ears()
        ended, victim = live(tellers.story, ears, kill_at=number)
        if ended is None:
            ears.fence = 2
            live(tellers.story, ears, payload=victim.payloads[-1])
        # a plain coroutine that is run again tells its part again behind what was told below it
        assert ears.by_effect == unhurt.by_effect, f"killed at {number}"


def test_a_later_attempt_of_a_step_replaces_what_the_earlier_ones_told():
    tellers.TRIES["left"] = 2
    ears = Ears()
    live(tellers.stumbling, ears)
    assert len(ears.events) == 2 + 2 * 2 + 3
    assert ears.standing == ["before", "a ", "b ", "c\n", "after"]


def test_what_json_cannot_hold_or_is_too_much_is_refused_at_the_call():
    ears = Ears()
    outcome, _ = live(tellers.tells_what_json_cannot_hold, ears)
    assert outcome == Completed("refused")
    assert ears.events == []


def test_outside_an_agent_nobody_is_told_and_nothing_fails():
    emit("hello")
    asyncio.run(tellers.says("a", "b"))


# --- reading ---------------------------------------------------------------------------------------------------------
def told(fence, number, key, event, attempt=1):
    body = {"key": key, "attempt": attempt, "time_ms": 0, "event": event}
    return Event(EventPlace(fence, number), json.dumps(body).encode())


def test_a_reader_that_follows_is_told_once_what_is_replaced():
    reading = Reading(AgentId("a1"))
    assert [one.replaces for one in reading.read([told(1, 1, "k", "a"), told(1, 2, "k", "b")])] == [False, False]
    later = reading.read([told(2, 1, "k", "a"), told(2, 2, "k", "b"), told(2, 3, "other", "c")])
    assert [(one.event, one.replaces) for one in later] == [("a", True), ("b", False), ("c", False)]
    assert [one.replaces for one in reading.read([told(2, 4, "k", "d")])] == [False]


def test_who_reads_from_the_start_sees_only_what_stands():
    events = [told(1, 1, "k", "a"), told(1, 2, "j", "x"), told(2, 1, "k", "A"), told(2, 2, "k", "B", attempt=2)]
    assert [(one.event, one.replaces) for one in Reading(AgentId("a1")).read(events)] == [("x", False), ("B", False)]


def test_what_no_host_has_written_is_passed_over():
    assert Reading(AgentId("a1")).read([Event(EventPlace(1, 1), b"\xff"), Event(EventPlace(1, 2), b"[]")]) == []
