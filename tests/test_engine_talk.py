"""Given agents that talk, When the process dies at any checkpoint, any acceptance of a letter, or before its sender hears of
it, Then every conversation ends as it does when nothing dies: no letter lost, none twice, in order."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_worker.engine import Agent, Cancelled, Completed, Received
from playbooks_worker.engine.talk.world import Alone

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import talkers  # noqa: E402 - found beside the programs it runs
from harness import Store  # noqa: E402
from town import kill_everywhere, whole  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize(
    ("program", "args", "expected"),
    [
        (talkers.boss, (3,), ([["heard", 0], ["heard", 1], ["heard", 2]], 3)),
        (talkers.burst, (20,), list(range(20))),
        (talkers.asker, (), ["ONE", "TWO", 2]),
        (talkers.fan, (3,), ([0, 1, 4], [0, 1, 4, 100])),
        (talkers.failing_child, (), (("ChildFailed", "failed", True), ["ChildFailed"])),
        (talkers.picky, (), ("b", ["a", "c"])),
        (talkers.in_branches, (), ([1, 2], [1, 2])),
        (
            talkers.cancels_a_child,
            (),
            (["tidied: no more need", "tidied: its parent boss has cancelled it"], "completed"),
        ),
        (talkers.looks_at_a_child, (), (True, [7], "completed")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_killed_at_every_step(program, args, expected):
    ends, _ = kill_everywhere(program, *args)
    assert ends["boss"] == expected


def test_a_letter_to_nobody_is_an_error_at_the_sender():
    ends, _ = whole(talkers.to_nobody)
    assert ends == {"boss": "agent nobody is not known"}


def test_an_agent_that_has_nothing_left_but_a_letter_to_deliver_does_not_end_before_it_is_accepted_also_after_a_crash():
    written = []

    class Town(Clock):
        async def look_up(self, receiver):
            return 1

    async def persist(moment, payload):
        written.append((moment, payload))
        if moment.kind == "step":
            await asyncio.Event().wait()  # the process dies once it is written

    async def agent(resumes):
        world = Town()
        made = Agent("boss", persist=persist, next_seq=len(written) + 1, world=world)
        living = asyncio.create_task(made.resume(resumes) if resumes else made.start(talkers.talks, ("other", 1)))
        for _ in range(20):
            await asyncio.sleep(0)
        kinds = [moment.kind for moment, _ in written]
        if resumes:
            made.accepted(world.mailing.outbox[0])
            await living
        else:
            await made.stop("killed")
            living.cancel()
        return kinds

    assert asyncio.run(agent(None)) == ["step"]
    assert asyncio.run(agent(written[0][1])) == ["step"]
    assert [moment.kind for moment, _ in written] == ["step", "completed"]


# --- who only waits --------------------------------------------------------------------------------------------------


class Clock(Alone):
    """The world of one agent, in which time passes when the test says so."""

    def __init__(self):
        self.now_s = 1_000.0
        self.mailing = None

    def now(self):
        return self.now_s

    def resumed(self, mailing):
        self.mailing = mailing


async def settled():
    for _ in range(60):
        await asyncio.sleep(0)


def live(program, scenario, *, payload=None, clock=None):
    """*scenario*(agent, task, store, clock) while the agent runs *program*, or goes on from *payload*."""

    async def main():
        store, world = Store(), clock or Clock()
        agent = Agent("a", persist=store.persist, world=world)
        task = asyncio.create_task(agent.start(program) if payload is None else agent.resume(payload))
        await settled()
        answer = await scenario(agent, task, store, world)
        if not task.done():
            await agent.stop("the test is over")
            await task
        return answer

    return asyncio.run(main())


def test_a_sleep_of_an_hour_killed_after_20_minutes_has_40_left():
    async def begin(agent, task, store, clock):
        return store.payloads[-1], agent.wakes_at()

    async def go_on(agent, task, store, clock):
        assert agent.wakes_at() - clock.now() == 2400
        clock.now_s += 2400
        agent.look_again()
        return await task

    payload, wakes_at = live(talkers.nap, begin)
    assert wakes_at == 4600
    clock = Clock()
    clock.now_s += 1200
    assert live(talkers.nap, go_on, payload=payload, clock=clock) == Completed("awake")


def test_a_timeout_of_a_receive_goes_on_after_a_resume():
    async def begin(agent, task, store, clock):
        return store.payloads[-1]

    async def go_on(agent, task, store, clock):
        return await task

    clock = Clock()
    clock.now_s += 61
    outcome = live(talkers.patient, go_on, payload=live(talkers.patient, begin), clock=clock)
    assert outcome == Completed("no message within 60 s")


def test_a_question_to_a_person_is_in_the_checkpoint_until_it_is_answered():
    async def begin(agent, task, store, clock):
        return store.payloads[-1], store.moments[-1].mailing.questions

    async def answered(agent, task, store, clock):
        assert clock.mailing.questions == questions
        agent.deliver(1, Received("person:x", 0, "reply", questions[0].id, "yes"))
        outcome = await task
        assert store.moments[-1].mailing is None or not store.moments[-1].mailing.questions
        return outcome

    payload, questions = live(talkers.approval, begin)
    assert [(one.person, one.value, one.until_s) for one in questions] == [("ann", {"pay": 10}, 1000 + 2 * 86400)]
    assert live(talkers.approval, answered, payload=payload) == Completed("yes")


@pytest.mark.parametrize(
    "program",
    [
        talkers.nap,
        talkers.patient,
        talkers.approval,
        talkers.two_naps,
        talkers.a_task_and_a_lock,
        talkers.in_a_group,
    ],
    ids=lambda one: one.__name__,
)
def test_an_agent_that_only_waits_is_idle_before_and_after_a_resume(program):
    async def idle(agent, task, store, clock):
        assert agent.is_idle()
        await agent.settle()
        assert agent.is_idle()
        return store.payloads[-1]

    payload = live(program, idle)
    live(program, idle, payload=payload)


@pytest.mark.parametrize(
    "program",
    [
        talkers.busy_beside,
        talkers.under_a_timeout,
        talkers.under_wait_for,
        talkers.in_plain_code,
        talkers.in_a_plain_task,
    ],
    ids=lambda one: one.__name__,
)
def test_an_agent_with_anything_else_in_flight_is_not_idle(program):
    async def busy(agent, task, store, clock):
        assert agent.waiting_for_letters
        assert not agent.is_idle()

    live(program, busy)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (talkers.tidies_up, ["enough", "tidied", "twice"]),
        (talkers.tidies_up_in_branches, ["tidied", "twice"]),  # its group has cancelled it, as groups do
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_cancelled_agent_tidies_up_durably_wherever_it_goes_on(program, expected):
    """Cancelled while it waits, it is killed at each checkpoint from then on; every one that goes on ends as cancelled, and
    has tidied up what was left to do."""

    async def begin(agent, task, store, clock):
        talkers.DONE.clear()
        before = len(store.payloads)
        agent.cancel("order 1", "enough")
        outcome = await task
        return store.payloads[before:], outcome, list(talkers.DONE)

    async def go_on(agent, task, store, clock):
        agent.cancel("order 1", "enough")  # told again, by who has not heard that it was raised
        outcome = await task
        return outcome, list(talkers.DONE)

    payloads, outcome, done = live(program, begin)
    assert outcome == Cancelled("enough")
    assert done == expected
    assert len(payloads) >= 2
    for number, payload in enumerate(payloads):
        talkers.DONE.clear()
        outcome, again = live(program, go_on, payload=payload)
        assert outcome == Cancelled("enough")
        assert again == done[-len(again) :], number
        assert "twice" in again or number == len(payloads) - 1


def test_an_agent_may_go_on_after_a_cancellation():
    async def begin(agent, task, store, clock):
        agent.cancel("order 1", "enough")
        return await task

    assert live(talkers.goes_on, begin) == Completed("went on")
