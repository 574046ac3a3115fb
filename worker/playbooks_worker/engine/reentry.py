"""What a frame answers to its emitted code: arguments at its beginning, and on the way back to a site what was saved.

`frames.Frame` is made of it. It changes nothing of the agent.
"""

from __future__ import annotations

import abc
import asyncio
import linecache
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CellType, CodeType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

from playbooks_worker.engine import contextual, iterators, tracebacks, yielded
from playbooks_worker.engine.completions import RAISE
from playbooks_worker.engine.errors import AgentStopped
from playbooks_worker.engine.place import Outcome

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.frames import Call, Frame
    from playbooks_worker.engine.playbooks import Playbook
    from playbooks_worker.engine.rewrite import Part


# cause, context, whether it is suppressed, traceback; contents of cells
PutBack: TypeAlias = tuple[Any, Any, bool, TracebackType | None, dict[str, Any]]


class _Mark:
    """A private sentinel of emitted code."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


MADE_AGAIN = _Mark("<evaluated again>")
NOT_BOUND = _Mark("<not bound>")


class Reentry(abc.ABC):
    """The half of a frame that emitted code asks."""

    __slots__ = (
        "_put_back",
        "agent",
        "call_",
        "came",
        "cells",
        "context",
        "coroutine",
        "evaluating",
        "outcome",
        "playbook",
        "site",
        "spot",
        "yielded",
    )

    agent: Agent
    call_: Call
    came: Mapping[str, int]  # temporaries that have come as values, without what they are made from: their identities
    playbook: Playbook
    cells: dict[str, CellType]
    context: dict[int, contextual.Values]  # as it was before each open header, and (0) at the site
    coroutine: Any
    evaluating: tuple[int, int] | None  # the place of what is being evaluated again
    outcome: Outcome | None
    site: int
    spot: int
    yielded: dict[int, tuple[Any, Any]]  # by header: its generator's data, and the program's (yielded.py)
    _put_back: PutBack | None

    @abc.abstractmethod
    def over(self, code: CodeType) -> Callable[..., Any]:
        """A function of this *code*, over the variables that are shared with nested functions."""

    def arguments(self) -> list[Any]:
        """The parameters that are plain locals, in order."""
        names = self.playbook.rewritten.names
        return [
            value for name, value in zip(names.parameters, self.call_.arguments, strict=True) if name in names.plain
        ]

    def kept(self, name: str) -> Any:
        """A value that is needed on the way to the site, before the locals are back."""
        value = self.agent.loader().value(cast("Frame", self), name)
        return self.about_to_raise(value) if isinstance(value, BaseException) else value

    def iterator(self, name: str) -> Any:
        """The iterator of a loop that is entered again."""
        return iterators.loaded(self.agent.loader().value(cast("Frame", self), name))

    def about_to_raise(self, error: BaseException) -> BaseException:
        """*error* will be raised again: `caught`, or `raised`, undoes what that changes."""
        links = error.__cause__, error.__context__, error.__suppress_context__, error.__traceback__
        self._put_back = (*links, self._contents())
        return error

    def of_header(self, number: int) -> list[Any]:
        """The temporaries of a header that is about to be entered again, as they were saved, or evaluated again."""
        header = self.playbook.rewritten.headers[number - 1]
        saved = self.agent.loader().of_header(cast("Frame", self), number)
        if contextual.DECLARED:
            contextual.put_back(saved.get(contextual.saved_as(number)))
        found = {name: saved.get(name, NOT_BOUND) for name in header.names}
        self._came(found)
        local = {**self.coroutine.cr_frame.f_locals, **found}
        for part in header.again:
            if local[part.name] is MADE_AGAIN:
                try:
                    local[part.name] = self._evaluated(part, local)
                except Exception as error:
                    self.cannot_enter(number, error)
        return [local[name] for name in header.names]

    def cannot_enter(self, number: int, error: BaseException) -> NoReturn:
        """No handler of the program is on the way to a header, so the agent must wait outside until it can be entered."""
        line = self.playbook.rewritten.headers[number - 1].line
        text = linecache.getline(self.playbook.filename, line).strip()
        where = f"{self.playbook.filename}:{line} `{text}`"
        why = f"{type(error).__name__}: {error}"
        self.agent.block(f"agent {self.agent.id}: {where} cannot be entered again ({why}); resume when it can")
        raise AgentStopped(why) from None

    def again(self) -> list[Any]:
        """0 for `.pc`, and the temporaries that the site needs, as they were saved, or evaluated again.

        What that raises is raised at the site, where the other frames have been waited for."""
        parts = self.playbook.rewritten.sites[self.site - 1].again
        local = dict(self.coroutine.cr_frame.f_locals)
        for part in parts:
            if local.get(part.name) is MADE_AGAIN and (self.outcome is None or self.outcome[0]):
                try:
                    local[part.name] = self._evaluated(part, local)
                except AgentStopped:
                    raise
                except (Exception, asyncio.CancelledError) as error:
                    self.outcome = False, error
        return [0, *[local.get(part.name, NOT_BOUND) for part in parts]]

    def _evaluated(self, part: Part, local: dict[str, Any]) -> Any:
        code, given = self.playbook.evaluator(part)
        self.evaluating = part.expression.lineno, part.expression.col_offset
        try:
            return self.over(code)(*[local.get(name, NOT_BOUND) for name in given])
        finally:
            self.evaluating = None

    def position(self) -> tuple[int, int]:
        """(line, column) in the source of what is being evaluated."""
        return self.evaluating or self.playbook.position(self.coroutine.cr_frame.f_lasti)

    def restored(self) -> list[Any]:
        """All locals, and the temporaries that sites need here, in the order of `Rewritten.restored`."""
        saved = self.agent.loader().locals(cast("Frame", self))
        if self.yielded:
            yielded.restored(self, saved)
        if contextual.DECLARED:
            saved = contextual.restored(self, saved)
        names = self.playbook.rewritten.restored[self.spot]
        self._came({name: saved.get(name, NOT_BOUND) for name in names if not name.isidentifier()})
        return [saved.get(name, NOT_BOUND) for name in names]

    def _came(self, found: dict[str, Any]) -> None:
        came = {name: id(value) for name, value in found.items() if type(value) is not _Mark}
        if came:
            self.came = {**self.came, **came}

    def came_alone(self, name: str, value: Any, made_from: Iterable[str], local: Mapping[str, Any]) -> bool:
        """Whether a temporary came as a value, without what it is made from: it can only be saved again, whatever other
        agents have learned of that place since."""
        return self.came.get(name) == id(value) and any(local.get(part) is NOT_BOUND for part in made_from)

    def local(self, name: str) -> Any:
        """One local as it was saved."""
        return self.agent.loader().locals(cast("Frame", self)).get(name, NOT_BOUND)

    def own(self, name: str) -> Any:
        """A variable that nested functions share, and that may not be bound."""
        try:
            return self.cells[name].cell_contents
        except ValueError:
            pass
        self.unbound(name)

    def unbound(self, name: str) -> NoReturn:
        raise UnboundLocalError(f"cannot access local variable '{name}' where it is not associated with a value")

    @property
    def stopping(self) -> Any:
        """What emitted handlers let pass first: everything, once the agent is dead. What others get shows no engine."""
        tracebacks.cleaned(sys.exception())
        return self.agent.stopping

    @property
    def handles(self) -> bool:
        """Whether a handler of `except*` may look at the error."""
        tracebacks.cleaned(sys.exception())
        return not self.agent.dead

    def caught(self, pc: int, name: str) -> BaseException | None:
        """The exception of a handler that is being entered, for the first time or (*pc*) again."""
        error = sys.exception()
        if pc and error is not None and self._put_back is not None:
            contents = self._links_put_back(error, self._put_back)
            # the handler has bound its name, which the program may have bound anew
            for name, content in contents.items():
                if content is NOT_BOUND:
                    del self.cells[name].cell_contents
                else:
                    self.cells[name].cell_contents = content
        return error

    def left(self, name: str) -> tuple[str, Any] | None:
        """How the block in front of the site was left (completions.py); what was raised is raised again."""
        completion: tuple[str, Any] | None = self.kept(name)
        if completion is not None and completion[0] == RAISE:
            raise self.about_to_raise(completion[1])
        return completion

    def raised(self) -> tuple[str, Any]:
        """The completion of a block that is being left by an exception, for the first time or again."""
        error = sys.exception()
        assert error is not None
        tracebacks.cleaned(error)
        if self._put_back is not None:
            self._links_put_back(error, self._put_back)
        return RAISE, error

    def _links_put_back(self, error: BaseException, put_back: PutBack) -> dict[str, Any]:
        error.__cause__, error.__context__, error.__suppress_context__, error.__traceback__, contents = put_back
        self._put_back = None
        return contents

    def _contents(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, cell in self.cells.items():
            try:
                found[name] = cell.cell_contents
            except ValueError:
                found[name] = NOT_BOUND
        return found
