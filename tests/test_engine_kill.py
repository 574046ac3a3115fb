"""A kill at every await, in memory: result and effects equal those of an uninterrupted run.

A kill is a loop that is never run again: nothing of the agent gets another turn, and when its coroutines are collected no
`finally` and no handler of a playbook may run.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from playbooks_worker.engine import Agent, Completed, Failed

PROGRAM = Path(__file__).parent / "programs" / "constructs.py"


def load_program():
    if "constructs" not in sys.modules:
        spec = importlib.util.spec_from_file_location("constructs", PROGRAM)
        module = importlib.util.module_from_spec(spec)
        sys.modules["constructs"] = module
        spec.loader.exec_module(module)
    return sys.modules["constructs"]


program = load_program()


class Killed(BaseException):
    """Leaves the loop at once."""


class Store:
    """Keeps payloads; kills at the given checkpoint, before or after it became durable."""

    def __init__(self, kill_at=None, durable=True):
        self.kill_at = kill_at
        self.durable = durable
        self.payloads = []
        self.completed = []

    def persist(self, moment, payload):
        if self.kill_at == len(self.payloads) + 1 and moment.kind == "step":
            if self.durable:
                self._keep(payload)
            raise_in_loop()
            return asyncio.get_running_loop().create_future()
        if moment.kind == "step":
            self._keep(payload)
        return None

    def _keep(self, payload):
        self.payloads.append(payload)
        self.completed.append(Counter(map(repr, program.COMPLETED)))


def raise_in_loop():
    asyncio.get_running_loop().stop()


def run(operation):
    """Run to the end, or until the kill; a killed loop is abandoned as a dead process would be."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(operation)
    task.add_done_callback(lambda _: loop.stop())
    loop.call_later(30, loop.stop)
    loop.run_forever()
    outcome = task.result() if task.done() else None
    log = list(program.STARTED)
    loop.set_exception_handler(lambda *_: None)
    task._log_destroy_pending = False
    for other in asyncio.all_tasks(loop):
        other._log_destroy_pending = False
    loop._ready.clear()
    loop._scheduled.clear()
    loop.close()
    del task, operation
    gc.collect()
    assert list(program.STARTED) == log, "statements of the program ran after the kill"
    return outcome


def reference(case):
    program.reset()
    store = Store()
    outcome = run(Agent("a", persist=store.persist).start(case))
    return outcome, store, Counter(map(repr, program.STARTED))


def plain(case):
    program.reset()
    return asyncio.run(case())


@pytest.mark.parametrize("name", program.CASES)
def test_inside_an_agent_a_program_does_what_it_does_in_plain_python(name):
    case = program.CASES[name]
    expected = plain(case)
    log = Counter(map(repr, program.STARTED))
    outcome, _, started = reference(case)
    assert outcome == Completed(expected)
    assert started == log


@pytest.mark.parametrize("durable", [True, False], ids=["after", "during"])
@pytest.mark.parametrize("name", program.CASES)
def test_killed_at_every_await_it_ends_the_same_and_repeats_only_what_was_in_flight(name, durable):
    case = program.CASES[name]
    expected, whole, log = reference(case)
    for kill in range(1, len(whole.payloads) + 1):
        program.reset()
        store = Store(kill, durable)
        assert run(Agent("a", persist=store.persist).start(case)) is None, kill
        if not store.payloads:
            assert run(Agent("a", persist=Store().persist).start(case)) == expected
            continue
        done = store.completed[-1]
        later = Store()
        outcome = run(Agent("a", persist=later.persist).resume(store.payloads[-1]))
        assert outcome == expected, f"killed at {kill}: {outcome}"
        started = Counter(map(repr, program.STARTED))
        assert not log - started, f"killed at {kill}: effects missing {log - started}"
        for effect in started - log:
            in_flight = log[effect] - done[effect]
            between = "'waits'" in effect or "'again')" in effect  # plain coroutines start again
            assert in_flight > 0 or between or effect.startswith("('note'"), f"killed at {kill}: {effect} repeated"


@pytest.mark.parametrize("name", program.CASES)
def test_killed_again_and_again_each_resumed_run_being_the_next_victim(name):
    case = program.CASES[name]
    expected, _, _ = reference(case)
    store = Store(1)
    outcome = run(Agent("a", persist=store.persist).start(case))
    for _ in range(1000):
        if outcome is not None:
            break
        victim = Store(1)
        outcome = run(Agent("a", persist=victim.persist).resume(store.payloads[-1]))
        if outcome is None:
            assert victim.payloads, "no progress"
            store = victim
    assert outcome == expected


def test_a_failing_agent_says_where_in_the_users_own_file():
    outcome = run(Agent("a", persist=Store().persist).start(program.failing, [3]))
    assert isinstance(outcome, Failed)
    assert "constructs.py" in outcome.traceback and "raise Custom(n" in outcome.traceback
    assert "engine" not in outcome.traceback
