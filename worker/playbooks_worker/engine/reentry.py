"""What a frame answers to its emitted code: arguments at its beginning, and on the way back to a site what was saved.

`frames.Frame` is made of it. It changes nothing of the agent.
"""

from __future__ import annotations

import sys
from types import CellType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

from playbooks_worker.engine import iterators
from playbooks_worker.engine.completions import RAISE

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.frames import Call, Frame
    from playbooks_worker.engine.playbooks import Playbook


# cause, context, whether it is suppressed; contents of cells
PutBack: TypeAlias = tuple[Any, Any, bool, dict[str, Any]]


class _Mark:
    """A private sentinel of emitted code."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


MADE_AGAIN = _Mark("<evaluated again>")
NOT_BOUND = _Mark("<not bound>")


class Reentry:
    """The half of a frame that emitted code asks."""

    __slots__ = ("_put_back", "agent", "call_", "cells", "playbook")

    agent: Agent
    call_: Call
    playbook: Playbook
    cells: dict[str, CellType]
    _put_back: PutBack | None

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
        self._put_back = (error.__cause__, error.__context__, error.__suppress_context__, self._contents())
        return error

    def of_header(self, number: int, name: str) -> Any:
        """A temporary of a header that is about to be entered again."""
        return self.agent.loader().of_header(cast("Frame", self), number).get(name, NOT_BOUND)

    def restored(self) -> list[Any]:
        """All locals and temporaries, in the order of `Rewritten.restored`."""
        saved = self.agent.loader().locals(cast("Frame", self))
        return [saved.get(name, NOT_BOUND) for name in self.playbook.rewritten.restored]

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
        if self._put_back is not None:
            self._links_put_back(error, self._put_back)
            error.__traceback__ = None  # where it was raised first is kept beside it
        return RAISE, error

    def _links_put_back(self, error: BaseException, put_back: PutBack) -> dict[str, Any]:
        error.__cause__, error.__context__, error.__suppress_context__, contents = put_back
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
