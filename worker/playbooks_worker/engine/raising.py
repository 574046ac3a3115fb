"""Errors that a site catches and raises again: with the `__context__` that plain Python gives them.

An error that is raised where a coroutine runs has for its context whatever is being handled around it. One that a task or a
future brings is *thrown* into the coroutines that wait for it: each of them, from the innermost, makes what it is handling
itself the context (CPython's `_gen_throw`; meanwhile `sys.exception()` does not know what the outer ones handle). A site
catches the error on that way, has it checkpointed, and raises it later as an ordinary error; so what the coroutine around it
would have done is done here first, and is part of the checkpoint. Called by `frames` and `driving`.
"""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING, NoReturn

from playbooks_worker.engine.completions import RAISE

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Frame

THROWN = ".thrown"  # what a checkpoint says of a completed site
_YIELDED = {dis.opmap["YIELD_VALUE"], dis.opmap["RESUME"]}  # where a coroutine stands that waits: 3.11 and 3.12, 3.13


def raise_as_it_was(error: BaseException) -> NoReturn:
    """Raise what was raised before: where another exception is being handled, `raise` alone would give it a new context."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context


def came_to(frame: Frame, error: BaseException, ended: Frame | None) -> None:
    """*error* has ended a site of *frame*, which awaited the playbook that ran in *ended*, or something else."""
    brought = frame.brought == (frame.turn, id(error))
    if brought or _is_thrown_into(frame) or (ended is not None and thrown_out_of(ended)):
        frame.thrown = frame.turn
        _chain(error, _handled(frame))


def came_to_plain_code(
    frame: Frame | None, error: BaseException, ended: Frame | None, around: BaseException | None
) -> None:
    """*error* has ended the playbook that ran in *ended*, or (None) in a process before. The plain code that awaits it was
    called by *frame*; *around* is what was being handled when it began."""
    raised_here = not thrown_out_of(ended) if ended is not None else any(link is around for link in _links(error))
    if raised_here:
        return
    if frame is not None:
        frame.brought = (frame.turn, id(error))
    while frame is not None and around is not None:
        if around is _handled(frame):
            return
        owner = frame.call_.owner
        frame = None if owner is None else owner.frame
    _chain(error, around)


def thrown_out_of(ended: Frame) -> bool:
    """Whether the error that ends this frame was thrown into it, or comes of one that was: it has not waited since."""
    return ended.thrown == ended.turn


def _is_thrown_into(frame: Frame) -> bool:
    """Whether the coroutine that awaits the running site stands where it has yielded, and is not sending to it."""
    active = frame.coroutine.cr_frame
    return active.f_code.co_code[active.f_lasti] in _YIELDED


def _handled(frame: Frame) -> BaseException | None:
    """What the playbook is handling itself where it stands: in the innermost handler, or `finally`, around its site."""
    if frame.coroutine is None or frame.coroutine.cr_frame is None or not frame.site:
        return None
    local = frame.coroutine.cr_frame.f_locals
    for step in reversed(frame.playbook.rewritten.sites[frame.site - 1].path):
        value = local.get(step)
        if type(value) is tuple and value[0] == RAISE:
            value = value[1]
        if isinstance(value, BaseException):
            return value
    return None


def _chain(error: BaseException, handled: BaseException | None) -> None:
    """Make *handled* the context; a cycle is cut as Python cuts it."""
    if handled is None or handled is error:
        return
    for link in _links(handled):
        if link.__context__ is error:
            link.__context__ = None
    error.__context__ = handled


def _links(error: BaseException) -> list[BaseException]:
    """*error* and its contexts."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and not any(link is known for known in found):
        found.append(link)
        link = link.__context__
    return found
