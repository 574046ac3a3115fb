"""What a playbook sees of its own variables: `locals()`, `vars()`, `dir()`, `eval(…)` and `exec(…)` show the program's, and
none that rewriting has made.

Emitted code calls `as_seen` where the playbook asks (asking.py). Each answers a new dict, as Python itself does from 3.13
on: writing into it changes no variable.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable
from typing import Any


def as_seen(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function* itself, unless it is one of those that look at the variables of their caller."""
    look = _LOOKS.get(id(function))
    return function if look is None else functools.partial(look, function)


def _variables() -> dict[str, Any]:
    """Those of the playbook whose emitted code has called `_looked` or `_evaluated`."""
    found = sys._getframe(2).f_locals
    return {name: value for name, value in found.items() if not name.startswith(".") or name == ".0"}


def _looked(function: Callable[..., Any], *args: Any, **words: Any) -> Any:
    if args or words:
        return function(*args, **words)
    return sorted(_variables()) if function is dir else _variables()


def _evaluated(
    function: Callable[..., Any], source: Any, globals: Any = None, locals: Any = None, /, **words: Any
) -> Any:
    if globals is None and locals is None and not ("globals" in words or "locals" in words):
        globals, locals = sys._getframe(1).f_globals, _variables()
    return function(source, globals, locals, **words)


_LOOKS: dict[int, Callable[..., Any]] = {
    **dict.fromkeys(map(id, (builtins.locals, builtins.vars, builtins.dir)), _looked),
    **dict.fromkeys(map(id, (builtins.eval, builtins.exec)), _evaluated),
}
