"""After a resume plain coroutines run again and make their calls anew: which saved call is it that they make?

Matched by the path of tasks below the site, playbook and number within its task. Each part of its arguments must be what it
was when the call was made, or be the very object that the call was given, whatever the call has made of that since.
"""

from __future__ import annotations

import itertools
from types import FunctionType
from typing import Any

from playbooks_worker.engine.branches import branch_of
from playbooks_worker.engine.errors import ResumeMismatch
from playbooks_worker.engine.frames import Call
from playbooks_worker.engine.losses import PROTOCOL, kind_of
from playbooks_worker.engine.markers import Marker, about_of
from playbooks_worker.engine.place import OWN, Below, Path
from playbooks_worker.engine.playbooks import Playbook
from playbooks_worker.engine.snapshot import Reader, Saver

_ATOMS = (str, int, float, bool, bytes, type(None))
_NOTHING = object()


def given(arguments: tuple[Any, ...]) -> bytes | None:
    """What *arguments* are now: they may be changed later. None when they cannot be saved (the checkpoint says so)."""
    saver = Saver({}, {}, ())
    try:
        saver.dump(arguments)
    except Exception:  # whatever a program's own reducers raise; the next checkpoint names the variable
        return None
    return saver.sink.joined()


def match(
    below: Below, path: Path, playbook: Playbook, number: int, arguments: tuple[Any, ...]
) -> tuple[int, Call | None]:
    """(number, the saved call), or (number, None) for a call that is new. Raises `ResumeMismatch`."""
    agent = below.agent
    if path == OWN:
        # A statement's own calls go on by id wherever they are held; only those made by an expression that is
        # evaluated again, because it also holds plain awaitables, come back here, in their order.
        referenced = agent.loader().referenced
        for place, call in below.expected.items():
            if place[0] == path and place[1] == playbook.id and place[2] >= number and call.id not in referenced:
                del below.expected[place]
                return place[2], call
        return number, None
    found = below.expected.pop((path, playbook.id, number), None)
    if found is None:
        return number, None
    if not fits(found, arguments):
        raise ResumeMismatch(
            f"agent {agent.id}: below {_where(below)} call {number + 1} of "
            f"{playbook.id} has other arguments than before the crash; plain coroutines between playbooks must make the "
            "same calls again: pass what may differ through a playbook"
        )
    return number, found


def all_made(below: Below) -> None:
    """Raises `ResumeMismatch` when the code that ran again did not come back to a call that it had in flight."""
    agent = below.agent
    for (path, _, _), call in below.expected.items():
        if path != OWN and call.id in agent.unreached:
            raise ResumeMismatch(
                f"agent {agent.id}: below {_where(below)} the call of {call.playbook.id} that was in flight at the crash "
                "was not made again; plain coroutines between playbooks must make the same calls again: pass what may "
                "differ through a playbook"
            )


def _where(below: Below) -> str:
    frame = below.frame
    if frame is None or not frame.site:
        return "a task"
    if below.branch is not None and below.branch.position is not None:
        return f"the task of {frame.playbook.filename}:{below.branch.position[0]}"
    site = frame.playbook.rewritten.sites[frame.site - 1]
    return f"{frame.playbook.filename}:{site.line} `{site.statement}`"


def kept(call: Call) -> tuple[Any, ...] | None:
    """The arguments that a checkpoint must hold of a running call of plain code, since what they are now counts too."""
    if all(isinstance(argument, _ATOMS) for argument in call.arguments):
        return None
    return call.arguments


def fits(call: Call, arguments: tuple[Any, ...]) -> bool:
    """Whether *arguments* are those that *call* was made with."""
    new = given(arguments)
    if call.given is None or new is None or call.given == new:
        return True
    call.agent.rest()
    return _alike(arguments, _then(call.given), call.arguments, set())


def _then(made: bytes) -> Any:
    return Reader(made, _number, _numbers, _cell, _task).load()


def _alike(one: Any, two: Any, now: Any, seen: set[tuple[int, int]]) -> bool:
    """Whether *one* says what *two* says, or is *now*, or its parts do. Most objects have no `==` of their own: their parts
    are compared, since equal values may be pickled differently (the order of a set, what is shared)."""
    if one is now:
        return True
    if isinstance(one, Call):
        return bool(two == _number(one.id))
    branch = branch_of(one)
    if branch is not None:
        return bool(two == _task(branch.id))
    if isinstance(two, Marker):  # it could not be saved then: nothing but its kind is known
        kind = about_of(two).kind
        return isinstance(one, Marker) or kind_of(one) == kind or (one is None and kind == "traceback")  # raised again
    if type(one) is not type(two):
        return False
    if one is two or (id(one), id(two)) in seen:
        return True
    seen.add((id(one), id(two)))
    try:
        if bool(one == two):
            return True
    except Exception:  # the program's own comparison fails: only the parts can tell
        pass
    if isinstance(one, _ATOMS):
        return bool(one != one and two != two)  # not a number
    if isinstance(one, list | tuple):
        if len(one) != len(two):
            return False
        parts = itertools.chain(now if isinstance(now, list | tuple) else (), itertools.repeat(_NOTHING))
        return all(_alike(*each, seen) for each in zip(one, two, parts, strict=False))
    if isinstance(one, dict):
        same_keys = _alike(list(one), list(two), _NOTHING, seen)
        values = [now.get(key, _NOTHING) for key in one] if isinstance(now, dict) else _NOTHING
        return same_keys and _alike(list(one.values()), list(two.values()), values, seen)
    if isinstance(one, set | frozenset):
        return len(one) == len(two) and not any(isinstance(item, _ATOMS) for item in one ^ two)
    if isinstance(one, BaseException):  # where it was raised is no part of what it says
        return _alike(_said(one), _said(two), _NOTHING, seen)
    if isinstance(one, FunctionType):
        return (one.__module__, one.__qualname__) == (two.__module__, two.__qualname__)
    try:
        made, other = one.__reduce_ex__(PROTOCOL), two.__reduce_ex__(PROTOCOL)
        is_now = type(now) is type(one)
        return _alike(made, other, now.__reduce_ex__(PROTOCOL) if is_now else _NOTHING, seen)
    except Exception:  # nothing to tell them apart by
        return True


def _said(error: BaseException) -> list[Any]:
    return [error.args, vars(error)]


def _number(number: int) -> Any:
    return ("call", number)


def _task(identity: int) -> Any:
    return ("task", identity)


def _numbers(call: int, header: int, index: int) -> Any:
    return ("target", call, header, index)


def _cell(call: int, name: str) -> Any:
    return ("cell", call, name)
