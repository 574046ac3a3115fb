"""A run in this process, on the filesystem provider: starts or continues its agents, until it is over. For `run`.

The wiring of `run`: it names the store, leaves the living to `host.life` and the words to `run_report`. An interrupted
run ends the process hard, as a crash would: no `finally` of a playbook runs, and no thread of an effect keeps the person
waiting.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from playbooks_providers import ids, logs
from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Header, Sealer, open_start, seal_start
from playbooks_providers.errors import StorageFailed, StorageFull
from playbooks_providers.filesystem import FilesystemCheckpoints, FilesystemCoordination, FilesystemStore
from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Unread
from playbooks_providers.model import FINAL, AgentView, Choice, Exists, Lock, StartRecord, Status
from playbooks_providers.settings import encryption_keys, ensure_signing_key, load_settings, signing_key, weakness
from playbooks_worker.cli.interrupts import Interrupts
from playbooks_worker.cli.local_run import LocalRun, Telling
from playbooks_worker.cli.output import CommandError, Exit, Output, no_such_agent
from playbooks_worker.cli.people_here import Prompt, at_terminal
from playbooks_worker.cli.progress import Progress
from playbooks_worker.cli.run_report import Report
from playbooks_worker.cli.snoop import Snoop
from playbooks_worker.cli.target import Target
from playbooks_worker.engine import close_resources, kept_sources
from playbooks_worker.host.answers import answer_letter, answered
from playbooks_worker.host.ending import begins_again
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.outcome import Blocked, Ended, HandedOver, LockLost, Outcome, Parked, Paused, Terminated
from playbooks_worker.host.programs import Program, load
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.host.unkept import Unkept


class Here:
    """The folder of agents that this `run` works in, and what it was asked to run."""

    def __init__(self, out: Output, asked: Target, storage_path: Path | None, *, snoop: bool = False) -> None:
        logs.configure(level=logging.WARNING)
        self._out = out
        self._asked = asked
        settings = load_settings({"durability": {"storage_path": storage_path}}, Path.cwd(), dev_file=False)
        self._kept = settings.durability.enabled
        if not self._kept and storage_path is not None:
            raise CommandError("--storage-path says where agents are kept, and durability.enabled = false that none is")
        key, encryption = signing_key(settings), encryption_keys(settings)
        if key is not None and (weak := weakness(key)):
            out.note(f"warning: {weak}")
        folder = settings.durability.storage_path if self._kept else Path(tempfile.mkdtemp(prefix="playbooks-run-"))
        if folder.exists() and not folder.is_dir():
            raise StorageFailed(f"agents are kept in a folder, and {folder} is none")
        self._folder = folder
        self._sealer = Sealer.of((key or ensure_signing_key(folder)).get_secret_value(), encryption)
        self._clock = SystemClock()
        store = FilesystemStore(folder)
        self._checkpoints = FilesystemCheckpoints(store, full=self._stop_for_room)
        self._run: LocalRun | None = None
        self._snoop = snoop
        self._no_room: StorageFull | None = None
        self._home = FilesystemCoordination(store, self._checkpoints)
        self._durability = settings.durability
        forget = None if self._kept else self._forget
        self._report = Report(out, asked, storage_path, folder, self._sealer, self._checkpoints, forget)

    # --- the two ways in -------------------------------------------------------------------------------------------
    async def start(self, agent: str | None, args: list[Any], kwargs: dict[str, Any]) -> None:
        """A new agent. Its start record is stored before anything of it runs."""
        if self._kept:
            await self._start(agent, args, kwargs)
            return
        self._out.note("durability.enabled = false: nothing of this run is kept, and it cannot be continued")
        try:
            await self._start(agent, args, kwargs)
        finally:
            self._forget()

    async def _start(self, agent: str | None, args: list[Any], kwargs: dict[str, Any]) -> None:
        program = load(self._asked.program)
        entry = program.bind(self._asked.entry, args, kwargs)
        chosen = ids.agent_id(agent) if agent else ids.new_agent_id(program.name)
        now = self._clock.now_ms()
        start = StartRecord(chosen, program.name, self._asked.entry, args, kwargs, "", now)
        answer = await self._home.create(seal_start(self._sealer, start))
        if isinstance(answer, Exists) or not answer.fresh:
            raise self._report.taken(await self._view(chosen))
        with self._interrupts(chosen):
            await self._live(chosen, await self._home.lock(chosen), program, entry, after=0)

    async def resume(self, agent: str | None, at: int | None, choice: Choice = Choice.RESUME) -> None:
        """An agent that is there: the one named, or the newest unfinished one of the program, or its newest."""
        if not self._kept:
            self._forget()
            raise CommandError("durability.enabled = false: nothing is kept that could be continued")
        program = load(self._asked.program)
        chosen = ids.agent_id(agent) if agent else await self._newest_of(program)
        view = await self._view(chosen)
        if view.start.run and at is None and choice is Choice.RESUME:
            chosen = AgentId(view.start.run)
            self._out.say(f"Agent {view.agent} goes on with its run: {chosen}")
            view = await self._view(chosen)
        self._check(view, program)
        if view.status in FINAL and choice is not Choice.RESUME and view.status is not Status.FAILED:
            raise CommandError(
                f"agent {chosen} is {view.status}: it does not go on", hint=f"Start a new one: {self._report.command()}"
            )
        if view.status in FINAL and at is None and choice is Choice.RESUME:
            if any(other.status is not Status.PAUSED for other in await self._unfinished(chosen)):
                with self._interrupts(chosen):
                    await self._live(chosen, None, program, None, after=0)
            self._report.tell_end(view)
        start = open_start(self._sealer, view.start)
        restart = choice is Choice.RESTART
        entry = program.bind(start.entry, start.args, start.kwargs) if restart else program.playbook(start.entry)
        with self._interrupts(chosen):
            lock = await self._again(view, at, choice)
            await self._report.tell_found(lock)
            await self._live(chosen, lock, program, entry, after=view.last.seq if view.last else 0)

    async def _again(self, view: AgentView, at: int | None, choice: Choice) -> Lock:
        """Own it, to go on as chosen. Who asked one that becomes another agent by that is told before."""
        agent, newest = view.agent, view.last
        taken_back = at is not None and newest is not None and at < newest.seq
        if view.status in FINAL or not (taken_back or choice is Choice.RESTART):
            return await self._home.lock(agent, at=at, choice=choice)

        async def again(read: int) -> Lock | Unread:
            return await self._home.begin_again(agent, at=at, choice=choice, read=read)

        return await begins_again(self._home, self._checkpoints, self._sealer, agent, view.birth, again)

    async def _newest_of(self, program: Program) -> AgentId:
        chosen = await self._home.newest(program.name)
        if chosen is None:
            raise CommandError(
                f"program {program.name} has no agent to continue",
                hint=f"Start one: {self._report.command()}",
            )
        return chosen

    def _check(self, view: AgentView, program: Program) -> None:
        start = view.start
        named = self._asked.named
        if start.program != program.name or (named is not None and named != start.entry):
            asked = program.name if named is None else f"{program.name}:{named}"
            raise CommandError(f"agent {start.agent} was started as {start.program}:{start.entry}, not {asked}")

    # --- the life of the agent, and of those that it spawns ---------------------------------------------------------
    async def _live(self, first: AgentId, lock: Lock | None, program: Program, entry: Any, *, after: int) -> None:
        """The run of *first*, until it is over. No *lock*: that one has ended, and others of its run have not."""
        console = self._out.live_console()
        progress = Progress(console, first)
        how = None if at_terminal() else self._report.how_to_answer
        run = self._run = LocalRun(
            self._home,
            self._around(),
            Gate(self._clock.monotonic),
            first,
            {program.name: program},
            Telling(
                heard=Snoop(self._out, first).heard if self._snoop else None,
                asked=Prompt(self._out, progress, self._answer, how).asked,
                ended=self._tell_ended,
                saved=progress.saved,
                stands=progress.stands if console is not None else None,
            ),
        )
        with progress:
            await self._checkpoints.keep_sources(kept_sources())
            if lock is not None:
                run.begin(lock, entry, numbered_after=after)
            await self._others(first, run)
            outcome = await run.until_over(alone=lock is None)
            await close_resources()
        if console is not None and isinstance(outcome, Ended) and outcome.status is Status.COMPLETED:
            console.print(f"completed: agent {first}, {outcome.header.seq} checkpoints", style="dim")
        if lock is not None and outcome is not None:
            await self._conclude(lock, self._newest(), outcome)

    def _interrupts(self, agent: AgentId) -> Interrupts:
        return Interrupts(self._stops, lambda: self._report.interrupted(agent, self._newest()))

    def _stops(self) -> bool:
        """Stop what lives here. False: nothing does."""
        if self._run is None or not self._run.lives:
            return False
        self._stopping = asyncio.ensure_future(self._run.abandon("interrupted"))
        return True

    def _around(self) -> Surroundings:
        kept = self._durability
        return Surroundings(
            self._checkpoints if self._kept else Unkept(self._checkpoints),
            self._sealer,
            self._clock.now_ms,
            kept.keep_last_n,
            strict=kept.strict,
            max_bytes=kept.max_checkpoint_bytes,
            kept=self._kept,
        )

    def _forget(self) -> None:
        """What lay in files while the run went on: letters, and how agents have ended."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _others(self, first: AgentId, run: LocalRun) -> None:
        """The agents of the run that have not ended go on, too."""
        others = await self._unfinished(first)
        paused = [view for view in others if view.status is Status.PAUSED]
        self._report.tell_others(len(others) - len(paused))
        for view in others:
            if view in paused:
                self._report.tell_paused(view.agent, view.why)
            elif view.agent not in run.lives:
                await run.go_on(view)

    async def _unfinished(self, first: AgentId) -> list[AgentView]:
        """Agents of the run that *first* began."""
        views = [await self._home.describe(agent) for agent in await self._home.agents()]
        return [view for view in views if view and view.start.run == first and view.status not in FINAL]

    def _newest(self) -> Header | None:
        life = self._run.first_life if self._run is not None else None
        return life.newest if life is not None else None

    def _tell_ended(self, agent: AgentId, outcome: Outcome) -> None:
        """Of one that needs a person; how the first agent ends is told at the end."""
        if isinstance(outcome, Paused):
            self._report.tell_paused(agent, outcome.why)
        elif isinstance(outcome, Blocked) and self._run is not None and agent != self._run.first:
            self._out.note(f"agent {agent} is blocked: {outcome.why.splitlines()[0]}")

    async def _answer(self, agent: AgentId, question: str, value: Any) -> None:
        assert self._run is not None
        await answered(self._home, agent, answer_letter(self._sealer, agent, question, value))

    def _stop_for_room(self, error: StorageFull) -> None:
        """The disk is full. A worker would wait; here is a person, who makes room and continues."""
        if self._run is not None and self._no_room is None:
            self._no_room = error
            self._stopping = asyncio.ensure_future(self._run.abandon(str(error)))

    async def _conclude(self, lock: Lock, newest: Header | None, outcome: Outcome) -> None:
        match outcome:
            case Ended():
                self._report.tell_end(await self._view(lock.agent))
            case Blocked():
                raise self._report.blocked(lock, outcome)
            case HandedOver(why, unasked=unasked):
                if self._no_room is not None:
                    raise self._report.left(lock, newest, str(self._no_room), "StorageFull", "Then continue it")
                if unasked:
                    raise self._report.left(lock, newest, why)
                self._report.interrupted(lock.agent, newest)
            case Terminated(why):
                raise self._report.terminated(lock.agent, why)
            case Parked() | Paused():
                raise AssertionError(f"agent {lock.agent}: {outcome} of an agent in a folder")
            case LockLost(why):
                raise CommandError(
                    f"agent {lock.agent} was lost to another process: {why}",
                    Exit.SET_ASIDE,
                    facts={"agent_id": lock.agent},
                )

    async def _view(self, agent: AgentId) -> AgentView:
        view = await self._home.describe(agent)
        if view is None:
            raise no_such_agent(agent, self._report.there())
        return view
