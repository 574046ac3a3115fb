"""Classes that have no name to be found by, as parts of a checkpoint (reducers.py asks): those defined inside functions.

One is made again empty and then given its attributes, so that it may hold itself (`super()`, annotations). Its functions are
functions like any other: by definition. No class statement of the program runs again, nor, where Python lets us, an
`__init_subclass__` of its bases.
"""

from __future__ import annotations

import abc
import collections
import enum
import functools
import sys
import types
import typing
from collections.abc import Callable
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from playbooks_worker.engine.losses import Reduced

_TAKEN = frozenset(
    {"__dict__", "__weakref__", "__module__", "__qualname__", "__slots__", "__orig_bases__", "_abc_impl"}
)
# pydantic's: the local variables around the class statement, for annotations that name what did not exist yet. In a
# playbook these are the engine's, too.
_SURROUNDINGS = "__pydantic_parent_namespace__"


def reduced(kind: type) -> tuple[Any, ...]:
    """How a class is pickled that other processes do not find by its name."""
    own = vars(kind)
    if isinstance(kind, enum.EnumType):
        boundary = getattr(kind, "_boundary_", None)
        made: tuple[Any, ...] = (type(kind), *_named(kind), kind.__bases__, _members(kind), boundary)
        return _enum, made, (_beyond(own, _enum(*made)), _of_members(kind)), None, None, _fill_enum
    if kind.__bases__ == (tuple,) and "_fields" in own and "_field_defaults" in own:
        made = (*_named(kind), own["_fields"], tuple(own["_field_defaults"].values()))
        return _named_tuple, made, _beyond(own, _named_tuple(*made)), None, None, _fill
    if type(kind) is _TYPED_DICT:
        return _typed_dict, (*_named(kind), own["__annotations__"], own["__total__"])
    fixed: dict[str, Any] = {name: own[name] for name in ("__orig_bases__",) if name in own}
    if "__slots__" in own:
        fixed["__slots__"] = _slots(own)
    attributes = {name: value for name, value in own.items() if not _given(name, value)}
    if _SURROUNDINGS in attributes:
        attributes[_SURROUNDINGS] = None
    return _class, (type(kind), *_named(kind), kind.__bases__, fixed), attributes, None, None, _fill


def _named(kind: type) -> tuple[str, str, str]:
    return kind.__name__, kind.__qualname__, kind.__module__


def _given(name: str, value: Any) -> bool:
    """Whether making the class makes this attribute."""
    function = getattr(value, "__func__", value)
    of_typing = type(function) is FunctionType and function.__module__ == "typing"  # what `Protocol` puts into it
    return name in _TAKEN or type(value) is MemberDescriptorType or of_typing


def _slots(own: Any) -> tuple[str, ...]:
    names = [name for name, value in own.items() if type(value) is MemberDescriptorType]
    return (*names, *(n for n in ("__dict__", "__weakref__") if type(own.get(n)) is GetSetDescriptorType))


def _beyond(own: Any, fresh: type) -> dict[str, Any]:
    """The attributes that the program has given, beside those that *fresh* has got by itself."""
    known = vars(fresh)
    return {
        name: value
        for name, value in own.items()
        if not _given(name, value)
        and (name not in known or (type(value) is FunctionType and value.__module__ not in ("enum", "collections")))
        and name not in ("__new__", "__new_member__")
    }


_ATTRIBUTES = "__protocol_attrs__"


class _Hollow:
    """A base for the time in which a class has no other."""


_PLAIN = (type, abc.ABCMeta)


def _class(kind: Any, name: str, qualname: str, module: str, bases: tuple[type, ...], fixed: dict[str, Any]) -> type:
    namespace = {"__module__": module, "__qualname__": qualname, **fixed}
    if kind in _PLAIN and bases != (object,):
        try:
            made: type = kind(name, (_Hollow,), namespace)
            made.__bases__ = bases  # so that no `__init_subclass__` of the program runs
        except TypeError:  # a base in C, or with slots
            pass
        else:
            return made
    return types.new_class(name, bases, {"metaclass": kind}, lambda body: body.update(namespace))


def _fill(kind: type, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        type.__setattr__(kind, name, value)
    if _ATTRIBUTES in vars(kind):  # a protocol's, which not every Python keeps there: as if it had been made so
        type.__setattr__(kind, _ATTRIBUTES, typing._get_protocol_attrs(kind))  # type: ignore[attr-defined]


def _named_tuple(name: str, qualname: str, module: str, fields: tuple[str, ...], defaults: tuple[Any, ...]) -> type:
    factory: Any = collections.namedtuple
    made: type = factory(name, fields, defaults=defaults, module=module)
    made.__qualname__ = qualname
    return made


_TYPED_DICT: Any = type(typing.TypedDict("_", {}))  # type: ignore[operator]


def _typed_dict(name: str, qualname: str, module: str, fields: dict[str, Any], total: bool) -> type:
    make: Any = typing.TypedDict
    made: type = make(name, fields, total=total)
    made.__qualname__, made.__module__ = qualname, module
    return made


# --- enumerations ------------------------------------------------------------------------------------------------------


def _members(kind: Any) -> dict[str, Any]:
    """By name, aliases too."""
    return {name: member._value_ for name, member in kind.__members__.items()}


_OF_ENUM = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})


def _of_members(kind: Any) -> dict[str, dict[str, Any]]:
    """What an `__init__` or a `__new__` has given to the members."""
    given = {name: {n: v for n, v in vars(one).items() if n not in _OF_ENUM} for name, one in kind.__members__.items()}
    return {name: attributes for name, attributes in given.items() if attributes}


def _enum(
    kind: Any, name: str, qualname: str, module: str, bases: tuple[type, ...], members: dict[str, Any], boundary: Any
) -> type:
    namespace = kind.__prepare__(name, bases)
    namespace.update({"__module__": module, "__qualname__": qualname})
    for member, value in members.items():
        namespace[member] = value
    made: type = kind.__new__(kind, name, bases, namespace, **({} if boundary is None else {"boundary": boundary}))
    return made


def _fill_enum(kind: Any, state: tuple[dict[str, Any], dict[str, dict[str, Any]]]) -> None:
    attributes, members = state
    _fill(kind, attributes)
    for name, given in members.items():
        vars(kind[name]).update(given)


# --- what classes hold -------------------------------------------------------------------------------------------------


def _reduce_wrapped(saver: Any, method: Any) -> Reduced:
    return type(method), (method.__func__,)


def _reduce_property(saver: Any, one: property) -> Reduced:
    return property, (one.fget, one.fset, one.fdel, one.__doc__)


def _reduce_cached_property(saver: Any, one: functools.cached_property[Any]) -> Reduced:
    """Python 3.11 keeps a lock in it, the others do not."""
    return _cached_property, (one.func, one.attrname)


def _cached_property(function: Callable[[Any], Any], name: str | None) -> Any:
    made = functools.cached_property(function)
    made.attrname = name
    return made


def _reduce_dispatching(saver: Any, one: functools.singledispatchmethod[Any]) -> Reduced:
    """Without its caches, which are another thing on each version."""
    chosen = {kind: function for kind, function in one.dispatcher.registry.items() if function is not one.func}
    return functools.singledispatchmethod, (one.func,), chosen, None, None, _fill_dispatching


def _fill_dispatching(one: functools.singledispatchmethod[Any], chosen: dict[Any, Callable[..., Any]]) -> None:
    for kind, function in chosen.items():
        one.dispatcher.register(kind, function)


def _reduce_type_variable(saver: Any, one: Any) -> Reduced:
    named = one.__reduce__()
    if getattr(sys.modules.get(one.__module__), named, None) is one:
        return named
    return _type_variable, (one.__name__, one.__constraints__, one.__bound__, one.__covariant__, one.__contravariant__)


def _type_variable(name: str, constraints: tuple[Any, ...], bound: Any, covariant: bool, contravariant: bool) -> Any:
    return typing.TypeVar(name, *constraints, bound=bound, covariant=covariant, contravariant=contravariant)


def _reduce_forward(saver: Any, one: typing.ForwardRef) -> Reduced:
    """Without the code that it keeps compiled."""
    return _forward, (
        one.__forward_arg__,
        one.__forward_is_argument__,
        one.__forward_module__,
        one.__forward_is_class__,
    )


def _forward(name: str, argument: bool, module: Any, of_class: bool) -> typing.ForwardRef:
    return typing.ForwardRef(name, argument, module, is_class=of_class)


REDUCERS: dict[type, Callable[[Any, Any], Reduced]] = {
    classmethod: _reduce_wrapped,
    staticmethod: _reduce_wrapped,
    property: _reduce_property,
    functools.singledispatchmethod: _reduce_dispatching,
    functools.cached_property: _reduce_cached_property,
    typing.TypeVar: _reduce_type_variable,
    typing.ForwardRef: _reduce_forward,
}
