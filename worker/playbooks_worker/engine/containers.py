"""Lists, dicts and sets of the program's own classes, saved so that no code of these classes runs when they come back.

Pickle would put the items in before the attributes, through the methods of the class (`LRU.__setitem__`, which asks for
`self.size`), or call it without what its `__init__` wants. Called by reducers.py.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

from playbooks_worker.engine.losses import Reduced
from playbooks_worker.engine.shapes import attributes_of, slots_of

_BASES: tuple[type, ...] = (OrderedDict, defaultdict, Counter, dict, deque, list, set)
_SAYS_ITSELF = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")


def base_of(kind: type) -> Any:
    """The container that *kind* is a kind of; None where its class says itself how it is saved, or is Python's own."""
    base = next((base for base in _BASES if issubclass(kind, base)), None)
    if base is None or kind is base or "__new__" in _own(kind, base) or kind.__module__ == "builtins":
        return None
    return None if any(name in _own(kind, base) for name in _SAYS_ITSELF) else base


def _own(kind: type, base: type) -> set[str]:
    """The names that *kind* and those of its classes define that are not *base*'s."""
    return {name for one in kind.__mro__ if one not in base.__mro__ for name in vars(one)}


def reduced(value: Any) -> Reduced:
    kind = type(value)
    base = base_of(kind)
    items: Any = list(base.__iter__(value))
    extra: Any = None
    if issubclass(base, dict):
        items = {key: dict.__getitem__(value, key) for key in items}
    if base is deque:
        extra = value.maxlen
    elif base is defaultdict:
        extra = value.default_factory
    return _bare, (kind,), (dict(attributes_of(value)), items, extra), None, None, _fill


def _bare(kind: type) -> Any:
    return base_of(kind).__new__(kind)


def _fill(made: Any, state: tuple[dict[str, Any], Any, Any]) -> None:
    attributes, items, extra = state
    kind: Any = type(made)
    base = base_of(kind)
    if base is OrderedDict:
        for key, value in items.items():
            OrderedDict.__setitem__(made, key, value)
    elif issubclass(base, dict):
        if base is defaultdict:
            defaultdict.__init__(made, extra)
        dict.update(made, items)
    elif base is deque:
        deque.__init__(made, items, extra)
    else:
        base.__init__(made, items)
    slots = {slot.name: slot.descriptor for slot in slots_of(kind)}
    for name, value in attributes.items():
        if name in slots:
            slots[name].__set__(made, value)
        else:
            vars(made)[name] = value
