"""The handle of a resource: what programs hold in place of the object, which is made where an agent runs (resources.py).

It knows its definition and nothing of how, or for whom, the object is made.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from playbooks_worker.engine.markers import OPERATORS

if TYPE_CHECKING:
    from playbooks_worker.engine.resources import Definition

_T = TypeVar("_T")


class Resource(Generic[_T]):
    """A handle: stands for the object in every use but `isinstance`, `is`, `==` and `hash`; awaiting it answers the object.

    Two handles of one name and one factory are one handle."""

    __slots__ = ("__weakref__", "_playbooks_definition")

    def __init__(self, definition: Definition) -> None:
        object.__setattr__(self, "_playbooks_definition", definition)

    def __repr__(self) -> str:
        return f"<resource {definition_of(self).name!r}>"

    def __copy__(self) -> Resource[_T]:
        return self

    def __deepcopy__(self, memo: Any) -> Resource[_T]:
        return self

    def __reduce__(self) -> Any:
        return definition_of(self).reduced()

    def __await__(self) -> Generator[Any, Any, _T]:
        definition = definition_of(self)
        definition.noted()
        return definition.obtained().__await__()

    def __getattr__(self, name: str) -> Any:
        definition = definition_of(self)
        if name.startswith("__") and name.endswith("__") and not definition.made:
            raise AttributeError(name)  # asked by who looks through a module (test runners, `inspect`): makes nothing
        return getattr(definition.now(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(definition_of(self).now(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(definition_of(self).now(), name)

    def __dir__(self) -> Iterable[str]:
        return dir(definition_of(self).now())

    def __bool__(self) -> bool:
        return bool(definition_of(self).now())


def definition_of(handle: Resource[Any]) -> Definition:
    return cast("Definition", object.__getattribute__(handle, "_playbooks_definition"))


def _forwarded(name: str) -> Callable[..., Any]:
    def method(self: Resource[Any], *args: Any, **words: Any) -> Any:
        made = definition_of(self).now()
        function = getattr(type(made), name, None)
        if function is None:
            raise TypeError(f"{self!r} is a {type(made).__qualname__}, which has no {name}")
        return function(made, *args, **words)

    method.__name__ = name
    return method


def _operator(name: str) -> Callable[..., Any]:
    def method(self: Resource[Any], *args: Any) -> Any:
        made = definition_of(self).now()
        function = getattr(type(made), name, None)
        return NotImplemented if function is None else function(made, *args)

    method.__name__ = name
    return method


_FORWARDED = (
    *("call", "iter", "next", "aiter", "anext", "reversed", "enter", "exit", "aenter", "aexit", "len", "contains"),
    *("getitem", "setitem", "delitem", "fspath", "int", "float", "index"),
)
for _name in _FORWARDED:
    setattr(Resource, f"__{_name}__", _forwarded(f"__{_name}__"))
for _name in (*OPERATORS, *(f"r{name}" for name in OPERATORS)):
    setattr(Resource, f"__{_name}__", _operator(f"__{_name}__"))
