"""A checkpoint holds what is shared as if nobody on the path had entered a manager: a resume enters each of them again.

So around a dump, while no playbook runs, what open headers and unfinished entries and exits have changed (footprints.py) is
undone in the objects themselves, and then put back; as synchronisers.py gives back the permits. Data that others have
changed since is said beside its header, and holds again when all who had changed it have entered. Called by capture.py and
restore.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from playbooks_worker.engine import stacks
from playbooks_worker.engine.footprints import Act, Change
from playbooks_worker.engine.markers import Marker
from playbooks_worker.engine.shapes import ABSENT, WHOLE, got, is_atom, put, unchanged

Header: TypeAlias = tuple[int, int]  # call, number
_Place: TypeAlias = tuple[int, Any]  # the id of a thing, and the key in it that has changed


class Watch:
    """One header: what its manager's entry, and its exit so far, has changed. ``own``: the targets that were within its
    reach before; ``saves``: by id, whether such a thing can be saved;
    ``says_itself``: its class says how it is entered again, and so it comes back as it stands."""

    __slots__ = ("acts", "manager", "own", "roots", "saves", "says_itself")

    def __init__(self, manager: Any, roots: tuple[Any, ...], says_itself: bool) -> None:
        self.manager = manager
        self.roots = roots
        self.says_itself = says_itself
        self.acts: list[Act] = []
        self.own: list[Any] = []
        self.saves: dict[int, tuple[Any, bool]] = {}

    def undone(self) -> Iterator[Act]:
        for act in self.acts:
            if act.undone and not (act.over and self.says_itself):
                yield act
        yield from (each.act for each in stacks.entered(self.manager) if each.act.undone)

    def taken(self, lock: Any) -> int:
        """How often *lock* is taken."""
        return sum(act.permits[id(lock)][1] for act in self.undone() if id(lock) in act.permits)


class Since(NamedTuple):
    """*key* (None: all) of *thing* is *value* again when the headers that had changed it have been entered.

    A *value* which is a tuple is an order: of what stands in a list then, which is the next that entering has appended."""

    thing: Any
    key: Any
    value: Any
    headers: tuple[Header, ...]


def taken(watches: Mapping[Header, Watch], lock: Any) -> dict[int, int]:
    """How often *lock* was taken in entering managers that will be entered again, by the id of the manager."""
    found: dict[int, int] = {}
    for watch in watches.values():
        found[id(watch.manager)] = found.get(id(watch.manager), 0) + max(0, watch.taken(lock))
    return found


def saved_as(header: int) -> str:
    """The name of what holds again after an entry, among what is saved of a frame."""
    return f".since{header}"


def is_since(name: str) -> bool:
    return name.startswith(saved_as(0)[:-1])


class Undone:
    """What is open in an agent, undone from `begin` to `end`."""

    def __init__(self, watches: Mapping[Header, Watch]) -> None:
        self._over: list[Change] = []
        self._running: list[Change] = []
        self._headers: dict[_Place, list[Header]] = {}
        for header, watch in watches.items():
            for act in watch.undone():
                (self._over if act.over else self._running).extend(act.changes)
                for change in act.changes if act.over else ():
                    held = self._headers.setdefault(_place(change), [])
                    if header not in held:
                        held.append(header)
        self._were: dict[int, tuple[Any, dict[Any, Any]]] = {}  # by the id of a thing: it, and by key what it held
        self._since: dict[_Place, Since] = {}

    def begin(self) -> None:
        for change in self._latest_first(self._running):
            self._undo(change)
        before: dict[_Place, Any] = dict.fromkeys(self._headers, ABSENT)
        for change in self._over:
            before[_place(change)] = got(change.thing, change.key)
        touched = [change for change in self._latest_first(self._over) if self._undo(change)]
        for change in touched:
            place, key = _place(change), None if change.key is WHOLE else change.key
            value = before[place]
            if type(value) is list and not all(map(_is_data, value)):
                if key is not None:
                    continue
                value = _order(value, got(change.thing, WHOLE))  # objects: those that are made anew take their places
            elif not is_atom(value) and type(value) is not list:
                continue
            self._since[place] = Since(change.thing, key, value, tuple(self._headers[place]))

    def end(self) -> None:
        for thing, held in self._were.values():
            for key, value in held.items():
                _put_in_order(thing, key, value)
        self._were.clear()

    def since(self, header: Header, besides: Collection[int]) -> list[Since]:
        """What holds again when this header has been entered; of no thing in *besides*."""
        found = [one for one in self._since.values() if header in one.headers and id(one.thing) not in besides]
        return [one for one in found if is_atom(one.key)]

    @staticmethod
    def _latest_first(changes: list[Change]) -> Iterable[Change]:
        return sorted(changes, key=lambda change: change.time, reverse=True)

    def _undo(self, change: Change) -> bool:
        """Answers whether others have changed the same since, in a way that entering again does not bring back."""
        thing, key = change.thing, change.key
        now = got(thing, key)
        held = self._were.setdefault(id(thing), (thing, {}))[1]
        if isinstance(thing, dict):
            held.setdefault(WHOLE, dict(thing))
        held.setdefault(key, now)
        touched = not unchanged(change.after, now)
        put(thing, key, _before(change, now, touched))
        return touched and type(now) is not set


def holds_again(rows: Iterable[tuple[Any, ...]], unentered: Collection[Header]) -> None:
    """A header has been entered: what holds since then, unless others who had changed it are still to come."""
    for row in rows:
        thing, key, value, headers = Since(*row)
        if type(thing) is not Marker and not any(header in unentered for header in headers):
            value = _ordered(got(thing, WHOLE), value) if type(value) is tuple else value
            put(thing, WHOLE if key is None else key, value)


def _place(change: Change) -> _Place:
    return id(change.thing), change.key


def _before(change: Change, now: Any, touched: bool) -> Any:
    """What would be there without *change*."""
    before, after = change.before, change.after
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in (before, after, now)):
        return now - (after - before)
    if type(now) is set:
        return (now - (after - before)) | (before - after)
    if not touched or type(now) is not list:
        return before
    missing, added = _without(before, after), _without(after, before)
    rest = _without(now, added)
    taken_first = len(missing) <= len(before) and all(one is two for one, two in zip(missing, before, strict=False))
    return missing + rest if taken_first else rest + missing  # a queue gives its first


def _without(these: list[Any], those: list[Any]) -> list[Any]:
    counts: dict[int, int] = {}
    for one in those:
        counts[id(one)] = counts.get(id(one), 0) + 1
    left = []
    for one in these:
        if counts.get(id(one), 0):
            counts[id(one)] -= 1
        else:
            left.append(one)
    return left


def _is_data(value: Any) -> bool:
    """Whether another that is equal to it does as well."""
    return all(map(_is_data, value)) if type(value) is tuple else is_atom(value)


def _order(now: list[Any], rest: list[Any]) -> tuple[bool, ...]:
    """For each of *now*: whether it is none of *rest*, which is what of it is saved."""
    at, order = 0, []
    for one in now:
        kept = at < len(rest) and one is rest[at]
        at += kept
        order.append(not kept)
    return tuple(order) if at == len(rest) else ()


def _ordered(now: list[Any], order: tuple[bool, ...]) -> list[Any]:
    """What was saved and, behind it, what has been appended since, in that *order*; else *now* as it is."""
    if len(now) != len(order):
        return now
    saved = len(order) - sum(order)
    kept, appended = iter(now[:saved]), iter(now[saved:])
    return [next(appended if new else kept) for new in order]


def _put_in_order(thing: Any, key: Any, value: Any) -> None:
    """As it was, the order of a dict too, which a running loop may go over."""
    if not isinstance(thing, dict):
        put(thing, key, value)
    elif key is WHOLE:
        if thing.keys() != value.keys() or list(thing) != list(value):
            thing.clear()
            thing.update(value)
        else:
            dict.update(thing, value)
