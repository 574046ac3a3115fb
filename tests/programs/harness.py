"""Runs agents in memory for the tests of the engine: to the end, to a kill, to a stop; and listens for what leaks.

A kill is a loop that is never run again (see test_engine_kill.py); a clean end is one after which nothing complains.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import linecache
import logging
import sys
import warnings
from contextlib import contextmanager

from playbooks_worker.engine import Agent
from playbooks_worker.engine.place import here


class Store:
    """Keeps payloads and moments; kills the loop at checkpoint *kill_at*, once it is kept."""

    def __init__(self, kill_at=None):
        self.kill_at = kill_at
        self.payloads = []
        self.moments = []

    def persist(self, moment, payload):
        self.moments.append(moment)
        if moment.kind != "step":
            return None
        self.payloads.append(payload)
        if self.kill_at == len(self.payloads):
            asyncio.get_running_loop().stop()
            return asyncio.get_running_loop().create_future()
        return None


def run(operation, *, collect=True):
    """Run to the end, or until the kill (None); a killed loop is abandoned as a dead process would be. *collect* what it
    left, at once."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(operation)
    task.add_done_callback(lambda _: loop.stop())
    loop.call_later(20, loop.stop)
    loop.run_forever()
    outcome = task.result() if task.done() else None
    loop.set_exception_handler(lambda *_: None)
    for other in (task, *asyncio.all_tasks(loop)):
        other._log_destroy_pending = False
    loop._ready.clear()
    loop._scheduled.clear()
    loop.close()
    del task, operation
    if collect:
        gc.collect()
        assert here.get() is None, "what a collector closed has said where it stands"
    return outcome


def load(name, source, folder):
    """The module *name*, made anew from *source*: its file may have been another a moment ago."""
    file = folder / f"{name}.py"
    file.write_text(source)
    linecache.checkcache(str(file))
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(name, file)
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    exec(compile(source, str(file), "exec"), vars(made))
    return made


def start(playbook, *args, store=None, **kwargs):
    return run(Agent("a", persist=(store or Store()).persist).start(playbook, args, kwargs))


def resume(payload, store=None):
    return run(Agent("a", persist=(store or Store()).persist).resume(payload))


def kill_everywhere(playbook, *args, reset=lambda: None, between=lambda: None):
    """The outcome of an uninterrupted run and [(checkpoint, outcome of the run resumed from it)]. *between* makes what
    another process would have anew."""
    reset()
    whole = Store()
    expected = start(playbook, *args, store=whole)
    resumed = []
    for number in range(1, len(whole.payloads) + 1):
        reset()
        victim = Store(number)
        ended = start(playbook, *args, store=victim)
        between()
        # a program with chance in it may have had fewer checkpoints
        resumed.append((number, resume(victim.payloads[-1]) if ended is None else ended))
    return expected, resumed


def same_everywhere(playbook, *args, reset=lambda: None, between=lambda: None):
    """Kill at every checkpoint: each resumed run ends as the uninterrupted one. Answers that outcome."""
    expected, resumed = kill_everywhere(playbook, *args, reset=reset, between=between)
    assert resumed, "no checkpoint"
    for number, outcome in resumed:
        assert outcome == expected, f"killed at {number}: {outcome!r} instead of {expected!r}"
    return expected


@contextmanager
def nothing_leaks():
    """Fails when anything was left to the collector: a pending task, an unseen exception, a never-awaited coroutine."""
    complaints = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda args: complaints.append(args)
    log = asyncio.base_events.logger
    written = _Handler(complaints)
    log.addHandler(written)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield complaints
            gc.collect()
            complaints += [str(warning.message) for warning in caught]
    finally:
        sys.unraisablehook = hook
        log.removeHandler(written)
    assert not complaints, complaints


class _Handler(logging.Handler):
    def __init__(self, complaints):
        super().__init__()
        self.complaints = complaints

    def emit(self, record):
        self.complaints.append(record.getMessage())


def to_end(operation):
    """`asyncio.run` with everything that leaks found."""
    with nothing_leaks():
        return asyncio.run(operation)
