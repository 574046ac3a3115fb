"""What stands in a resumed agent where a value could not be saved or loaded: a marker that may be passed on, not used.

Made by a checkpoint's reader (snapshot.py). It knows what it stands for and where that was; it knows nothing of agents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from playbooks_worker.engine.errors import NotRestoredError


class About(NamedTuple):
    """What a marker stands for. ``path`` leads to it from a variable of ``playbook`` at ``place`` (file:line), as far as
    that is known; ``why`` is what made it impossible to save (or, *loading*, to load)."""

    kind: str
    path: str = ""
    playbook: str = ""
    place: str = ""
    why: str = ""
    loading: bool = False

    def said(self) -> str:
        name = f"{self.path} ({self.kind})" if self.path else f"a value ({self.kind})"
        of = f" of playbook {self.playbook}" if self.playbook else ""
        at = f" at {self.place}" if self.place else ""
        done = "loaded" if self.loading else "saved"
        advice = (
            "deploy a build that can load it, or make it again where it is needed"
            if self.loading
            else "open it in a `with` around its use, make it a resource(), or make it again where it is needed"
        )
        why = f": {self.why}" if self.why else ""
        return f"{name}{of} did not come back with the agent: it could not be {done}{at}{why}; {advice}"


class Marker:
    """Stands for one value. Identity, `type()`, `isinstance`, `repr()`, copying and use as a key work; anything else
    raises `NotRestoredError`."""

    __slots__ = ("__weakref__", "_playbooks_about")

    def __repr__(self) -> str:
        about = about_of(self)
        path = f" {about.path}" if about.path else ""
        of = f" of {about.playbook}" if about.playbook else ""
        return f"<not restored:{path} ({about.kind}){of}>"

    def __copy__(self) -> Marker:
        return self

    def __deepcopy__(self, memo: Any) -> Marker:
        return self

    __hash__ = object.__hash__  # it was a key, or is one of a set: that is passing it on

    def __getattr__(self, name: str) -> NoReturn:
        raise NotRestoredError(about_of(self))


def marker(about: About) -> Marker:
    made = Marker()
    tell(made, about)
    return made


def tell(made: Marker, about: About) -> None:
    """Let *made* know more than when it was made."""
    object.__setattr__(made, "_playbooks_about", about)


def about_of(made: Marker) -> About:
    about: About = object.__getattribute__(made, "_playbooks_about")
    return about


def _used(name: str) -> Callable[..., NoReturn]:
    def method(self: Marker, *_: Any, **__: Any) -> NoReturn:
        raise NotRestoredError(about_of(self))

    method.__name__ = name
    return method


OPERATORS = (
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "lshift",
    "rshift",
    "and",
    "xor",
    "or",
)
_USES = (
    *("setattr", "delattr", "call", "await", "iter", "next", "aiter", "anext", "reversed", "enter", "exit", "aenter"),
    *("aexit", "bool", "len", "length_hint", "getitem", "setitem", "delitem", "contains", "eq", "ne", "lt", "le", "gt"),
    *("ge", "str", "format", "bytes", "fspath", "buffer", "neg", "pos", "abs", "invert", "int", "float", "complex"),
    *("index", "round", "trunc", "floor", "ceil", "instancecheck", "subclasscheck", "reduce", "reduce_ex", "divmod"),
    "rdivmod",
    *OPERATORS,
    *(f"r{name}" for name in OPERATORS),
    *(f"i{name}" for name in OPERATORS),
)
for _name in _USES:
    setattr(Marker, f"__{_name}__", _used(f"__{_name}__"))
