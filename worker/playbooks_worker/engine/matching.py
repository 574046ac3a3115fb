"""After a resume plain coroutines run again and make their calls anew: which saved call is it that they make?

Matched by the path of tasks below the site, playbook and number within its task; the arguments must be what they were.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from playbooks_worker.engine import tracebacks
from playbooks_worker.engine.errors import ResumeMismatch
from playbooks_worker.engine.frames import Call
from playbooks_worker.engine.place import OWN, Below, Path
from playbooks_worker.engine.playbooks import Playbook
from playbooks_worker.engine.snapshot import PROTOCOL, Reader, Saver

_ATOMS = (str, int, float, bool, bytes, type(None))


def given(arguments: tuple[Any, ...]) -> bytes | None:
    """What *arguments* are now: they may be changed later. None when they cannot be saved (the checkpoint says so)."""
    saver = Saver({}, {}, ())
    try:
        saver.dump(arguments)
    except Exception:  # whatever a program's own reducers raise; the next checkpoint names the variable
        return None
    return saver.buffer.getvalue()


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
    now = given(arguments)
    if found.given is not None and now is not None and found.given != now and not _same(found.given, now):
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
        if path != OWN and agent.is_unreached(call):
            raise ResumeMismatch(
                f"agent {agent.id}: below {_where(below)} the call of {call.playbook.id} that was in flight at the crash "
                "was not made again; plain coroutines between playbooks must make the same calls again: pass what may "
                "differ through a playbook"
            )


def _where(below: Below) -> str:
    frame = below.frame
    if frame is None or not frame.site:
        return "a task"
    if below.branch is not None and below.branch.spot >= 0:
        return f"the task of {frame.playbook.filename}:{frame.playbook.position(below.branch.spot)[0]}"
    site = frame.playbook.rewritten.sites[frame.site - 1]
    return f"{frame.playbook.filename}:{site.line} `{site.statement}`"


def _same(one: bytes, two: bytes) -> bool:
    first, second = (Reader(data, _number, _numbers, _cell, _task).load() for data in (one, two))
    return _alike(first, second, set())


def _alike(one: Any, two: Any, seen: set[tuple[int, int]]) -> bool:
    """Whether two loaded values say the same. Most objects have no `==` of their own: their parts are compared, since
    equal values may be pickled differently (the order of a set, what is shared)."""
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
        return len(one) == len(two) and all(_alike(a, b, seen) for a, b in zip(one, two, strict=True))
    if isinstance(one, dict):
        return _alike(list(one.items()), list(two.items()), seen)
    if isinstance(one, set | frozenset):
        return len(one) == len(two) and not any(isinstance(item, _ATOMS) for item in one ^ two)
    if isinstance(one, BaseException):  # where it was raised is no part of what it says
        return _alike(_said(one), _said(two), seen)
    if isinstance(one, FunctionType):
        return (one.__module__, one.__qualname__) == (two.__module__, two.__qualname__)
    try:
        return _alike(one.__reduce_ex__(PROTOCOL), two.__reduce_ex__(PROTOCOL), seen)
    except Exception:  # nothing to tell them apart by
        return True


def _said(error: BaseException) -> list[Any]:
    return [error.args, {name: value for name, value in vars(error).items() if name != tracebacks.SAVED}]


def _number(number: int) -> Any:
    return ("call", number)


def _task(identity: int) -> Any:
    return ("task", identity)


def _numbers(call: int, header: int, index: int) -> Any:
    return ("target", call, header, index)


def _cell(call: int, name: str) -> Any:
    return ("cell", call, name)
