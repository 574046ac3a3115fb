"""Snippets of playbooks, run in every way that matters: in plain Python, in an agent, resumed from each checkpoint, killed,
stopped and cancelled at every turn of the loop.

A snippet is the body of a playbook `case` (or a whole program that defines one) over what fuzzing.py offers; its LOG says
what was evaluated, in order.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import textwrap
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fuzzing
import trials
from observing import Ordered

from playbooks_worker.engine import Agent, Completed, Stopped

HEAD = """\
from __future__ import annotations
import asyncio
from fuzzing import *
from fuzzing import LOG
from playbooks_worker import playbook
"""
_numbers = itertools.count(1)
_MOST_TURNS = 3000


def load(text, folder, *, whole=False, head=HEAD):
    """The module of one snippet. It stays importable until the end of the tests: checkpoints name it."""
    text = textwrap.dedent(text)
    if not whole:
        text = "@playbook\nasync def case():\n" + textwrap.indent(text, "    ")
    return trials.load(f"snippet_{next(_numbers)}", head + text, folder)


def same(text, folder, *, whole=False, head=HEAD):
    """Fails when the snippet does anything else than in plain Python. Answers how many checkpoints it had."""
    module = load(text, folder, whole=whole, head=head)
    loop = asyncio.new_event_loop()
    try:
        checkpoints = trials.Trial(loop, Ordered(), module, 0).everywhere()
    finally:
        loop.close()
    assert checkpoints, "no checkpoint"
    for how in (_kill, _stop, _cancel):
        step = 1 + checkpoints // 20  # long programs at some of their turns
        turn = next(turn for turn in range(1, _MOST_TURNS, step) if not _ended_at(turn, module.case, how))
        assert turn > checkpoints
    return checkpoints


class _Watched(Agent):
    """Remembers what had been said when it died."""

    said = None

    def die(self, why):
        if not self.dead:
            self.said = _said()
        super().die(why)


def _ended_at(turn, case, how):
    """End a run of *case* after this many turns of its loop; False when the run was over before."""
    fuzzing.LOG.clear()
    loop = asyncio.new_event_loop()
    agent = _Watched("a", persist=lambda moment, payload: None)
    task = loop.create_task(agent.start(case))
    left = turn

    def tick():
        nonlocal left
        left -= 1
        if left <= 0:
            loop.stop()
        else:
            loop.call_soon(tick)

    loop.call_soon(tick)
    loop.run_forever()
    over = task.done()
    if not over:
        before = how(loop, agent, task) or agent.said or []
        assert _said() == before, f"{how.__name__} at turn {turn}: statements ran on: {_said()[len(before) :]}"
    if not loop.is_closed():
        loop.close()
    return not over


def _kill(loop, agent, task):
    """The loop is never run again; what is collected runs nothing."""
    before = _said()
    loop.set_exception_handler(lambda *_: None)
    for other in (task, *asyncio.all_tasks(loop)):
        other._log_destroy_pending = False
    loop._ready.clear()
    loop._scheduled.clear()
    loop.close()
    agent.root_task = None
    agent._tasks.clear()
    del task
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in its first turn nothing of it was ever awaited
        gc.collect()
    return before


def _stop(loop, agent, task):
    loop.run_until_complete(agent.stop("a test"))
    outcome = loop.run_until_complete(task)
    assert isinstance(outcome, Stopped | Completed), outcome  # it may just have ended


def _cancel(loop, agent, task):
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    assert task.cancelled() or isinstance(task.result(), Completed)


def _said():
    """What the program logged, without the managers that an end may close and the plain coroutines that it lets end."""
    return [event for event in fuzzing.LOG if event[0] not in ("open", "close", "done")]
