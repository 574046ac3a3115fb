"""Checkpoints that cross from one Python to another: written by `write`, resumed by

    python crossing.py FOLDER

which exits 1 and says what came out differently. Results are compared by their `repr`; of checkpoints that are bound to the
Python that wrote them, it is what the resume was refused with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import library_values
import local_code
import plain_values
from harness import Store, resume, start

from playbooks_worker.engine import Blocked, Completed

CASES = {
    **{f"plain_values.{name}": case for name, case in plain_values.CASES.items()},
    **{f"library_values.{name}": case for name, case in library_values.CASES.items()},
    **{f"local_code.{name}": case for name, case in local_code.BY_DEFINITION.items()},
}


def write(folder: Path) -> int:
    """How many checkpoints were written."""
    expected, count = {}, 0
    for name, case in CASES.items():
        store = Store()
        outcome = start(case, store=store)
        assert isinstance(outcome, Completed), outcome
        expected[name] = repr(outcome.value)
        for number, payload in enumerate(store.payloads):
            (folder / f"{name}.{number}.bin").write_bytes(payload)
            count += 1
    for name, case in local_code.OF_ONE_PYTHON.items():
        store = Store()
        start(case, store=store)
        expected[name] = "Blocked"
        (folder / f"{name}.0.bin").write_bytes(store.payloads[0])
    (folder / "expected.json").write_text(json.dumps(expected))
    return count


def differing(folder: Path) -> list[str]:
    expected = json.loads((folder / "expected.json").read_text())
    found = []
    for file in sorted(folder.glob("*.bin")):
        outcome = resume(file.read_bytes())
        said = repr(outcome.value) if isinstance(outcome, Completed) else getattr(outcome, "traceback", outcome)
        if isinstance(outcome, Blocked) and "which only Python 3." in outcome.why:
            said = "Blocked"
        if said != expected[file.name.rsplit(".", 2)[0]]:
            found.append(f"{file.name}: {said}\n   instead of {expected[file.name.rsplit('.', 2)[0]]}")
    return found


if __name__ == "__main__":
    differ = differing(Path(sys.argv[1]))
    print("\n".join(differ))
    sys.exit(bool(differ))
