"""What a checkpoint says of one frame: which of its temporaries it must hold, and when what was said of it holds again.

Called by capture.py, which puts the frames of an agent together.
"""

from __future__ import annotations

import types
from typing import Any, NamedTuple

from playbooks_worker.engine import managers, stacks
from playbooks_worker.engine.branches import branch_of
from playbooks_worker.engine.diagnosis import Written
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.markers import Marker
from playbooks_worker.engine.reentry import MADE_AGAIN, NOT_BOUND
from playbooks_worker.engine.resource_handles import Resource
from playbooks_worker.engine.rewrite import Temporaries

# what most temporaries are: savable as they stand, and nothing to await
_ATOMS = frozenset({str, int, float, bool, bytes, type(None)})


class Still(NamedTuple):
    """What was said of a frame that waits at its site: true again while it awaits the same value, below which no more
    calls were made, and nothing more of its playbook turned out not to be savable. (The objects in it can change: they
    are pickled anew.)"""

    value: Any
    made: int
    unsavable: int
    meta: tuple[Any, ...]
    entry: tuple[Any, ...]
    again: list[str]
    written: Written


def needed(
    frame: Frame, place: int, temporaries: Temporaries, local: Any, kept: dict[str, Any], *, of_header: bool
) -> list[str]:
    """Put the temporaries that must be saved into *kept*; answers those that are to be made again.

    *of_header*: one that is open, or being entered: what it is made of must be the same then and later."""
    again: list[str] = []
    names = list(temporaries.roots)
    seen: set[str] = set()
    unsavable = frame.playbook.unsavable
    while names:
        name = names.pop()
        if name in seen or name in kept:
            continue
        seen.add(name)
        value = local.get(name, NOT_BOUND)
        if value is NOT_BOUND:
            continue
        deps = temporaries.deps.get(name)
        if (
            deps is not None
            and type(value) not in _ATOMS
            and not frame.came_alone(name, value, deps, local)
            and (
                value is MADE_AGAIN
                or (place, name) in unsavable
                or _made_anew(value)
                or (of_header and name not in temporaries.loads and managers.made_anew(value))
            )
        ):
            again.append(name)
            names.extend(deps)
        else:
            kept[name] = value
    return again


def _made_anew(value: Any) -> bool:
    """Whether nothing of *value* has happened yet: an awaitable, or a manager that an exit stack is to enter."""
    return stacks.is_opening(value) or _awaitable(value)


def _awaitable(value: Any, depth: int = 0) -> bool:
    """Whether *value* is an awaitable other than a playbook's call or branch, or a container of one."""
    kind = type(value)
    if kind is Call or kind is Marker or kind is Resource or branch_of(value) is not None:
        return False
    if kind is list or kind is tuple or kind is set:
        return depth < 3 and any(_awaitable(item, depth + 1) for item in value)
    if kind is dict:
        return depth < 3 and any(_awaitable(item, depth + 1) for item in value.values())
    return kind is types.CoroutineType or hasattr(kind, "__await__") or kind is types.GeneratorType
