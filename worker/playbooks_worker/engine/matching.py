"""After a resume plain coroutines run again and make their calls anew: which saved call is it that they make?

Matched by the path of tasks below the site, playbook and number within its task; the arguments must be what they were.
"""

from __future__ import annotations

from typing import Any

from playbooks_worker.engine.errors import ResumeMismatch
from playbooks_worker.engine.frames import Call
from playbooks_worker.engine.place import OWN, Below, Path
from playbooks_worker.engine.playbooks import Playbook
from playbooks_worker.engine.snapshot import Reader, Saver

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
    agent = below.frame.agent
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
        frame = below.frame
        site = frame.playbook.rewritten.sites[frame.site - 1]
        raise ResumeMismatch(
            f"agent {agent.id}: below {frame.playbook.filename}:{site.line} `{site.statement}` call {number + 1} of "
            f"{playbook.id} has other arguments than before the crash; plain coroutines between playbooks must make the "
            "same calls again: pass what may differ through a playbook"
        )
    return number, found


def _same(one: bytes, two: bytes) -> bool:
    first, second = (Reader(data, _number, _numbers, _cell).load() for data in (one, two))
    try:
        return bool(first == second)
    except Exception:  # a comparison of the program's own classes that fails says nothing
        return False


def _number(number: int) -> Any:
    return ("call", number)


def _numbers(call: int, header: int, index: int) -> Any:
    return ("target", call, header, index)


def _cell(call: int, name: str) -> Any:
    return ("cell", call, name)
