"""`ContextVar`s that a program has declared part of its agents (`durable`): noted where a task can be resumed, and put back
there.

Each task has values of its own, which only code that runs in it can read or set. So a frame notes them as it comes to a site
and as it leaves one, a header before it is entered, a task as it is made; frames.py, headers.py, reentry.py and branches.py
call. Where nothing is declared, nothing is noted. A `Token` of a declared variable comes back in a local of a playbook.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from playbooks_worker.engine.reentry import Reentry

_T = TypeVar("_T")
Key: TypeAlias = tuple[str, str]  # module, name
Values: TypeAlias = dict[Key, Any]  # of those that have a value in a context, which no default is
_UNSET: Any = object()

DECLARED: dict[Key, ContextVar[Any]] = {}
_keys: dict[ContextVar[Any], Key] = {}
# what was put back into the context of a task that had no value: by that task, by variable
_first: ContextVar[tuple[Any, dict[ContextVar[Any], Token[Any]]]] = ContextVar("playbooks_first")


def durable(variable: ContextVar[_T]) -> ContextVar[_T]:
    """Make *variable* part of every agent of this process: a resumed playbook sees the value that its task had.

    Call it where the variable is made, at the top of a module, and keep what it answers, which is *variable* itself::

        tenant: ContextVar[str] = durable(ContextVar("tenant"))

    Each task of an agent has its own values, as in asyncio; one that it makes begins with a copy. Values must be such as
    local variables may be. A child agent (`spawn`) begins with none. Raises `ValueError` for a second variable of the same
    name in one module: a checkpoint could not tell them apart.
    """
    namespace = sys._getframe(1).f_globals
    key = str(namespace.get("__name__", "")), variable.name
    other = DECLARED.get(key)
    if other is not None and other is not variable and any(one is other for one in list(namespace.values())):
        raise ValueError(f"{key[0]} declares two durable ContextVars named {variable.name!r}; give each its own name")
    if other is not None:
        _keys.pop(other, None)
    DECLARED[key] = variable
    _keys[variable] = key
    return variable


def values() -> Values:
    """What the context of the running code has."""
    found = {key: variable.get(_UNSET) for key, variable in DECLARED.items()}
    return {key: value for key, value in found.items() if value is not _UNSET}


def put_back(saved: Mapping[Key, Any] | None) -> None:
    """The running task's context gets what *saved* says, and nothing else of what is declared."""
    for key, variable in DECLARED.items():
        _become(variable, (saved or {}).get(key, _UNSET))


def _become(variable: ContextVar[Any], value: Any) -> None:
    if value is _UNSET:
        first = _of_this_task().pop(variable, None)
        if first is not None and variable.get(_UNSET) is not _UNSET:
            variable.reset(first)
        return
    token = variable.set(value)
    if token.old_value is Token.MISSING:
        _of_this_task()[variable] = token


def _of_this_task() -> dict[ContextVar[Any], Token[Any]]:
    """Tokens are good in the context that they were made in alone; a copy has a task of its own."""
    task = asyncio.current_task()
    owner, tokens = _first.get((None, {}))
    if owner is not task:
        tokens = {}
        _first.set((task, tokens))
    return tokens


# --- frames -------------------------------------------------------------------------------------------------------------
def saved_as(header: int) -> str:
    """The name of the values among what is saved of a frame: those before a header was entered, or (0) at its site."""
    return f".context{header}"


def noted(frame: Reentry, header: int = 0) -> None:
    """The running code stands at the site of *frame*, or in front of a header."""
    frame.context = {**frame.context, header: values()}


def restored(frame: Reentry, saved: dict[str, Any]) -> dict[str, Any]:
    """The locals of *frame* as they are put back, and its task's context with them."""
    at_site = saved.get(saved_as(0))
    locals_ = {name: _made(one) if type(one) is SavedToken else one for name, one in saved.items()}
    put_back(at_site)
    frame.context = {**frame.context, 0: at_site or {}}
    return locals_


# --- tokens -------------------------------------------------------------------------------------------------------------
class SavedToken:
    """What a checkpoint holds of a token. It becomes one in the task whose local it is."""

    __slots__ = ("key", "old", "used")

    def __init__(self, key: Key, used: bool, *old: Any) -> None:
        self.key = key
        self.used = used
        self.old = old  # nothing: there was no value

    def __reduce__(self) -> Any:
        return SavedToken, (self.key, self.used, *self.old)

    def __repr__(self) -> str:
        return f"<token of {self.key[1]!r}, which comes back in a local variable alone; `set` it instead of `reset`>"


def reduced(token: Token[Any]) -> Any:
    """How the token of a declared variable is pickled; None for that of another."""
    key = _keys.get(token.var)
    if key is None:
        return None
    used = repr(token).startswith("<Token used")  # nothing else says so
    return SavedToken, (key, used, *(() if token.old_value is Token.MISSING else (token.old_value,)))


def _made(saved: SavedToken) -> Any:
    variable = DECLARED.get(saved.key)
    if variable is None:
        return saved
    _become(variable, *(saved.old or (_UNSET,)))
    made = variable.set(None)
    if saved.used:
        variable.reset(made)
    return made
