"""What a checkpoint says: the flat table of all live calls and frames of an agent, at an instant when none is running.

Payload: the length of the index (4 bytes, big endian), the index (plain data), then the dumps of one `Saver`. The index
names for every frame its playbook, fingerprint, lowering, site and turn, so that a resume can refuse before it loads
anything of the program. Frames come in the order in which they began, each header's temporaries before what it encloses,
so that headers can be entered again between the loads (DESIGN 3.2, point 3).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.errors import CannotSave, DetachedTask
from playbooks_worker.engine.frames import MADE_AGAIN, NOT_BOUND, Call, Frame
from playbooks_worker.engine.place import in_region
from playbooks_worker.engine.rewrite import LOWERING, Site, Temporaries
from playbooks_worker.engine.snapshot import Diagnosis, Saver, Target, save_index

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent

FORMAT = 1
EMPTY_STACK = "[]"
_SHOWN_FRAMES = 50


def held_back(agent: Agent) -> bool:
    """Whether the checkpoint must wait: a header is being left, or a plain branch outlives its gather.

    Raises `DetachedTask` for a task that no checkpoint can bring back."""
    if agent.detached is not None:
        raise agent.detached
    for call in agent.running.values():
        frame = call.frame
        assert frame is not None
        if frame.leaving or (agent.regions and in_region(frame)):
            return True
        if frame.below.plain:
            error = detached_task(frame)
            if error is not None:
                raise error
    return bool(agent.siblings) and any(path not in below.outcomes for below, path in agent.siblings.values())


def detached_task(frame: Frame) -> DetachedTask | None:
    """The error for a task that a playbook's own statement made and does not await at its site, if there is one."""
    children = _children(frame.value)
    for task, (_, line) in frame.below.plain.items():
        if not task.done() and task not in children:
            where = f"{frame.playbook.filename}:{line}"
            return DetachedTask(
                f"{where}: detached task in {frame.playbook.id}: it is not awaited in the statement that started it, so "
                "no checkpoint can bring it back; await it through asyncio.gather, or start it in an ordinary coroutine"
            )
    return None


def _children(value: Any) -> set[Any]:
    found: set[Any] = set()
    for child in getattr(value, "_children", ()) if isinstance(value, asyncio.Future) else ():
        found.add(child)
        found |= _children(child)
    return found


def capture(agent: Agent) -> tuple[str, bytes]:
    """(stack as JSON, payload). Raises `CannotSave`, naming variable, type, playbook and line."""
    while True:
        attempt = _Attempt(agent)
        try:
            payload = attempt.payload()
        except Exception as error:
            if attempt.learn(error):
                continue
            raise
        return stack_json(agent), payload


class _Attempt:
    """One try at a checkpoint. A temporary that turns out not to be savable is left out by the next try."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.running = list(agent.running.values())
        self.targets: dict[int, Target] = {}
        self.cells: dict[int, tuple[int, str]] = {}
        for call in self.running:
            frame = call.frame
            assert frame is not None
            for number, targets, _ in frame.headers:
                for index, value in enumerate(targets):
                    if value is not None:
                        self.targets.setdefault(id(value), Target(call.id, number, index))
            for name, cell in frame.cells.items():
                self.cells[id(cell)] = (call.id, name)
        self.saver = Saver(self.targets, self.cells, self.running)
        self.segments: list[tuple[str, int, int]] = []
        self.metas: list[tuple[Any, ...]] = []
        self.again: dict[int, list[str]] = {}
        self.entries: list[Any] = []
        self.culprit = ""  # the type of what the last diagnosis stumbled over
        # for the diagnosis: what was to be saved, by frame
        self.written: list[tuple[Frame, int, dict[str, Any], Temporaries | None, bool]] = []

    def payload(self) -> bytes:
        adrift: list[int] = []
        for call in self.running:
            frame = call.frame
            assert frame is not None
            still = frame.still
            if still is not None and still[0] is frame.value and frame.outcome is None:
                self.metas.append(still[1])
                self.entries.append(still[2])
                self.written.append((frame, frame.site, still[2][1], None, False))
            else:
                self._frame(call, frame)
            if self.agent.is_adrift(call):
                adrift.append(call.id)
        self._flush()
        others = self._others()
        index = (
            FORMAT,
            LOWERING,
            self.agent.calls_made,
            self.agent.root_id,
            self.segments,
            self.metas,
            self.again,
            adrift,
            others,
        )
        head = save_index(index)
        return b"".join((len(head).to_bytes(4, "big"), head, self.saver.buffer.getbuffer()))

    # --- frames ----------------------------------------------------------------------------------------------------
    def _frame(self, call: Call, frame: Frame) -> None:
        made = call.playbook
        completed = frame.outcome is not None
        meta = (call.id, made.id, made.fingerprint, made.lowering, frame.site, frame.turn, completed, frame.depth)
        self.metas.append(meta)
        if self.agent.is_unreached(call):
            self._unreached(frame)
            return
        rewritten = made.rewritten
        site = rewritten.sites[frame.site - 1]
        local = frame.coroutine.cr_frame.f_locals
        kept: dict[str, Any] = {}
        again: list[str] = []
        for step in site.path:
            if isinstance(step, str):
                kept[step] = local[step]
                continue
            temporaries = rewritten.headers[step - 1].temporaries
            again += self._needed(frame, -step, temporaries, local, kept)
            self.written.append((frame, -step, kept, temporaries, True))
            self._flush()
            self._header(call.id, step, site.path, kept)
            kept = {}
        calling = not completed and type(frame.value) is Call
        if calling:
            kept[site.value] = frame.value
        temporaries = site.completed if completed or calling else site.in_flight
        if temporaries.roots:
            again += self._needed(frame, site.number, temporaries, local, kept)
        self.written.append((frame, site.number, kept, temporaries, not completed))
        for name in rewritten.saved:
            if name in local:
                kept[name] = local[name]
        if again:
            self.again[call.id] = again
        entry = self._entry(frame, kept)
        self.entries.append(entry)
        if calling and not (again or frame.cells or frame.headers):
            # nothing of it can be rebound until that call ends (its objects can change, and are pickled anew)
            frame.still = (frame.value, meta, entry)

    def _header(self, call: int, number: int, path: Sequence[str | int], kept: dict[str, Any]) -> None:
        """A header's own temporaries never refer to what it, or a header inside it, has brought: it brings it anew."""
        inside = path[path.index(number) :]
        outside = {i: t for i, t in self.targets.items() if t.call != call or t.header not in inside}
        self.saver.targets = outside
        self._dump("header", call, number, kept)
        self.saver.targets = self.targets

    def _unreached(self, frame: Frame) -> None:
        """A restored frame that still waits behind an effect is saved as it was loaded."""
        kept = self.agent.loader().everything(frame)
        again = [name for name, value in kept.items() if value is MADE_AGAIN]
        if again:
            self.again[frame.call_.id] = again
        kept = {name: value for name, value in kept.items() if value is not MADE_AGAIN}
        site = frame.playbook.rewritten.sites[frame.site - 1]
        headers = [step for step in site.path if isinstance(step, int)]
        if headers:  # all of it before the first header: its temporaries are there, in a harmless order
            self._flush()
            for step in headers:
                self._dump("header", frame.call_.id, step, kept if step == headers[0] else {})
            kept = {}
        self.entries.append(self._entry(frame, kept))

    def _needed(
        self, frame: Frame, place: int, temporaries: Temporaries, local: Any, kept: dict[str, Any]
    ) -> list[str]:
        """Put the temporaries that must be saved into *kept*; answers those that are to be made again."""
        again: list[str] = []
        names = list(temporaries.roots)
        seen: set[str] = set()
        unsavable = frame.playbook.unsavable
        while names:
            name = names.pop()
            if name in seen or name in kept:
                continue
            seen.add(name)
            value = local.get(name, NOT_BOUND)
            if value is NOT_BOUND:
                continue
            deps = temporaries.deps.get(name)
            if deps is not None and (
                value is MADE_AGAIN or ((place, name) in unsavable) or (deps is not None and _awaitable(value))
            ):
                again.append(name)
                names.extend(deps)
            else:
                kept[name] = value
        return again

    def _entry(self, frame: Frame, kept: dict[str, Any]) -> tuple[Any, ...]:
        below, call = frame.below, frame.call_
        made = {**below.expected, **below.made} if below.expected else below.made
        rows = []
        for place, child in made.items():
            if child is not frame.value:  # what the site awaits is found by its temporary
                rows.append((*place, child.id))
                self.saver.found.setdefault(child.id, child)
        outcomes = {**below.finished, **below.outcomes} if below.finished else below.outcomes
        cells = _contents(frame) if frame.cells else None
        return call.id, kept, cells, frame.outcome, rows or None, outcomes or None, call.given

    # --- other calls ----------------------------------------------------------------------------------------------
    def _others(self) -> tuple[tuple[int, str], ...]:
        """Calls that do not run now but are held somewhere: new ones with arguments, finished ones with outcomes."""
        known = {call.id for call in self.running}
        rows: list[tuple[int, str]] = []
        while True:
            fresh = [call for number, call in self.saver.found.items() if number not in known]
            if not fresh:
                return tuple(rows)
            known.update([call.id for call in fresh])
            rows += [(call.id, call.playbook.id) for call in fresh]
            if self.agent.restoring_calls:
                for call in fresh:
                    self.agent.complete(call)
            self._dump("calls", 0, 0, [(c.id, c.arguments, c.outcome, c.given) for c in fresh])

    def _flush(self) -> None:
        if self.entries:
            self._dump("frames", 0, 0, self.entries)
            self.entries = []

    def _dump(self, kind: str, call: int, number: int, value: Any) -> None:
        self.segments.append((kind, call, number))
        self.saver.dump(value)

    # --- when it fails --------------------------------------------------------------------------------------------
    def learn(self, error: Exception) -> bool:
        """Find what could not be saved. True: a temporary that can be made again (now known, try once more).

        Raises `CannotSave` for anything else."""
        for frame, place, kept, temporaries, anything in self.written:
            for name, value in kept.items():
                problem = self._problem(value)
                if problem is None:
                    continue
                known = temporaries is not None and name in temporaries.deps
                if known and temporaries is not None and (anything or name in temporaries.loads):
                    if (place, name) not in frame.playbook.unsavable:
                        frame.playbook.unsavable.add((place, name))
                        return True
                raise self._cannot(
                    frame, f"variable {name!r}" if name[0] != "." else "a value", value, problem
                ) from error
            for name, value in _contents(frame).items():
                if self._problem(value) is not None:
                    raise self._cannot(frame, f"variable {name!r}", value, error) from error
            if frame.outcome is not None and self._problem(frame.outcome) is not None:
                raise self._cannot(frame, "the awaited value", frame.outcome[1], error) from error
            for outcome in frame.below.outcomes.values():
                if self._problem(outcome) is not None:
                    raise self._cannot(frame, "the outcome of a branch", outcome[1], error) from error
        for call in self.saver.found.values():
            for value in (*call.arguments, *(call.outcome or ())):
                if self._problem(value) is not None:
                    what = "the result of" if call.outcome is not None else "an argument of"
                    raise CannotSave(
                        f"agent {self.agent.id}: cannot save {what} {call.playbook.id} ({_kind(value)}): {error}"
                    ) from error
        return False

    def _problem(self, value: Any) -> Exception | None:
        saver = Diagnosis(self.targets, self.cells, self.running)
        try:
            saver.dump(value)
        except Exception as problem:
            self.culprit = _kind(saver.last)
            return problem
        return None

    def _cannot(self, frame: Frame, what: str, value: Any, problem: Exception) -> CannotSave:
        site: Site = frame.playbook.rewritten.sites[frame.site - 1]
        kind = _kind(value)
        if self.culprit not in ("", kind):
            kind += f", which holds {self.culprit}"
        return CannotSave(
            f"agent {self.agent.id}: cannot save {what} ({kind}) of playbook {frame.playbook.id} at "
            f"{frame.playbook.filename}:{site.line} `{site.statement}`: {_advice(value, problem)}"
        )


def _contents(frame: Frame) -> dict[str, Any]:
    """The values of the frame's bound cells."""
    found: dict[str, Any] = {}
    for name, cell in frame.cells.items():
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not bound
    return found


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: Any, problem: Exception) -> str:
    if isinstance(value, types.GeneratorType):
        return "a generator cannot be saved; make it a list, or loop over one"
    if isinstance(value, types.CoroutineType | asyncio.Future):
        return "an awaitable cannot be kept across another await; await it where it is made, or make it a playbook call"
    return f"{problem}; open it in a `with` around its use, or make it again where it is needed"


def _awaitable(value: Any, depth: int = 0) -> bool:
    """Whether *value* is an awaitable other than a playbook's call, or a container of one."""
    kind = type(value)
    if kind is Call:
        return False
    if kind is list or kind is tuple or kind is set:
        return depth < 3 and any(_awaitable(item, depth + 1) for item in value)
    if kind is dict:
        return depth < 3 and any(_awaitable(item, depth + 1) for item in value.values())
    return kind is types.CoroutineType or hasattr(kind, "__await__") or kind is types.GeneratorType


# --- where it stands ----------------------------------------------------------------------------------------------------


def _ordered(agent: Agent) -> list[Frame]:
    """Frames from the outermost, each branch's frames together."""
    frames = [call.frame for call in agent.running.values() if call.frame is not None and call.frame.site]
    if len(frames) < 2 or all(one.depth < two.depth for one, two in itertools.pairwise(frames)):
        return frames
    children: dict[int, list[Frame]] = {}
    for frame in frames:
        owner = frame.call_.owner
        children.setdefault(owner.frame.call_.id if owner is not None else 0, []).append(frame)
    ordered: list[Frame] = []
    waiting = list(reversed(frames[:1] + [f for f in children.pop(0, []) if f is not frames[0]]))
    while waiting:
        frame = waiting.pop()
        ordered.append(frame)
        waiting.extend(reversed(children.pop(frame.call_.id, [])))
    return ordered


def stack(agent: Agent) -> list[tuple[str, int, str, int]]:
    """(playbook, line, statement, depth) of each frame, outermost first."""
    found: list[tuple[str, int, str, int]] = []
    for frame in _ordered(agent):
        site = frame.playbook.rewritten.sites[frame.site - 1]
        found.append((frame.playbook.id, site.line, site.statement, frame.depth))
    return found


def stack_json(agent: Agent) -> str:
    """The same as JSON, from fragments that are made once for each site and depth."""
    parts: list[str] = []
    for frame in _ordered(agent)[:_SHOWN_FRAMES]:
        key = (frame.site, frame.depth)
        fragment = frame.playbook.fragments.get(key)
        if fragment is None:
            site = frame.playbook.rewritten.sites[frame.site - 1]
            fragment = json.dumps([frame.playbook.id, site.line, site.statement, frame.depth])
            frame.playbook.fragments[key] = fragment
        parts.append(fragment)
    return f"[{', '.join(parts)}]"
