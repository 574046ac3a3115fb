"""What `@playbook` costs at import and at the first call: a playbook of 500 awaits, rewritten and compiled."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure
from playbooks_worker.engine.playbooks import playbook_of
from playbooks_worker.host.programs import load

AWAITS = 500
_HEAD = """\
from playbooks_worker import playbook

async def effect(*args): ...

"""
_PLAYBOOK = """\
@playbook
async def main(topic, tools):
    notes, failed = [], 0
"""
_TURN = """\
    question = f"What does source {n} say about {{topic}}? Answer with the name of a tool, or with text."
    reply = await effect("model", question, notes)
    if reply in tools:
        try:
            notes.append({{"source": {n}, "question": question, "found": await tools[reply](topic, {n})}})
        except LookupError as error:
            failed += 1
            notes.append({{"source": {n}, "question": question, "error": await effect("model", f"Explain: {{error}}")}})
"""


def measure(*, rounds: int) -> list[Figure]:
    source = _PLAYBOOK + "".join(_TURN.format(n=n) for n in range(0, AWAITS, 3)) + "    return notes, failed\n"
    text = _HEAD + source
    times: list[float] = []
    plain: list[float] = []
    ratio = 0.0
    with TemporaryDirectory(prefix="playbooks-bench-") as folder:
        for number in range(rounds):
            path = Path(folder) / f"five_hundred_awaits_{number}.py"
            path.write_text(text)
            began = time.process_time()
            compile(text, str(path), "exec")
            compiled = time.process_time()
            made = playbook_of(load(str(path)).playbook("main"))
            assert made is not None and made.code is not None
            plain.append(compiled - began)
            times.append(time.process_time() - compiled - plain[-1])  # loading compiles the module, too
            emitted = ast.unparse(made.rewritten.tree)
            ratio = len(emitted) / len(source)
    return [
        Figure(
            f"a playbook of {AWAITS} awaits rewritten and compiled",
            "s",
            0.5,
            times,
            reference=f"compile() of its source: {min(plain) * 1e3:.0f} ms",
        ),
        Figure(
            f"what is emitted for {AWAITS} awaits, to the source", "×", 6, [ratio], reference=f"{len(source):,} bytes"
        ),
    ]
