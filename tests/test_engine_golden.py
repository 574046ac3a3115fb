"""Checkpoints written by every supported Python, and by every release, go on here and end as they should."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import resume  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"

spec = importlib.util.spec_from_file_location("golden_write", GOLDEN / "write.py")
writer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writer)

program = writer.load_program()
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
FILES = sorted(GOLDEN.glob("*.bin"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_golden_checkpoint_goes_on_to_its_end(file):
    name = file.name.split(".")[0]
    for payload in writer.split(file.read_bytes()):
        program.reset()
        outcome = resume(payload)
        assert isinstance(outcome, Completed), outcome
        assert repr(outcome.value) == EXPECTED[name]


def test_every_construct_has_its_golden_checkpoints_of_every_python():
    assert {file.name for file in FILES} == {f"{name}.{minor}.bin" for name in program.CASES for minor in (11, 12, 13)}
