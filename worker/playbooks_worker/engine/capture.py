"""What a checkpoint says: the flat table of all live calls and frames of an agent, at an instant when none is running.

Payload (payload.py): the index (plain data), then the dumps of one `Saver`. The index
names for every frame its playbook, fingerprint, lowering, site and turn, so that a resume can refuse before it loads
anything of the program. Frames come in the order in which they began, each header's temporaries before what it encloses,
so that headers can be entered again between the loads (DESIGN 3.2, point 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine import (
    contextual,
    managers,
    matching,
    owned,
    payload,
    raising,
    sinks,
    sizes,
    stacks,
    undoing,
    yielded,
)
from playbooks_worker.engine.branch_table import Writing, calls_of
from playbooks_worker.engine.cancels import counted, leaving_told
from playbooks_worker.engine.described import Still, needed
from playbooks_worker.engine.diagnosis import Examination, Written, contents
from playbooks_worker.engine.endings import Ending, order_of
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.iterators import HIDDEN
from playbooks_worker.engine.markers import About
from playbooks_worker.engine.needs import PYTHON, needs_of
from playbooks_worker.engine.outcomes import Snapshot
from playbooks_worker.engine.reducers import Target, outside_of
from playbooks_worker.engine.reentry import MADE_AGAIN
from playbooks_worker.engine.rewrite import LOWERING
from playbooks_worker.engine.snapshot import Saver
from playbooks_worker.engine.standing import stack_json, steps_json

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent

FORMAT = 1


def capture(agent: Agent) -> Snapshot:
    """Raises `CannotSave`, naming variable, type, playbook and line."""
    while True:
        attempt = _Attempt(agent)
        try:
            attempt.dump()
        except Exception as error:
            if attempt.examination().learn(attempt.written, attempt.saver.found.values(), error):
                continue
            raise
        markers: list[About] = []
        if attempt.saver.lost:
            examination = attempt.examination()
            if examination.relearn(attempt.written):
                continue
            markers = examination.losses(attempt.written, attempt.saver)
        taken = attempt.payload(markers)
        limit = agent.max_bytes
        if limit is not None and len(taken) > limit:
            raise sizes.too_large(
                agent.id, len(taken), limit, agent.checkpoints_taken, attempt.written, attempt.fresh_saver()
            )
        steps = steps_json(agent) if agent.tries_again else "[]"
        return Snapshot(stack_json(agent), steps, taken, PYTHON if attempt.saver.codes else None)


def can_save(agent: Agent, value: Any) -> bool:
    """Whether a checkpoint that was taken now could hold *value*, all of it."""
    saver = _Attempt(agent).saver
    try:
        saver.dump(value)
    except Exception:  # whatever a program's own reducers raise
        return False
    return not saver.lost


class _Attempt:
    """One try at a checkpoint. A temporary that turns out not to be savable is left out by the next try."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.running = list(agent.running.values())
        self.targets: dict[int, Target] = {}
        self.managers: dict[tuple[int, int], Any] = {}
        self.cells: dict[int, tuple[int, str]] = {}
        for call in self.running:
            frame = call.frame
            assert frame is not None
            if frame.headers:
                for number, targets, manager in frame.headers:
                    self.managers[call.id, number] = manager
                    own = owned.own(agent, call, number, manager, self.fresh_saver)
                    for index, value in enumerate(targets):
                        if value is not None and id(value) not in own:
                            self.targets.setdefault(id(value), Target(call.id, number, index))
            if frame.cells:
                for name, cell in frame.cells.items():
                    self.cells[id(cell)] = (call.id, name)
        self.saver = self.fresh_saver(agent.large)
        self.segments: list[tuple[str, int, int]] = []
        self.metas: list[tuple[Any, ...]] = []
        self.again: dict[int, list[str]] = {}
        self.adrift: list[int] = []
        self.others: tuple[tuple[int, str], ...] = ()
        self.rows: Any = None
        self.entries: list[Any] = []
        self.endings: list[Ending] = []  # of what has ended and may not have gone on yet
        self.branches: Writing | None = None
        self.undone: undoing.Undone | None = None
        self.bound: set[tuple[int, str]] = set()  # variables that are in a segment of their own
        # for the diagnosis: what was to be saved, by frame
        self.written: list[Written] = []

    def fresh_saver(self, large: bool = False) -> Saver:
        return Saver(self.targets, self.cells, self.running, self.agent.strict, large)

    def examination(self) -> Examination:
        return Examination(self.agent, self.targets, self.cells, self.running)

    def dump(self) -> None:
        if not self.agent.watches:
            self._dump_all()
            return
        self.undone = undoing.Undone(self.agent.watches)
        try:
            self.undone.begin()
            self._dump_all()
        finally:
            self.undone.end()

    def _dump_all(self) -> None:
        metas, written = self.metas, self.written
        awaited: Any = self.agent.running.get(self.agent.root_id)  # by the frame before, which is how most calls stand
        branching = False
        for call in self.running:
            frame = call.frame
            assert frame is not None
            below, value = frame.below, frame.value
            still = frame.still
            # in one piece, for hundreds of frames that wait
            if (
                still is not None
                and still.value is value
                and still.made == len(below.made)
                and still.unsavable == len(frame.playbook.unsavable)
            ):
                _, _, _, meta, entry, again, said = still
                metas.append(meta)
                self.entries.append(entry)
                written.append(said)
                if again:
                    self.again[call.id] = again
            else:
                self._frame(call, frame)
            if below.branches or below.claims:
                branching = True
            if call is not awaited and self.agent.is_adrift(call):
                self.adrift.append(call.id)
            awaited = value
        self._flush()
        agent, saver = self.agent, self.saver
        if branching or saver.found or saver.branches or agent.branches or agent.tells:
            self.others, self.rows = self._others(branching)

    def payload(self, markers: list[About]) -> bytes:
        agent, saver = self.agent, self.saver
        index = (
            FORMAT,
            LOWERING,
            agent.last_id,
            (
                agent.root_id,
                counted(agent, agent.root_task),
                agent.untold() if agent.cancels or agent.restoring_calls else [],
            ),
            self.segments,
            self.metas,
            self.again,
            self.adrift,
            self.others,
            self.rows,
            [tuple(about) for about in markers],
            needs_of(saver.resources, agent.resources, saver.codes),
            order_of(self.endings),
            None if agent.mailbox is None else agent.mailbox.plain(),
        )
        whole = payload.written(index, saver.sink, summed=agent.summed)
        agent.large = len(whole) >= sinks.LARGE
        return whole

    # --- frames ----------------------------------------------------------------------------------------------------
    def _frame(self, call: Call, frame: Frame) -> None:
        made = call.playbook
        if call.id in self.agent.unreached:
            self.agent.loader().everything(frame)
        completed = frame.outcome is not None
        if completed:
            self.endings.append(Ending(frame.ending, call.id))
        meta = (
            call.id,
            made.id,
            made.fingerprint,
            made.lowering,
            frame.site,
            frame.turn,
            completed,
            frame.depth,
            call.key,
        )
        self.metas.append(meta)
        if call.id in self.agent.unreached:
            self._unreached(frame)
            return
        rewritten = made.rewritten
        site = rewritten.sites[frame.site - 1]
        local = frame.coroutine.cr_frame.f_locals
        kept: dict[str, Any] = {}
        again: list[str] = []
        for step in site.path:
            if isinstance(step, str):
                value = local[step]
                kept[step] = value.saved() if type(value) in HIDDEN else value
                continue
            temporaries = rewritten.headers[step - 1].temporaries
            again += needed(frame, -step, temporaries, local, kept, of_header=True)
            self.written.append((frame, -step, kept, temporaries, True))
            self._flush()
            manager, told = self.managers.get((call.id, step)), leaving_told(self.agent, frame, step)
            state = managers.state_of(manager, told, frame, step)
            if state is not None:
                kept[managers.saved_as(step)] = state
            if self.undone is not None and (
                since := owned.since(self.undone, (call.id, step), manager, kept, self.saver)
            ):
                kept[undoing.saved_as(step)] = since
            if step in frame.context:
                kept[contextual.saved_as(step)] = frame.context[step]
            self._header(call.id, step, site.path, kept)
            kept = {}
            if entries := stacks.held(manager):
                self.written.append((frame, -step, {stacks.saved_as(step): entries}, None, False))
                self._header(call.id, step, site.path, {stacks.saved_as(step): entries}, "stack")
        calling = not completed and type(frame.value) is Call
        if calling:
            kept[site.value] = frame.value
        temporaries = site.completed if completed or calling else site.in_flight
        if temporaries.roots:
            again += needed(frame, site.number, temporaries, local, kept, of_header=site.entering is not None)
        written = (frame, site.number, kept, temporaries, not completed)
        self.written.append(written)
        for name in rewritten.saved:
            if name in local:
                kept[name] = local[name]
        if frame.yielded:
            kept |= yielded.saved(frame)
        if frame.context:
            kept[contextual.saved_as(0)] = frame.context.get(0)
            if site.entering in frame.context:
                kept[contextual.saved_as(site.entering)] = frame.context[site.entering]
        if completed and frame.thrown == frame.turn:
            kept[raising.THROWN] = True
        if again:
            self.again[call.id] = again
        entry = self._entry(frame, kept)
        self.entries.append(entry)
        if frame.value is not None and not (completed or entry[4] or frame.cells or frame.headers):
            # nobody can rebind anything of it meanwhile
            made_below, unsavable = len(frame.below.made), len(made.unsavable)
            frame.still = Still(frame.value, made_below, unsavable, meta, entry, again, written)

    def _header(
        self, call: int, number: int, path: Sequence[str | int], kept: dict[str, Any], kind: str = "header"
    ) -> None:
        """A header's own temporaries never refer to what it, or a header inside it, has brought: it brings it anew. What
        a stack holds may refer to what it holds already."""
        outside = outside_of(self.targets, call, path[path.index(number) + (kind == "stack") :])
        if kind == "stack":
            for manager in stacks.given(kept[stacks.saved_as(number)]):
                outside.pop(id(manager), None)  # it may be what entering it brings
        self.saver.targets = outside
        self._dump(kind, call, number, kept)
        self.saver.targets = self.targets
        self._variables(call, number)

    def _variables(self, call: int, number: int) -> None:
        """A header may call functions: what it refers to reads, and binds, variables of playbooks."""
        while fresh := sorted(self.saver.met - self.bound):
            self.bound.update(fresh)
            self._dump("cells", call, number, [(owner, self._variable(owner, name)) for owner, name in fresh])

    def _variable(self, owner: int, name: str) -> dict[str, Any]:
        frame = self.agent.running[owner].frame
        assert frame is not None
        if owner in self.agent.unreached:
            self.agent.loader().everything(frame)
        found = contents(frame)
        return {name: found[name]} if name in found else {}

    def _unreached(self, frame: Frame) -> None:
        """A restored frame that still waits behind an effect is saved as it was loaded."""
        kept = self.agent.loader().everything(frame)
        again = [name for name, value in kept.items() if value is MADE_AGAIN]
        if again:
            self.again[frame.call_.id] = again
        kept = {name: value for name, value in kept.items() if value is not MADE_AGAIN and not undoing.is_since(name)}
        site = frame.playbook.rewritten.sites[frame.site - 1]
        headers = [step for step in site.path if isinstance(step, int)]
        if headers:  # all of it before the first header: its temporaries are there, in a harmless order
            self._flush()
            for step in headers:
                self._dump("header", frame.call_.id, step, kept if step == headers[0] else {})
                self._variables(frame.call_.id, step)
            kept = {}
        self.entries.append(self._entry(frame, kept))

    def _entry(self, frame: Frame, kept: dict[str, Any]) -> tuple[Any, ...]:
        call, below = frame.call_, frame.below
        rows = calls_of(below, self.saver.found, frame.value) if below.made or below.expected else None
        cells = contents(frame) if frame.cells else None
        arguments = matching.kept(call) if call.given is not None else None
        return call.id, kept, cells, frame.outcome, rows or None, call.given, arguments

    # --- other calls, and branches --------------------------------------------------------------------------------
    def _others(self, branching: bool) -> tuple[tuple[tuple[int, str], ...], Any]:
        """Calls that do not run now but are held somewhere (new ones with arguments, finished ones with outcomes), and
        branches. Each may refer to more of both."""
        known = {call.id for call in self.running}
        rows: list[tuple[int, str]] = []
        writing = None
        agent = self.agent
        if branching or agent.branches or agent.tells or self.saver.branches:
            writing = self._writing()
        while True:
            fresh = [call for number, call in self.saver.found.items() if number not in known]
            if fresh:
                known.update([call.id for call in fresh])
                rows += [(call.id, call.playbook.id) for call in fresh]
                if self.agent.restoring_calls:
                    for call in fresh:
                        self.agent.complete(call)
                self.endings += [Ending(c.ending, c.id) for c in fresh if c.outcome and not c.outcome[0]]
                self._dump("calls", 0, 0, [(c.id, c.key, c.arguments, c.outcome, c.given, c.context) for c in fresh])
                continue
            if writing is None and self.saver.branches:
                writing = self._writing()
            more = [] if writing is None else writing.fresh() or writing.operands()
            if not more:
                break
            self._dump("branches", 0, 0, more)
        if writing is not None:
            self.endings += writing.endings
        return tuple(rows), None if writing is None else writing.plain()

    def _writing(self) -> Writing:
        frames = [call.frame for call in self.running if call.frame is not None]
        self.branches = Writing(self.agent, frames, self.saver.branches, self.saver.found)
        return self.branches

    def _flush(self) -> None:
        if self.entries:
            self._dump("frames", 0, 0, self.entries)
            self.entries = []

    def _dump(self, kind: str, call: int, number: int, value: Any) -> None:
        self.segments.append((kind, call, number))
        self.saver.dump(value)
