"""The engine with one mistake in it, run on generated programs: a fuzzer that does not notice proves nothing.

    python tests/programs/mutants.py NAME SEED COUNT     exit code 1, as fuzz.py's, once a program shows the mistake

A mistake is one place of the engine's source written otherwise. It says so when the engine does not read like that any
more: then write the mistake anew. Called by tests/test_engine_mutants.py.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import fuzz

from playbooks_worker.engine import arriving, branches, cancels, capture, committing, frames, mortal, reentry, regions

# name: where it is, what is read there, what is read instead
MISTAKES: dict[str, tuple[Any, str, str, str]] = {
    "every third outcome is not checkpointed": (
        frames, "go",
        "if not frame.playbook.of_operation:", "if frame.turn % 3 and not frame.playbook.of_operation:",
    ),
    "user code goes on while its checkpoint is being written": (
        committing.Committing, "_checkpoint", "self._writing = True\n", "self._writing = True; wake(waiters)\n",
    ),
    "effects start before what is owed is durable": (
        committing.Committing, "may_start", "elif self.owed or self._settling:", "elif False:",
    ),
    "effects start while what was owed is being written": (
        committing.Committing, "may_start", "elif self.owed or self._settling:", "elif self.owed:",
    ),
    "the end of an atomic region is not checkpointed": (
        regions, "leave", "agent.owed = agent.gated = True", "pass",
    ),
    "restored frames go on before the others stand at their sites": (
        arriving.Arriving, "_watch_barrier", "if progress != self._progress", "idle = _IDLE_TURNS\n        if False",
    ),
    "links of restored exceptions are not put back": (
        reentry.Reentry, "_links_put_back",
        "error.__cause__, error.__context__, error.__suppress_context__, error.__traceback__, contents = put_back",
        "_, _, _, _, contents = put_back",
    ),
    "a cancellation that arrives during a write is forgotten": (
        committing.Committing, "commit", "self.told_later(held)", "pass",
    ),
    "a cancellation that was not told before the crash is forgotten": (
        cancels, "on_the_way", "if cancel is None or", "if True or",
    ),
    "the outcome of an ended branch is not saved": (
        branches.Branch, "settled", "return (True, task.result())", "return (True, None)",
    ),
    "an outcome is saved as another": (
        capture._Attempt, "_entry", "frame.outcome, rows or None", "frame.outcome and (True, None), rows or None",
    ),
    "handlers of a dead agent run": (
        mortal.Mortal, "die", "self.stopping = BaseException\n", "self.stopping = ()\n",
    ),
}  # fmt: skip


def make(name: str) -> None:
    """Make this mistake, wherever the function is known."""
    where, function, right, wrong = MISTAKES[name]
    original = inspect.unwrap(getattr(where, function))
    text = inspect.getsource(original)
    if text.count(right) != 1:
        raise SystemExit(f"{function} does not read {right!r} once any more: write this mistake anew")
    space = vars(sys.modules[original.__module__])
    kept = space.get(function)
    exec(compile(textwrap.dedent(text.replace(right, wrong)), f"<{name}>", "exec"), space)
    made = space.pop(function)
    if kept is not None and inspect.isclass(where):
        space[function] = kept
    if inspect.isclass(where):
        setattr(where, function, made)
        return
    for module in [module for name, module in sys.modules.items() if name.startswith("playbooks_worker.engine")]:
        if vars(module).get(function) is original or module is where:
            setattr(module, function, made)
    for cell in frames.HELPERS.values():
        if cell.cell_contents is original:
            cell.cell_contents = made


if __name__ == "__main__":
    make(sys.argv[1])
    sys.exit(fuzz.main([*sys.argv[2:], "--first"]))
