"""What `@playbook` costs at import and at the first call: a playbook of 500 awaits, rewritten and compiled."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure
from playbooks_worker.engine.playbooks import playbook_of, playbooks_in
from playbooks_worker.host.programs import load

AWAITS = 500
_EXAMPLE = Path(__file__).parents[1] / "examples" / "audit.py"
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
_DENSE = """\
@playbook
async def dense(library, topics):
    library.counts[await effect("index", topics)] += library.weight() * await effect("value", library.name)
    first, *rest = [library.first(), await effect("cover", topics), *topics, await effect("index", library.name)]
    pages = {topic: await effect("page", topic) for topic in topics if await effect("worth reading", topic)}
    notes = [[await effect("line", number) for number in range(3)] for page in await effect("pages", pages)]
    library.say(f"{library.title()}: {await effect('title', first)!r:>{await effect('width', rest)}}", notes=notes)
    library.tell(*await effect("readers", topics), about=library.name, **await effect("options", library.name))
    found = await effect("found", notes) if library.open and await effect("allowed", library.name) else "nothing"
    return library.low() < await effect("level", found) < library.high() and (await effect("summary", found) or rest)
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
            ratio = len(ast.unparse(made.emitted())) / len(source)
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
        _of_the_example(),
        _of_dense_code(),
    ]


def _of_the_example() -> Figure:
    """A program as people write them."""
    program = load(str(_EXAMPLE))
    known = [playbook_of(made) for made in playbooks_in(program.module).values()]
    written = sum(len("\n".join(made.definition.own_lines())) for made in known if made is not None)
    emitted = sum(len(ast.unparse(made.emitted())) for made in known if made is not None)
    return Figure(
        f"what is emitted for examples/{_EXAMPLE.name}, to the source",
        "×",
        6,
        [emitted / written],
        reference=f"{len(known)} playbooks, {written:,} bytes",
    )


def _of_dense_code() -> Figure:
    """Awaits packed into displays, calls and comprehensions, as nobody should write them."""
    with TemporaryDirectory(prefix="playbooks-bench-") as folder:
        path = Path(folder) / "dense_awaits.py"
        path.write_text(_HEAD + _DENSE)
        made = playbook_of(load(str(path)).playbook("dense"))
    assert made is not None
    return Figure(
        "what is emitted for awaits packed densely, to the source",
        "×",
        6,
        [len(ast.unparse(made.emitted())) / len(_DENSE)],
        reference=f"{len(made.rewritten.sites)} awaits, {len(_DENSE):,} bytes",
    )
