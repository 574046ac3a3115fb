"""What an open header brings, or has changed, that a checkpoint holds like any other object instead of referring to it.

Called by capture.py for each open header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine import managers, stacks
from playbooks_worker.engine.footprints import is_made_by_generator
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.reducers import singleton_of
from playbooks_worker.engine.snapshot import Saver
from playbooks_worker.engine.undoing import Header, Undone, Watch

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent


def own(agent: Agent, call: Call, number: int, manager: Any, saver: Callable[[], Saver]) -> set[int]:
    """By id, what a header brings that is saved like any other object: itself (`async with limiter`), what it had before
    (`async with pool as thing`). What refers to it, other headers among them, then refers to the one object."""
    assert call.frame is not None
    saved = _saved_itself(call.frame, number, manager)
    found = {id(manager)} if saved else set()
    watch = agent.watches.get((call.id, number))
    if watch is None:
        return found
    if watch.own and (saved or is_made_by_generator(manager)):
        found.update(id(one) for one in watch.own if _saves(watch, one, saver))
    if isinstance(manager, stacks.KnownStack):
        found.update(id(one) for one in stacks.own(manager) if _saves(watch, one, saver))
    return found


def since(undone: Undone, header: Header, manager: Any, kept: dict[str, Any], saver: Saver) -> list[Any]:
    """What holds again when this header has been entered: in objects that are saved with it."""
    saved = any(value is manager for value in kept.values()) or is_made_by_generator(manager)
    if not saved or singleton_of(saver, manager) is not None:
        return []
    found = undone.since(header, saver.targets.keys())
    return [tuple(one) for one in found if singleton_of(saver, one.thing) is None]


def _saves(watch: Watch, value: Any, saver: Callable[[], Saver]) -> bool:
    """Whether all of *value* can be saved. Asked once for each header."""
    if id(value) not in watch.saves:
        watch.saves[id(value)] = value, _is_whole(value, saver())
    return watch.saves[id(value)][1]


def _is_whole(value: Any, saver: Saver) -> bool:
    saver.targets = {}
    try:
        saver.dump(value)
    except Exception:  # whatever a program's own reducers raise
        return False
    return not saver.lost


def _saved_itself(frame: Frame, number: int, manager: Any) -> bool:
    """Whether a manager is saved with its header."""
    local = frame.coroutine.cr_frame.f_locals
    temporaries = frame.playbook.rewritten.headers[number - 1].temporaries
    unsavable = frame.playbook.unsavable
    return any(
        local.get(name) is manager
        and ((-number, name) not in unsavable or frame.came_alone(name, manager, temporaries.deps.get(name, ()), local))
        and (name in temporaries.loads or not managers.made_anew(manager))
        for name in temporaries.roots
    )
