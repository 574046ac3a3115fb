"""Writes the golden checkpoints: for each construct a payload from the middle of the run and one from near its end.

    python tests/golden/write.py        on each supported Python; every later version must resume all of them

A released file is never written again: `<construct>.<python minor>.bin` holds what that release wrote.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import importlib.util
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = HERE.parent / "programs" / "constructs.py"


def load_program(path=str(PROGRAM)):
    """The constructs as module `constructs`, the name that the checkpoints hold; *path* is the file that tracebacks
    show, and that their places in a checkpoint hold."""
    if "constructs" not in sys.modules:
        loader = importlib.machinery.SourceFileLoader("constructs", path)
        spec = importlib.util.spec_from_file_location("constructs", PROGRAM, loader=loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules["constructs"] = module
        spec.loader.exec_module(module)
    return sys.modules["constructs"]


def joined(payloads):
    """Several payloads in one file, each after its length."""
    return b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)


def split(stored):
    payloads = []
    while stored:
        size = int.from_bytes(stored[:4], "big")
        payloads.append(stored[4 : 4 + size])
        stored = stored[4 + size :]
    return payloads


def write():
    from playbooks_worker.engine import Agent, Completed

    os.chdir(PROGRAM.parent)
    program = load_program(PROGRAM.name)
    expected = {}
    for name, case in program.CASES.items():
        payloads = []

        def keep(moment, payload, payloads=payloads):
            if moment.kind == "step":
                payloads.append(payload)

        program.reset()
        outcome = asyncio.run(Agent("golden", persist=keep).start(case))
        assert isinstance(outcome, Completed), (name, outcome)
        expected[name] = repr(outcome.value)
        chosen = [payloads[len(payloads) // 2], payloads[-2 if len(payloads) > 1 else -1]]
        (HERE / f"{name}.{sys.version_info.minor}.bin").write_bytes(joined(chosen))
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    write()
