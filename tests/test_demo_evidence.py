"""The demo's judge must see what may not have happened: it is the only witness that a newcomer has."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def evidence() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_evidence", EXAMPLES / "demo_evidence.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_evidence"] = module
    spec.loader.exec_module(module)
    return module


SECTIONS = {"json": ["json/a.py", "json/b.py", "json/c.py"]}


def log_of(evidence, *keys_and_pids):
    return [evidence.Begun(key, pid) for key, pid in keys_and_pids]


def whole(evidence, pid=1):
    """An uninterrupted audit of SECTIONS with two modules at once."""
    keys = ["survey", "list json"]
    for module in SECTIONS["json"]:
        keys += [f"{step} {module}" for step in evidence.STEPS]
    return [evidence.Begun(key, pid) for key in [*keys, "rank json", "summarise"]]


def judge(evidence, log, killed=()):
    return evidence.judge(log, evidence.places(SECTIONS, 2), killed, 2)


def test_an_uninterrupted_audit_ran_every_effect_once(evidence):
    verdict = judge(evidence, whole(evidence))
    assert (verdict.once, verdict.twice, verdict.wrong) == (13, [], [])


def test_an_effect_in_flight_at_a_kill_may_run_twice(evidence):
    log = whole(evidence)
    cut = 4  # the process dies while it measures a.py
    after = [evidence.Begun(begun.key, 2) for begun in log[cut - 1 :]]
    verdict = judge(evidence, log[:cut] + after, killed=[1])
    assert verdict.twice == ["measure json/a.py"]
    assert verdict.wrong == []


def test_an_effect_that_had_been_recorded_may_not_run_again(evidence):
    log = whole(evidence)
    after = [evidence.Begun(begun.key, 2) for begun in log[2:]]  # parse a.py again, though measure a.py had begun
    verdict = judge(evidence, log[:4] + after, killed=[1])
    assert any("although it was recorded" in line and "parse json/a.py" in line for line in verdict.wrong)


def test_an_effect_may_not_run_again_without_a_kill(evidence):
    log = whole(evidence)
    verdict = judge(evidence, [*log[:3], evidence.Begun(log[2].key, 2), *log[3:]])
    assert any("was not killed" in line for line in verdict.wrong)


def test_a_missing_and_a_foreign_effect_are_named(evidence):
    log = [*whole(evidence)[:-1], evidence.Begun("delete everything", 1)]
    verdict = judge(evidence, log)
    assert verdict.wrong == ["never ran: summarise", "not part of the audit: delete everything"]


def test_owners_that_interleave_or_skip_a_number_are_seen(evidence):
    assert evidence.judge_stream([(10, 1), (10, 2), (20, 3)]) == []
    assert evidence.judge_stream([(10, 1), (20, 2), (10, 3)])
    assert evidence.judge_stream([(10, 1), (10, 3)])
    assert evidence.judge_stream([(10, 1), (20, 1)])
