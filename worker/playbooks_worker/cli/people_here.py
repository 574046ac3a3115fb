"""What agents of `run` ask people: at the prompt of a terminal, one question after the other; elsewhere a note says how to
answer from another shell.

A question that was not answered is still there when the run is continued: it is the agent's state that asks.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from playbooks_worker.cli.output import Output
from playbooks_worker.cli.views import as_text

if TYPE_CHECKING:
    from playbooks_providers.ids import AgentId
    from playbooks_worker.cli.progress import Progress
    from playbooks_worker.engine import Question


def at_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Prompt:
    """*answer* (agent, question id, value) sends an answer. *how*: the command that answers, None: the terminal does."""

    def __init__(
        self,
        out: Output,
        progress: Progress,
        answer: Callable[[AgentId, str, Any], Awaitable[None]],
        how: Callable[[AgentId], str] | None,
    ) -> None:
        self._out = out
        self._progress = progress
        self._answer = answer
        self._how = how
        self._open: dict[str, tuple[AgentId, Question]] = {}
        self._told: set[str] = set()
        self._reader: threading.Thread | None = None
        self._read_for = ""  # the question at the prompt
        self._said = ""
        self._answering: set[asyncio.Future[None]] = set()

    def asked(self, agent: AgentId, questions: Sequence[Question]) -> None:
        """What *agent* asks people now."""
        for id in [id for id, (who, _) in self._open.items() if who == agent]:
            del self._open[id]
        self._open.update((one.id, (agent, one)) for one in questions)
        if self._how is not None:
            self._say_how(self._how)
        elif self._open:
            self._progress.pause()
            self._ask()
        else:
            self._progress.go_on()
        self._say_moot()

    def _say_how(self, how: Callable[[AgentId], str]) -> None:
        for id, (agent, question) in self._open.items():
            if id not in self._told:
                self._told.add(id)
                self._out.note(f"agent {agent} asks {question.person}: {as_text(question.value)}", how(agent))

    # --- at a terminal -----------------------------------------------------------------------------------------------
    def _ask(self) -> None:
        """Read a line for the next question. In a daemon thread: nobody can interrupt a read, and the run may end."""
        if self._reader is not None or not self._open:
            return
        id, (agent, question) = next(iter(self._open.items()))
        loop = asyncio.get_running_loop()
        self._read_for = id
        text = f"{agent} asks {question.person}: {as_text(question.value)}\n> "
        self._reader = threading.Thread(target=self._read, args=(loop, id, agent, text), daemon=True)
        self._reader.start()

    def _read(self, loop: asyncio.AbstractEventLoop, id: str, agent: AgentId, text: str) -> None:
        try:
            line: str | None = input(text)
        except EOFError:
            line = None
        loop.call_soon_threadsafe(self._was_read, id, agent, line)

    def _say_moot(self) -> None:
        """The question at the prompt was answered from another shell, or is over: a line that is typed now goes nowhere."""
        if self._reader is None or self._read_for in self._open:
            return
        said = "press Enter for the next question" if self._open else "no answer is waited for any more"
        if said != self._said:
            self._said = said
            self._out.note("", said)

    def _was_read(self, id: str, agent: AgentId, line: str | None) -> None:
        self._reader, self._said = None, ""
        if line is None:
            self._out.note("no answer can be read any more: the question stays with the agent")
            return
        if id in self._open and line.strip():
            del self._open[id]
            done = asyncio.ensure_future(self._answer(agent, id, line.strip()))
            self._answering.add(done)
            done.add_done_callback(self._answering.discard)
        self._ask()
