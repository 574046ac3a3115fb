"""An agent's calls and frames from a checkpoint's payload, loaded piece by piece while its headers are entered again.

The counterpart of capture.py. Everything that can be refused is refused by `open_payload`, before anything of the program
is loaded or run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import CellType
from typing import TYPE_CHECKING, Any, TypeVar

from playbooks_worker.engine import branch_table, branches, managers, raising, stacks, undoing
from playbooks_worker.engine.branches import Branch
from playbooks_worker.engine.callbacks import added_again
from playbooks_worker.engine.capture import FORMAT
from playbooks_worker.engine.changes import Change, SavedFrame, changes_in, refusal
from playbooks_worker.engine.diagnosis import parts_of
from playbooks_worker.engine.errors import AgentStopped, CodeChanged, ResumeMismatch
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.markers import About, Marker, about_of, marker, tell
from playbooks_worker.engine.needs import check_needs, resources_to_make
from playbooks_worker.engine.payload import read
from playbooks_worker.engine.playbooks import find_playbook
from playbooks_worker.engine.reducers import Target
from playbooks_worker.engine.reentry import MADE_AGAIN
from playbooks_worker.engine.replacing import replace
from playbooks_worker.engine.rewrite import LOWERING
from playbooks_worker.engine.snapshot import Reader
from playbooks_worker.engine.synchronisers import Waiting
from playbooks_worker.engine.talk.mailbox import Mailbox
from playbooks_worker.engine.whereabouts import paths

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.cancels import Said

_T = TypeVar("_T")


def open_payload(
    agent: Agent,
    payload: bytes,
    accepted: Mapping[str, str | None] | None = None,
    loader: type[Loader] | None = None,
) -> Loader:
    """Read the index and make the frames. Raises `CodeChanged` or `ResumeMismatch`, one actionable line each.

    *accepted*: a person has said that edited playbooks may go on; their kept sources, by the fingerprints of then.
    *loader*: how, where it is not to be run."""
    index, body = read_index(payload)
    changes = changes_in(_frames(index))
    if changes and accepted is None:
        raise CodeChanged(f"{changes[0]}; deploy the build that it was started with", changes)
    for change in changes:
        if why := refusal(change, (accepted or {}).get(change.frame.fingerprint)):
            raise CodeChanged(f"the change cannot be accepted: {why}", changes)
    check_needs(index[11])
    return (loader or Loader)(agent, index, body)


def changes_of(payload: bytes) -> tuple[Change, ...]:
    """What of the program does not fit a checkpoint any more. Reads its index and nothing of the program's own.

    Raises `CodeChanged` or `ResumeMismatch` where no look at the frames can help."""
    index, _ = read_index(payload)
    for _, playbook_id in index[8]:
        find_playbook(playbook_id)
    check_needs(index[11])
    return changes_in(_frames(index))


def read_index(payload: bytes) -> tuple[tuple[Any, ...], memoryview]:
    """The index and the dumps. Raises `ResumeMismatch`."""
    index, dumps = read(payload)
    if index[0] != FORMAT or index[1] > LOWERING:
        raise ResumeMismatch(
            f"its checkpoint was written by another version of the engine (format {index[0]}, lowering {index[1]}; this one "
            f"reads format {FORMAT}, lowering up to {LOWERING}); run it with the version that wrote it, or a later one"
        )
    return index, dumps


def _frames(index: tuple[Any, ...]) -> list[SavedFrame]:
    return [
        SavedFrame(playbook, fingerprint, lowering, site, completed)
        for _, playbook, fingerprint, lowering, site, _, completed, *_ in index[5]
    ]


class Loader:
    """Loads segments in order, as far as somebody needs."""

    def __init__(self, agent: Agent, index: tuple[Any, ...], body: memoryview) -> None:
        _, _, self.last_id, root, segments, metas, again, adrift, others, rows, markers, needs, ended, mailbox = index
        self.root, self.root_counted, untold = root
        self.untold: dict[int, list[Said]] = {}  # calls whose tasks are to be cancelled again
        for number, said in untold:
            self.untold.setdefault(number, []).append(said)
        self.agent = agent
        self.mailbox = None if mailbox is None else Mailbox.of(mailbox)
        self.adrift: tuple[int, ...] = adrift
        self.resources = resources_to_make(needs)
        self.running: list[int] = []
        self.calls: dict[int, Call] = {}
        self.branches: dict[int, Branch] = {}
        self.gathers: list[int] = []
        self.referenced: set[int] = set()
        self.entered: dict[tuple[int, int], Sequence[Any]] = {}
        self.unentered: set[tuple[int, int]] = set()  # headers that were open and have not been entered again yet
        self._pending: dict[tuple[int, int, int], Target] = {}
        self._segments: list[tuple[str, int, int]] = list(reversed(segments))
        self._markers = {number: marker(About(*row)) for number, row in enumerate(markers)}
        self._reader = Reader(body, self._call, self._target, self._cell, self.task, self._lost)
        self._described: set[int] = set()
        self._bound: set[tuple[int, str]] = set()  # variables that headers have needed, and may have bound since
        for meta in metas:
            self._frame(meta, again)
        for number, playbook_id in others:
            self.calls[number] = Call(agent, number, find_playbook(playbook_id), ())
        if rows is not None:
            branch_table.read(self, rows)
        self.endings = len(ended)
        for ending, identity in enumerate(ended, 1):
            self._ended(identity).ending = ending
        self.entry = self.calls[self.root]

    def _frame(self, meta: tuple[Any, ...], again: dict[int, list[str]]) -> None:
        number, playbook_id, _, _, site, turn, _, depth, key = meta
        made = find_playbook(playbook_id)
        call = self.calls[number] = Call(self.agent, number, made, ())
        call.key = key
        frame = call.frame = Frame(self.agent, call, depth)
        frame.pc = frame.site = site
        frame.turn = turn
        frame.spot = made.rewritten.sites[site - 1].spot
        frame.cells = {name: CellType() for name in made.rewritten.names.cells}
        frame.saved = dict.fromkeys(again.get(number, ()), MADE_AGAIN)
        self.unentered.update((number, step) for step in made.rewritten.sites[site - 1].path if isinstance(step, int))
        self.agent.running[number] = call
        self.agent.ordered = None
        self.running.append(number)

    def _ended(self, identity: int) -> Frame | Call | Branch:
        call = self.calls.get(identity)
        return _known(self.branches, identity, "branch") if call is None else call.frame or call

    # --- asked by frames -------------------------------------------------------------------------------------------
    def value(self, frame: Frame, name: str) -> Any:
        """A kept value on the way to the site, by name."""
        assert frame.saved is not None
        while name not in frame.saved:
            self._next()
        return frame.saved[name]

    def of_header(self, frame: Frame, number: int) -> dict[str, Any]:
        """What was saved of *frame* up to the temporaries of this header, wherever they were."""
        call = frame.call_.id
        self._take_all(("header", call, number), ("cells", call, number))
        if frame.pc and self._entering(frame) == number:
            return self.locals(frame)
        assert frame.saved is not None
        return frame.saved

    @staticmethod
    def _entering(frame: Frame) -> int | None:
        return frame.playbook.rewritten.sites[frame.site - 1].entering

    def locals(self, frame: Frame) -> dict[str, Any]:
        """All that was saved of *frame*."""
        while frame.call_.id not in self._described:
            self._next()
        if not self._headers_left():
            self.rest()
        assert frame.saved is not None
        return frame.saved

    def everything(self, frame: Frame) -> dict[str, Any]:
        """What was saved of a frame that has not been entered again."""
        return dict(self.locals(frame))

    def waits_for_headers(self, call: Call) -> bool:
        """Whether headers of other calls come before the locals of this one, which has none of its own."""
        return bool(self.unentered) and not any(number == call.id for number, _ in self.unentered)

    def is_ready(self, branch: Branch, unreached: set[int]) -> bool:
        """Whether the headers that *branch* was made in, and those around them, have been entered again."""
        if not self.unentered:
            return True
        maker = branch.below.frame
        if maker is None:  # it has ended: those of all who had begun before
            others = {other.call.id for other in self.branches.values() if other.call and other.below.frame is None}
            return not any(call < branch.id and call not in others for call, _ in self.unentered)
        if maker.call_.id not in unreached:
            return True
        entered = not any((maker.call_.id, number) in self.unentered for number in range(1, branch.within + 1))
        return entered and maker.coroutine is not None

    def misses_targets(self, branch: Branch, unreached: set[int]) -> bool:
        """Whether *branch* is not ready, and something refers to what headers have not brought again yet."""
        if self.is_ready(branch, unreached):
            return False
        self.rest()
        return bool(self._pending)

    def rest(self) -> None:
        while self._segments:
            self._next()

    def fresh(self, frame: Frame, number: int, targets: Sequence[Any]) -> None:
        """From now on the targets of a header that is entered again are these objects."""
        call = frame.call_.id
        self.entered[call, number] = targets
        for index, target in enumerate(targets):
            placeholder = self._pending.pop((call, number, index), None)
            if placeholder is not None and target is not None:
                self._reader.replace(placeholder, target)
                replace(placeholder, target)

    def stack(self, frame: Frame, number: int) -> list[stacks.Entry]:
        """What the exit stack of this header held."""
        call = frame.call_.id
        self._take_all(("stack", call, number), ("cells", call, number))
        assert frame.saved is not None
        entries: list[stacks.Entry] = frame.saved.get(stacks.saved_as(number), [])
        return entries

    def waiting(self, frame: Frame, number: int) -> Waiting | None:
        """How the frame waits for the condition of this header."""
        state = None if frame.saved is None else frame.saved.get(managers.saved_as(number))
        return Waiting(state) if isinstance(state, str) else None

    def fill(self, frame: Frame, number: int, manager: Any) -> None:
        """What a manager knew, and the tasks that a group waited for, belong to the one that was entered instead."""
        call = frame.call_.id
        waiting = [b for b in self.branches.values() if b.group == (call, number) and b.task is not None]
        saved = frame.saved or {}
        managers.fill(manager, self.entered[call, number], saved.get(managers.saved_as(number)), waiting)
        if self.agent.restoring:
            undoing.holds_again(saved.get(undoing.saved_as(number), ()), self.unentered)

    # --- loading ---------------------------------------------------------------------------------------------------
    def _headers_left(self) -> bool:
        return any(kind == "header" for kind, _, _ in self._segments)

    def _take_all(self, *segments: tuple[str, int, int]) -> None:
        while any(one in self._segments for one in segments):
            self._next()

    def _next(self) -> None:
        try:
            if not self._segments:
                raise ResumeMismatch("it misses a value that the program needs")
            kind, number, _ = self._segments.pop()
            self._take(kind, number, self._reader.load())
        except Exception as error:  # no handler of the program may see that
            why = f"{type(error).__name__}: {error}"
            self.agent.block(
                f"agent {self.agent.id}: its checkpoint cannot be loaded with this program ({why}); deploy the build that "
                "wrote it"
            )
            raise AgentStopped(why) from None

    def _take(self, kind: str, number: int, loaded: Any) -> None:
        if self._reader.markers and kind != "branches":
            self._tell(kind, number, loaded)
        if kind == "header" or kind == "stack":
            frame = self.calls[number].frame
            if frame is not None and frame.saved is not None:
                frame.saved.update(loaded)
        elif kind == "cells":
            for call_number, variable in loaded:
                self._bind(call_number, variable)
        elif kind == "frames":
            for entry in loaded:
                self._describe(*entry)
        elif kind == "branches":
            for identity, making, outcome, callbacks, context in loaded:
                branch = self.branches[identity]
                # it may have begun again before this was loaded, and know more by now
                branch.making, branch.outcome = making or branch.making, outcome or branch.outcome
                branch.callbacks, branch.context = callbacks or branch.callbacks, context or branch.context
                branches.settle(branch)
                if callbacks and identity in self.agent.branches:
                    added_again(branch)
                elif callbacks:
                    self.agent.to_call.append(branch)
        else:
            for call_number, key, arguments, outcome, given, context in loaded:
                call = self.calls[call_number]
                call.key, call.arguments, call.outcome = key, arguments, outcome
                call.given, call.context = given, context

    def _describe(
        self, number: int, kept: dict[str, Any], cells: Any, outcome: Any, rows: Any, given: Any, arguments: Any
    ) -> None:
        self._described.add(number)
        call = self.calls[number]
        call.given, call.arguments = given, arguments or ()
        frame = call.frame
        assert frame is not None and frame.saved is not None
        frame.saved.update(kept)
        self._bind(number, cells or {})
        frame.outcome = outcome
        if raising.THROWN in kept:
            frame.thrown = frame.turn
        for path, playbook_id, place, made in rows or ():
            frame.below.expect((path, playbook_id, place), self.calls[made])

    def _bind(self, number: int, variables: Mapping[str, Any]) -> None:
        frame = self.calls[number].frame
        assert frame is not None
        for name, value in variables.items():
            if (number, name) not in self._bound:
                frame.cells[name].cell_contents = value
                self._bound.add((number, name))

    def _tell(self, kind: str, number: int, loaded: Any) -> None:
        """Let the markers of what could not be loaded say where they stand."""
        own = kind == "header" or kind == "stack"  # loaded for this frame alone
        frames = {number: loaded} if own else {entry[0]: entry[1:] for entry in loaded}
        for call, values in frames.items():
            frame = self.calls[call].frame
            parts = parts_of(values if own else values[0]) if kind != "calls" else [("", values)]
            where = paths(parts, {id(made) for made in self._reader.markers})
            for made in self._reader.markers:
                about = about_of(made)
                if id(made) in where and not about.playbook:
                    site = None if frame is None else frame.playbook.rewritten.sites[frame.site - 1]
                    place = "" if frame is None or site is None else f"{frame.playbook.filename}:{site.line}"
                    playbook = self.calls[call].playbook.id
                    tell(made, about._replace(path=where[id(made)], playbook=playbook, place=place))

    # (What the checkpoint does not hold is no loss of a value: `ResumeMismatch` goes through a tolerant load.)
    def _lost(self, number: int, _: str) -> Marker:
        return _known(self._markers, number, "marker")

    def _call(self, number: int) -> Call:
        self.referenced.add(number)
        return _known(self.calls, number, "call")

    def task(self, identity: int) -> Any:
        branch = _known(self.branches, identity, "branch")
        if branch.task is None:
            branches.finished(branch, self.agent.loop)
            if branch.outcome is not None:
                branches.settle(branch)
        return branch.task

    def _cell(self, call: int, name: str) -> CellType:
        frame = _known(self.calls, call, "call").frame
        return _known({} if frame is None else frame.cells, name, "variable")

    def _target(self, call: int, header: int, index: int) -> Any:
        targets = self.entered.get((call, header))
        if targets is not None and (index < len(targets) or (call, header) not in self.unentered):
            return targets[index] if index < len(targets) and targets[index] is not None else None
        key = (call, header, index)
        return self._pending.setdefault(key, Target(*key))


def _known(held: Mapping[Any, _T], key: Any, what: str) -> _T:
    try:
        return held[key]
    except (LookupError, TypeError):
        raise ResumeMismatch(f"it refers to {what} {key!r}, which it does not hold") from None
