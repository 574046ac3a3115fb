"""What cannot be saved: the kinds that never can, and how that is found out of any other object.

A reducer that gives up answers with `lost`: a marker takes the object's place in the checkpoint, or, for a strict agent, the
checkpoint fails. In this process the object goes on being used.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import copyreg
import selectors
import socket
import subprocess
import sys
import threading
import types
import weakref
from typing import Any, Protocol, TypeAlias

from playbooks_worker.engine import bare
from playbooks_worker.engine.errors import NotRestoredError
from playbooks_worker.engine.markers import About, Marker, marker

Reduced: TypeAlias = Any  # what a reducer may answer: a tuple, or NotImplemented
PROTOCOL = 5
_NEW: Any = copyreg.__newobj__  # type: ignore[attr-defined]  # known to every pickler
_NEW_WITH_NAMES: Any = copyreg.__newobj_ex__  # type: ignore[attr-defined]

# Tied to this process, though pickle would save some of them by their attributes: half of a connection, a dead thread.
_KINDS: tuple[type, ...] = (
    asyncio.AbstractServer,
    asyncio.Barrier,  # some have passed it, others have not been told
    asyncio.BaseTransport,
    asyncio.Handle,
    asyncio.StreamReader,
    asyncio.StreamWriter,
    asyncio.subprocess.Process,
    concurrent.futures.Executor,
    concurrent.futures.Future,
    selectors.BaseSelector,
    socket.socket,
    subprocess.Popen,
    threading.Thread,
    types.AsyncGeneratorType,
    types.CoroutineType,
    types.GeneratorType,
    weakref.ReferenceType,
    weakref.ProxyType,
    weakref.CallableProxyType,
)
if hasattr(asyncio.tasks, "_AsCompletedIterator"):  # from Python 3.13 on, before that a generator
    _KINDS = (*_KINDS, asyncio.tasks._AsCompletedIterator)
_MODULES = frozenset({"multiprocessing.process"})  # imported by those who need it


class Losing(Protocol):
    """What is needed of the `Saver` that asks: *lost* collects what it could not save, and why."""

    lost: list[tuple[Any, str]]
    strict: bool


def never(kind: type) -> bool:
    """Whether no object of this kind can be saved."""
    return issubclass(kind, _KINDS) or any(base.__module__ in _MODULES for base in kind.__mro__)


def lost(saver: Losing, value: Any, why: str) -> Reduced:
    """A marker for *value*. Raises TypeError when the agent is strict."""
    if saver.strict:
        raise TypeError(why)
    saver.lost.append((value, why))
    return _marker, (len(saver.lost) - 1, kind_of(value))


def _marker(number: int, kind: str) -> Marker:
    """Where no agent loads (it knows more of its losses)."""
    return marker(About(kind))


def reduce_marker(saver: Losing, value: Marker) -> Reduced:
    """It survives, in a strict agent too: what it stands for was lost before."""
    saver.lost.append((value, ""))
    return _marker, (len(saver.lost) - 1, Marker.__name__)


def reduce_never(saver: Losing, value: Any) -> Reduced:
    return lost(saver, value, f"a {type(value).__name__} cannot be saved")


def reduce_as_it_wants(saver: Losing, value: Any) -> Reduced:
    """What the object itself answers to pickle, if that can be saved; else it is lost as a whole."""
    kind = type(value)
    registered = copyreg.dispatch_table.get(kind)
    try:
        reduced = value.__reduce_ex__(PROTOCOL) if registered is None else registered(value)
        kind = value.__class__  # that pickle compares
    except NotRestoredError:
        return lost(saver, value, "it is made from what did not come back")
    except Exception as error:
        return lost(saver, value, said(error))
    if type(reduced) is tuple and 2 <= len(reduced) <= 6 and type(reduced[1]) is tuple:
        maker, arguments = reduced[:2]
        if maker is _NEW or maker is _NEW_WITH_NAMES:
            if arguments and arguments[0] is kind:
                return bare.reduced(value, reduced) if maker is _NEW else reduced
        elif callable(maker):
            return reduced
        return lost(saver, value, f"it is made by {getattr(maker, '__qualname__', maker)}, which cannot be saved")
    if type(reduced) is str and _global(value, reduced):
        return reduced
    return lost(saver, value, f"its __reduce__ answers {type(reduced).__name__}, which pickle does not take")


def named(thing: Any) -> bool:
    """Whether a class or function is where its name says."""
    found: Any = sys.modules.get(thing.__module__)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


def _global(value: Any, name: str) -> bool:
    module = getattr(value, "__module__", None)
    for name_of_module in [module] if isinstance(module, str) else list(sys.modules):
        found: Any = sys.modules.get(name_of_module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is value:
            return True
    return False


def said(error: Exception) -> str:
    """In one line that is not too long."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 200 else f"{text[:199]}…"


def kind_of(value: Any) -> str:
    """The name of its class, for people."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
