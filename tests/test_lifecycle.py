"""The table of an agent's life, walked exhaustively."""

from __future__ import annotations

import itertools

import pytest

from playbooks_providers.lifecycle import TABLE, Step, after, step_to
from playbooks_providers.model import FINAL, Status

ALL = [None, *Status]
OWNERS = {Step.RELEASE, Step.DELAY, Step.PARK, Step.COMPLETE, Step.FAIL, Step.CANCEL}
OWNERS |= {Step.PAUSE, Step.BLOCK, Step.QUARANTINE}

EXPECTED = """
create:      None->ready
take:        ready->running
release:     running->ready
delay:       running->waiting
park:        running->waiting
wake:        ready->ready running->ready waiting->ready
complete:    running->completed
fail:        running->failed
cancel:      running->cancelled
pause:       running->paused
block:       running->blocked
quarantine:  running->quarantined
retry:       paused->ready blocked->ready quarantined->ready failed->ready
order-pause:  ready->paused waiting->paused
order-cancel: waiting->ready paused->ready blocked->ready quarantined->ready
order-terminate: ready->ready running->ready waiting->ready paused->ready blocked->ready quarantined->ready
terminate:   ready->cancelled running->cancelled waiting->cancelled paused->cancelled blocked->cancelled
terminate:   quarantined->cancelled
"""


def test_every_pair_of_status_and_step_leads_where_the_design_says() -> None:
    allowed = {}
    for line in EXPECTED.split("\n"):
        if line:
            step, _, ways = line.partition(":")
            for way in ways.split():
                status, _, to = way.partition("->")
                allowed[(None if status == "None" else Status(status), Step(step))] = Status(to)
    for pair in itertools.product(ALL, Step):
        assert after(*pair) == allowed.get(pair), pair


def test_nothing_follows_the_end_but_a_persons_retry_of_what_failed() -> None:
    assert {(status, step) for status in FINAL for step in Step if after(status, step)} == {(Status.FAILED, Step.RETRY)}


def test_only_a_running_agent_obeys_an_owner() -> None:
    for (status, step), _ in TABLE.items():
        assert step not in OWNERS or status is Status.RUNNING


def test_every_status_can_be_reached_and_every_one_but_the_end_be_left() -> None:
    assert {*TABLE.values()} == {*Status}
    assert {status for status, _ in TABLE} - {None} == {*Status} - FINAL | {Status.FAILED}


def test_only_take_makes_an_agent_run() -> None:
    assert {step for (_, step), to in TABLE.items() if to is Status.RUNNING} == {Step.TAKE}


def test_an_owner_leaves_its_agent_ended_or_set_aside_and_nothing_else() -> None:
    for status in Status:
        if status in (Status.READY, Status.RUNNING, Status.WAITING):
            with pytest.raises(ValueError, match="cannot leave"):
                step_to(status)
        else:
            assert after(Status.RUNNING, step_to(status)) is status
