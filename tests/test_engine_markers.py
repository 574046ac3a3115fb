"""What cannot be saved, or not be loaded, has a marker in its place: it may be passed on, and says what it was when used."""

from __future__ import annotations

import asyncio
import copy
import csv
import dataclasses
import operator
import socket
import sqlite3
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from playbooks_worker import NotRestoredError, playbook
from playbooks_worker.engine import Agent, CannotSave, Completed, Failed
from playbooks_worker.engine.markers import Marker

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, kill_everywhere, load, resume, run, same_everywhere, start  # noqa: E402

# loops that were killed are collected with what they held, which Python remarks on
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


async def effect(name, value=None):
    await asyncio.sleep(0)
    return name if value is None else value


def generator():
    yield from range(100)


async def agenerator():
    yield 1


class Stubborn:
    """Cannot be saved, and says so itself."""

    def __init__(self):
        self.used = 0

    def __getstate__(self):
        raise TypeError("a stubborn one\nin two lines")

    def use(self):
        self.used += 1
        return self.used


class Slotted:
    __slots__ = ("connection", "name")


class Service:
    """Can be saved but for its client."""

    def __init__(self):
        self.name = "service"
        self.client = Stubborn()
        self.counts = {"a": 1}


def slotted():
    made = Slotted()
    made.name, made.connection = "slots", sqlite3.connect(":memory:")
    return made


def error_with_a_client():
    error = ValueError("bad")
    error.client = Stubborn()
    return error


async def streams():
    here, there = socket.socketpair()
    there.close()
    return await asyncio.open_connection(sock=here)


LOST = {
    "stubborn": (Stubborn, "Stubborn"),
    "generator": (lambda: next(one := generator()) or one, "generator"),
    "asynchronous generator": (agenerator, "async_generator"),
    "socket": (socket.socket, "socket.socket"),
    "file": (lambda: open(__file__), "_io.TextIOWrapper"),
    "database": (lambda: sqlite3.connect(":memory:"), "sqlite3.Connection"),
    "thread": (lambda: threading.Thread(target=print), "threading.Thread"),
    "process": (lambda: subprocess.Popen(["true"]), "subprocess.Popen"),
    "future": (lambda: asyncio.get_running_loop().create_future(), "_asyncio.Future"),
    "loop": (asyncio.new_event_loop, "EventLoop"),
    "weak reference": (lambda: weakref.ref(Stubborn), "weakref.ReferenceType"),
    "weak proxy": (lambda: weakref.proxy(Stubborn), "weakref.CallableProxyType"),
    "module's C object": (lambda: csv.reader([]), "_csv.reader"),
    "frame": (sys._getframe, "frame"),
    "memory": (lambda: memoryview(b"x"), "memoryview"),
}


@playbook
async def keeps(make):
    thing = make()
    first = await effect("one")
    mine = isinstance(thing, Marker)
    await effect("two")
    return first, mine, repr(thing), thing


@pytest.mark.parametrize("name", LOST)
def test_where_the_agent_was_not_interrupted_the_object_itself_is_used(name):
    make, _ = LOST[name]
    outcome = start(keeps, make)
    assert isinstance(outcome, Completed) and not outcome.value[1] and not isinstance(outcome.value[3], Marker)


@pytest.mark.parametrize("name", LOST)
def test_where_it_goes_on_a_marker_stands_for_it_through_later_checkpoints(name):
    make, kind = LOST[name]
    store = Store()
    start(keeps, make, store=store)
    later = Store()
    first, _, shown, thing = resume(store.payloads[0], later).value
    assert first == "one" and isinstance(thing, Marker)
    assert "thing" in shown and kind in shown and "keeps" in shown, shown
    assert repr(resume(later.payloads[-1]).value[3]) == shown


USES = {
    "attribute": lambda it: it.anything,
    "setting": lambda it: setattr(it, "a", 1),
    "deleting": lambda it: delattr(it, "a"),
    "call": lambda it: it(),
    "item": lambda it: it[0],
    "setting an item": lambda it: operator.setitem(it, 0, 1),
    "iteration": lambda it: list(it),
    "next": next,
    "in": lambda it: 1 in it,
    "truth": bool,
    "len": len,
    "equality": lambda it: it == 1,
    "inequality": lambda it: it != it,
    "order": lambda it: it < 1,
    "order, turned": lambda it: 1 >= it,
    "sum": lambda it: it + 1,
    "sum, turned": lambda it: 1 + it,
    "in place": lambda it: operator.iadd(it, 1),
    "divmod": lambda it: divmod(it, 2),
    "negative": operator.neg,
    "number": int,
    "index": lambda it: [1][it],
    "text": str,
    "format": lambda it: f"{it:>10}",
    "plain format": lambda it: f"{it}",
    "path": open,
    "with": lambda it: it.__enter__(),
    "unpacking": lambda it: print(*it),
    "isinstance of it": lambda it: isinstance(1, it),
    "hasattr": lambda it: hasattr(it, "a"),
}


@playbook
async def uses(what):
    held = {"deep": [Stubborn()]}
    await effect("one")
    return USES[what](held["deep"][0])


@playbook
async def awaits():
    held = Stubborn()
    await effect("one")
    return await held


@playbook
async def opens(asynchronous):
    held = Stubborn()
    await effect("one")
    if asynchronous:
        async with held:
            return 1
    with held:
        return 1


@playbook
async def calls_and_awaits():
    held = Service()
    await effect("one")
    return await held.client.use()


def restored(case, *args):
    """What a run that is resumed from its first checkpoint ends with."""
    store = Store()
    start(case, *args, store=store)
    return resume(store.payloads[0])


@pytest.mark.parametrize("what", USES)
def test_using_a_marker_says_what_it_was(what):
    outcome = restored(uses, what)
    assert isinstance(outcome, Failed) and isinstance(outcome.error, NotRestoredError), outcome
    text = str(outcome.error)
    for part in ("held['deep'][0]", "Stubborn", f"{uses.__module__}:uses", "test_engine_markers.py:", "a stubborn one"):
        assert part in text, text
    assert "make it a resource()" in text and "\n" not in text


def repr_of(case):
    return "-".join(getattr(part, "__name__", str(part)) for part in case)


@pytest.mark.parametrize("case", [(awaits,), (opens, True), (opens, False), (calls_and_awaits,)], ids=repr_of)
def test_using_a_marker_in_a_statement_of_a_playbook_says_what_it_was(case):
    outcome = restored(*case)
    assert isinstance(outcome, Failed) and isinstance(outcome.error, NotRestoredError), outcome
    assert outcome.error.about.path in ("held", "held.client")


@playbook
async def handles():
    held = Stubborn()
    await effect("one")
    try:
        return held.use()
    except NotRestoredError as error:
        return await effect("made again", error.about.path)


def test_a_program_can_handle_it():
    assert start(handles) == Completed(1)
    assert restored(handles) == Completed("held")


@playbook
async def passes_it_on():
    held = Stubborn()
    box = {"it": held, held: "as a key"}
    kept = {held}
    await effect("one")
    copies = copy.copy(held), copy.deepcopy(box)["it"]
    same = await gives_back(held)
    await effect("two")
    return (
        [one is held for one in (box["it"], same, *copies, *kept)],
        box[held],
        type(held) is type(same),
        isinstance(held, int),
        [held, 1].index(1, 1),
    )


@playbook
async def gives_back(it):
    await effect("inside")
    return it


def test_it_may_be_passed_on():
    outcome = run_twice(passes_it_on)
    assert outcome == Completed(([True] * 5, "as a key", True, False, 1))


def run_twice(case):
    """Killed at the first checkpoint, then at each that follows."""
    store = Store()
    start(case, store=store)
    again = Store()
    outcome = resume(store.payloads[0], again)
    for payload in again.payloads:
        assert resume(payload) == outcome
    return outcome


# --- as little as possible is lost ---


@playbook
async def inner_parts():
    service, slots, error = Service(), slotted(), error_with_a_client()
    bound, held = service.client.use, [service.client]
    await effect("one")
    return (
        (service.name, service.counts, repr(service.client)),
        (slots.name, repr(slots.connection)),
        (str(error), repr(error.client)),
        held[0] is service.client,
        bound.__self__ is service.client,
    )


def test_an_object_keeps_what_of_it_can_be_saved():
    store = Store()
    start(inner_parts, store=store)
    service, slots, error, same, bound = resume(store.payloads[0]).value
    assert service[:2] == ("service", {"a": 1}) and "service.client" in service[2]
    assert slots[0] == "slots" and "slots.connection" in slots[1]
    assert error[0] == "bad" and "error.client" in error[1]
    assert same and bound


@playbook
async def thread_locks():
    made = [threading.Lock(), threading.RLock(), threading.Event(), threading.Condition(), threading.Semaphore(2)]
    made[2].set()
    await effect("one")
    for one in (made[0], made[1], made[3], made[4]):
        with one:
            pass
    with made[0]:
        await effect("held")
    return made[2].is_set(), made[0].locked()


def test_locks_of_threads_come_back_unlocked():
    assert same_everywhere(thread_locks) == Completed((True, False))


@playbook
async def mutual():
    one, two = Service(), Service()
    one.peer, two.peer = two, one
    box = [one]
    box.append(box)
    await effect("one")
    return one.peer.peer is one, box[1] is box, box[0].peer.name


def test_cycles_around_a_loss():
    assert same_everywhere(mutual) == Completed((True, True, "service"))


@playbook
async def in_a_branch(service):
    name = await effect("branch", service.name)
    service.counts[name] = 2
    await effect("branch again")
    return service


@playbook
async def shares():
    service = Service()
    other, _ = await asyncio.gather(in_a_branch(service), effect("beside"))
    await effect("after")
    return other is service, service.counts


def test_what_is_shared_around_a_loss_stays_shared():
    assert same_everywhere(shares) == Completed((True, {"a": 1, "service": 2}))


@playbook
async def results():
    client = await makes_client()
    await effect("between")
    return [client]


@playbook
async def makes_client():
    await effect("one")
    return Stubborn()


@playbook
async def of_an_effect():
    client = await effect("one", Stubborn())
    await effect("two")
    return [client]


@playbook
async def as_an_argument():
    return (await asyncio.gather(takes(Stubborn()), effect("beside"), effect("beside too")))[:1]


@playbook
async def takes(client):
    await effect("one")
    await effect("two")
    return client


@pytest.mark.parametrize("case", [results, of_an_effect, as_an_argument], ids=lambda p: p.__name__)
def test_wherever_it_stands_it_is_known(case):
    expected, resumed = kill_everywhere(case)
    assert type(expected.value[0]) is Stubborn
    for number, outcome in resumed:
        assert type(outcome.value[0]) in (Marker, Stubborn), (number, outcome)
    marked = [outcome.value[0] for _, outcome in resumed if type(outcome.value[0]) is Marker]
    assert marked and all("Stubborn" in repr(one) for one in marked)
    assert any(name in repr(marked[-1]) for name in ("client", "the awaited value"))


# --- what stays an error ---


@playbook
async def loops(iterable):
    seen = []
    for item in iterable():
        seen.append(await effect("turn", item))
        if len(seen) == 3:
            return seen


@pytest.mark.parametrize(
    "iterable",
    [generator, lambda: zip("abc", generator(), strict=False), lambda: open(__file__), lambda: map(str, generator())],
    ids=["generator", "zip", "file", "map"],
)
def test_a_loop_over_what_cannot_be_saved_is_an_error_that_says_what_to_write(iterable):
    outcome = start(loops, iterable)
    assert isinstance(outcome, Failed) and isinstance(outcome.error, CannotSave), outcome
    text = str(outcome.error)
    for part in ("`for` loop", "test_engine_markers.py:", f"{loops.__module__}:loops", "list(…)"):
        assert part in text, text


def test_a_loop_over_a_list_of_what_cannot_be_saved_goes_on_with_markers():
    store = Store()
    start(loops, lambda: [Stubborn(), Stubborn(), Stubborn()], store=store)
    assert [type(item) for item in resume(store.payloads[1]).value] == [Marker] * 3


def test_a_strict_agent_fails_at_its_first_checkpoint():
    outcome = run(Agent("a", persist=Store().persist, strict=True).start(keeps, [Stubborn]))
    assert isinstance(outcome, Failed) and isinstance(outcome.error, CannotSave)
    assert "'thing'" in str(outcome.error) and "a stubborn one" in str(outcome.error)


def test_a_marker_is_no_error_for_a_strict_agent():
    store = Store()
    start(keeps, Stubborn, store=store)
    outcome = run(Agent("a", persist=Store().persist, strict=True).resume(store.payloads[0]))
    assert isinstance(outcome.value[3], Marker)


# --- what cannot be loaded ---

ORIGINAL = """
from playbooks_worker import playbook
import asyncio

class Gone:
    def __init__(self, value=1):
        self.value = value

class Listed(list):
    pass

class Error(Exception):
    pass

class Point:
    __slots__ = ("x",)

class Restored:
    def __setstate__(self, state):
        raise ValueError("of another version")

class Filled(dict):
    def __setitem__(self, key, value):
        raise KeyError("full")

class Made:
    def __reduce__(self):
        return make, (1,)

def make(value):
    return Made()

SINGLE = Gone()

async def effect(name):
    await asyncio.sleep(0)
    return name

@playbook
async def main():
    gone = Gone()
    restored = Restored()
    restored.a = 1
    point = Point()
    point.x = restored
    box = {"gone": [gone, gone], "kept": [1, 2], "more": (Listed([1]), Error("e"), point)}
    filled = Filled()
    dict.__setitem__(filled, "a", 1)
    made = Made()
    single = SINGLE
    await leaf(box)
    await effect("after")
    return [box, gone, restored, filled, made, single]

@playbook
async def leaf(box):
    await effect("one")
    await effect("two")
"""


def module(source, folder):
    return load("marked_program", source, folder)


@pytest.fixture
def saved(tmp_path):
    store = Store()
    made = module(
        ORIGINAL.replace("raise ValueError", "pass; ValueError").replace("raise KeyError", "KeyError"), tmp_path
    )
    assert isinstance(start(made.main, store=store), Completed)
    yield store.payloads[0], tmp_path
    sys.modules.pop("marked_program", None)


def test_what_cannot_be_loaded_has_a_marker_in_its_place(saved):
    payload, folder = saved
    text = ORIGINAL.replace("return Made()", "raise OSError('not here')").replace("SINGLE =", "OTHER =")
    module(text, folder)
    later = Store()
    box, gone, restored, filled, made, single = resume(payload, later).value
    assert type(gone).__name__ == "Gone" and box["gone"][0] is gone
    assert box["kept"] == [1, 2] and box["more"][0] == [1] and box["more"][1].args == ("e",)
    for one, parts in {
        restored: ("restored", "Restored", "of another version"),
        made: ("made", "make", "not here"),
        single: ("single", "SINGLE", "AttributeError"),
    }.items():
        assert type(one) is Marker
        said = str(used(one))
        for part in (*parts, "loaded", "marked_program:main"):
            assert part in said, said
    assert box["more"][2].x is restored and filled == {"a": 1}  # no method of its class runs
    again = resume(later.payloads[-1]).value
    assert [type(one) for one in (again[2], *again[4:])] == [Marker] * 3


def used(one):
    try:
        one.anything  # noqa: B018
    except NotRestoredError as error:
        return error


def test_instances_of_a_missing_class_have_markers_in_their_places(saved):
    payload, folder = saved
    changed = module(ORIGINAL, folder)
    for name in ("Gone", "Listed", "Error", "Point", "Restored", "Filled", "Made", "make", "SINGLE"):
        delattr(changed, name)
    box, gone, *others = resume(payload).value
    assert type(gone) is Marker and box["gone"] == [gone, gone] and box["kept"] == [1, 2]
    assert "marked_program.Gone" in repr(gone)
    assert [type(one) for one in (*box["more"], *others)] == [Marker] * 7


def test_a_module_that_is_missing(tmp_path, monkeypatch):
    (tmp_path / "passing_library.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    store = Store()
    start(keeps, lambda: __import__("passing_library").Thing(), store=store)
    (tmp_path / "passing_library.py").unlink()
    del sys.modules["passing_library"]
    __import__("importlib").invalidate_caches()
    assert "passing_library.Thing" in repr(resume(store.payloads[0]).value[3])


class Picky:
    """Refuses to be loaded."""

    def __init__(self):
        self.allowed = True
        self.others = [self]

    def __setstate__(self, state):
        raise ValueError("loaded once too often")


@playbook
async def keeps_picky(picky):
    box = [picky]
    await effect("one")
    return box, picky


@dataclasses.dataclass(frozen=True)
class Holder:
    picky: Picky


@playbook
async def holds_picky():
    picky = Picky()
    held = Holder(picky)
    box, same = await keeps_picky(picky)
    return [type(picky), picky is same, picky is box[0], held.picky is picky]


def test_one_marker_for_all_who_hold_it():
    assert restored(holds_picky) == Completed([Marker, True, True, True])


@playbook
async def sets_a_future(future):
    await asyncio.sleep(0)
    future.set_result("set")


@playbook
async def waits_for_a_future():
    future = asyncio.get_running_loop().create_future()
    setting = asyncio.create_task(sets_a_future(future))
    await asyncio.sleep(0)
    await setting
    return await future


def test_a_future_that_others_are_to_end_says_what_to_take_instead():
    expected, resumed = kill_everywhere(waits_for_a_future)
    assert expected == Completed("set")
    assert "`asyncio.Event` or `Queue`" in str(resumed[0][1].error)
