"""What `run` tells a person of its agent: where it goes on, how it ended or stopped, and what to type next.

Called by `run_here`, which decides what has happened; nothing here changes an agent.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from playbooks_providers.envelope import Header, Sealer
from playbooks_providers.errors import BadCheckpoint
from playbooks_providers.filesystem import FilesystemCheckpoints
from playbooks_providers.ids import AgentId
from playbooks_providers.model import AgentView, Choice, Lock, Status
from playbooks_worker.cli.output import CommandError, Exit, Output
from playbooks_worker.cli.target import Target
from playbooks_worker.cli.views import Record, ago, announce_end, record
from playbooks_worker.host.opening import open_checkpoint
from playbooks_worker.host.outcome import Blocked

_NOT_KEPT = "Nothing of it is kept (durability.enabled = false): start it again"


class Report:
    """*asked* and *storage_path* are what the command was given, *folder* is where the agents are; *forget* removes it, when
    nothing is kept."""

    def __init__(
        self,
        out: Output,
        asked: Target,
        storage_path: Path | None,
        folder: Path,
        sealer: Sealer,
        checkpoints: FilesystemCheckpoints,
        forget: Callable[[], None] | None,
    ) -> None:
        self._out = out
        self._asked = asked
        self._storage_path = storage_path
        self._folder = folder
        self._sealer = sealer
        self._checkpoints = checkpoints
        self._forget = forget

    async def tell_found(self, lock: Lock) -> None:
        agent, start = lock.agent, lock.start
        if lock.resume_from is None:
            what = "Starting again" if lock.choice is Choice.RESTART else "No checkpoint yet"
            self._out.say(f"{what}: agent {agent} starts with {start.program}:{start.entry}")
            return
        try:
            header = (await open_checkpoint(self._checkpoints, self._sealer, agent, lock.resume_from)).header
        except BadCheckpoint:  # the life will find the same, and say what is wrong with it
            return
        self._out.say(f"Found checkpoint {header.seq} of agent {agent}, {ago(header.time_ms)} old")
        if header.stack:
            playbook, line, statement, _ = header.stack[-1]
            way = " > ".join(dict.fromkeys(frame[0] for frame in header.stack))
            self._out.say(f"  last statement: {statement}", f"  goes on after it, at {_file(playbook)}:{line} in {way}")

    def tell_others(self, count: int) -> None:
        """Agents of its run that go on with it."""
        if count:
            self._out.say(f"  with {count} more {'agent' if count == 1 else 'agents'} of its run")

    def tell_paused(self, agent: AgentId, why: str) -> None:
        self._out.note(f"agent {agent} is paused: {why}", f"Let it go on: playbooksctl unpause {agent}{self.there()}")

    def terminated(self, agent: AgentId, why: str) -> CommandError:
        facts = {"agent_id": agent, "status": Status.CANCELLED.value}
        return CommandError(f"agent {agent} was terminated: {why}", Exit.SET_ASIDE, kind="Cancelled", facts=facts)

    def tell_end(self, view: AgentView) -> NoReturn:
        announce_end(self._out, record(view, self._sealer))

    def blocked(self, lock: Lock, blocked: Blocked) -> CommandError:
        why, *details = blocked.why.removeprefix(f"agent {lock.agent}: ").split("\n")
        self._out.note(*details)
        message = f"agent {lock.agent} is blocked: {why}"
        hint = ""
        if self._forget is not None:
            hint = _NOT_KEPT
        elif blocked.before is not None:
            hint = f"Continue from checkpoint {blocked.before.seq}: {self.resume(lock.agent)} --at {blocked.before.seq}"
        elif blocked.at is None:
            hint = f"Nothing is lost. Continue it when that is put right: {self.resume(lock.agent)}"
            if details:
                hint += " (or there: --accept-changed, --restart)"
        facts: Record = {"agent_id": lock.agent, "status": Status.BLOCKED.value, "checkpoint": str(lock.resume_from)}
        if details:
            facts["changes"] = details
        kind = "BadCheckpoint" if blocked.at is not None else "Blocked"
        return CommandError(message, Exit.SET_ASIDE, hint=hint, kind=kind, facts=facts)

    def left(
        self, lock: Lock, newest: Header | None, why: str, kind: str = "Stopped", then: str = "Continue it"
    ) -> CommandError:
        """The program raised `KeyboardInterrupt`, or there is no room: the agent has not ended."""
        return CommandError(
            f"agent {lock.agent} stopped {_where(newest)}: {why}",
            Exit.SET_ASIDE,
            kind=kind,
            hint=_NOT_KEPT if self._forget is not None else f"{then}: {self.resume(lock.agent)}",
            facts={
                "agent_id": lock.agent,
                "status": Status.READY.value,
                "checkpoint": str(newest.id) if newest else None,
            },
        )

    def interrupted(self, agent: AgentId, newest: Header | None) -> NoReturn:
        where = _where(newest)
        if self._forget is not None:
            self._forget()
            self._out.note(f"interrupted: agent {agent}. {_NOT_KEPT}")
        else:
            self._out.note(f"interrupted: agent {agent} stopped {where}", f"Continue it: {self.resume(agent)}")
        if self._out.as_json:
            self._out.json(
                {
                    "agent_id": agent,
                    "status": Status.READY.value,
                    "checkpoint": str(newest.id) if newest else None,
                    "error": {"type": "Interrupted", "message": f"stopped {where}"},
                }
            )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(Exit.INTERRUPTED)

    def taken(self, view: AgentView) -> CommandError:
        return CommandError(
            f"agent {view.agent} exists already and is {view.status}",
            hint=f"Continue it ({self.resume(view.agent)}), or choose another --agent-id.",
            facts={"agent_id": view.agent, "status": view.status.value},
        )

    def command(self) -> str:
        words = ["playbooksctl", "run", self._asked.program]
        if self._storage_path is not None:
            words += ["--storage-path", str(self._storage_path)]
        return shlex.join(words)

    def resume(self, agent: str) -> str:
        return f"{self.command()} --resume {agent}"

    def how_to_answer(self, agent: AgentId) -> str:
        return f"Answer it: playbooksctl answer {agent} TEXT{self.there()}"

    def there(self) -> str:
        folder = os.path.relpath(self._folder) if self._folder.is_relative_to(Path.cwd()) else str(self._folder)
        return f" --storage-path {shlex.quote(folder)}"


def _where(newest: Header | None) -> str:
    return f"at checkpoint {newest.seq}" if newest else "before its first checkpoint"


def _file(playbook: str) -> str:
    """The file that ``module:name`` is in, as a person in this folder would name it."""
    module = playbook.partition(":")[0]
    path = getattr(sys.modules.get(module), "__file__", None)
    return os.path.relpath(path) if path else module
