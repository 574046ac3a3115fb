"""Results and errors as JSON: whatever a playbook returns or raises, the agent ends and somebody can read how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date

import pytest

from playbooks_worker.host.results import failure, jsonable


@dataclass
class Point:
    x: int


class Nasty:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Plain:
    def __repr__(self) -> str:
        return "<plain>"


CYCLE: list[object] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": [1, 2.5, None, True]}, {"a": [1, 2.5, None, True]}),
        (Point(3), {"x": 3}),
        ([date(2026, 1, 2), (1, 2)], ["2026-01-02", [1, 2]]),
        (Plain(), "<plain>"),
        ({"deep": [Plain()]}, {"deep": ["<plain>"]}),
        (float("inf"), "Infinity"),
        (CYCLE, "[[...]]"),
        (b"\xff", "b'\\xff'"),
        (Nasty(), "<Nasty>"),
        ("\ud800", "'\\ud800'"),
    ],
)
def test_whatever_is_returned_can_be_shown(value: object, shown: object) -> None:
    assert jsonable(value) == shown
    json.dumps(jsonable(value), allow_nan=False).encode()


def test_an_error_is_its_bare_class_name_and_its_message() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert failure(KeyError("x"), "tb") == {"type": "KeyError", "message": "'x'", "traceback": "tb"}
    assert failure(Broken(), "tb")["message"] == "(its message could not be printed)"
