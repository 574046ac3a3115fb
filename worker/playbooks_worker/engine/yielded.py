"""Plain data of its own that a manager of `contextlib` yields (`yield {}`): its generator and the program share it.

Where the agent goes on, the generator has begun again with new data, and the program has the data that was saved. Before the
generator goes on behind its `yield`, its data gets what the program's holds; when it has ended, the program's gets what the
generator has made of it. Called by headers.py, async_headers.py, capture.py and reentry.py.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.markers import Marker

if TYPE_CHECKING:
    from playbooks_worker.engine.reentry import Reentry

KINDS = (list, dict, set, bytearray)


def saved_as(header: int) -> str:
    """The name of the data among what is saved of a frame."""
    return f".yielded{header}"


def opened(frame: Reentry, number: int, manager: Any, value: Any) -> None:
    """The header has brought *value*."""
    if (
        type(value) in KINDS
        and isinstance(manager, contextlib._GeneratorContextManagerBase)
        and _its_own(manager, value)
    ):
        frame.yielded = {**frame.yielded, number: (value, value)}


def _its_own(manager: Any, value: Any) -> bool:
    """Whether the generator has made it: nobody else's data is written to."""
    generator = manager.gen
    running = generator.ag_frame if inspect.isasyncgen(generator) else generator.gi_frame
    if running is None:
        return False
    code, variables = running.f_code, running.f_locals
    own = any(variables.get(name) is value for name in (*code.co_varnames, *code.co_cellvars))
    return own and not any(one is value for one in running.f_globals.values())


def saved(frame: Reentry) -> dict[str, Any]:
    """What a checkpoint says of it: the program's own."""
    return {saved_as(number): programs for number, (_, programs) in frame.yielded.items()}


def restored(frame: Reentry, saved: dict[str, Any]) -> None:
    """The program has its variables back."""
    for number, (generators, _) in frame.yielded.items():
        programs = saved.get(saved_as(number), generators)
        if isinstance(programs, dict):  # what could not be saved of it has just been made
            for key, value in programs.items():
                if isinstance(value, Marker) and key in generators:
                    programs[key] = generators[key]
        frame.yielded[number] = generators, programs


def leaves(frame: Reentry, number: int) -> None:
    """The generator is about to go on."""
    if number in frame.yielded:
        generators, programs = frame.yielded[number]
        _become(generators, programs)


def left(frame: Reentry, number: int) -> None:
    """It has ended."""
    if number in frame.yielded:
        generators, programs = frame.yielded.pop(number)
        _become(programs, generators)


def _become(one: Any, other: Any) -> None:
    if one is not other:
        held = other.copy()
        one.clear()
        one.extend(held) if isinstance(one, list | bytearray) else one.update(held)
