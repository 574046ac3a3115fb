"""Arguments against signatures: the same verdict from the function and from what workers published of it."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from playbooks_worker.host.signatures import ArgumentsError, bind, signature_of, signature_table


async def everything(a: int, /, b: str, *rest: int, c: bool, d: int = 4, **more: int) -> None: ...
async def plain(topic: str, depth: int = 1) -> None: ...
async def nothing() -> None: ...


CALLS: list[tuple[Any, list[Any], dict[str, Any], bool]] = [
    (nothing, [], {}, True),
    (nothing, [1], {}, False),
    (nothing, [], {"x": 1}, False),
    (plain, ["tea"], {}, True),
    (plain, [], {"topic": "tea", "depth": 2}, True),
    (plain, [], {}, False),
    (plain, ["tea"], {"topic": "tea"}, False),
    (plain, [], {"topik": "tea"}, False),
    (everything, [1, "b", 3, 4], {"c": True, "e": 5}, True),
    (everything, [1], {"b": "b", "c": True}, True),
    (everything, [], {"a": 1, "b": "b", "c": True}, False),
    (everything, [1, "b"], {}, False),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "fits"), CALLS)
def test_the_published_table_and_the_function_agree(
    function: Any, args: list[Any], kwargs: dict[str, Any], fits: bool
) -> None:
    table = json.loads(json.dumps(signature_table(inspect.signature(function))))
    try:
        function(*args, **kwargs).close()
        assert fits
    except TypeError:
        assert not fits
    if fits:
        bind("main", table, args, kwargs)
    else:
        with pytest.raises(ArgumentsError):
            bind("main", table, args, kwargs)


def test_the_error_names_playbook_signature_and_what_is_missing() -> None:
    with pytest.raises(ArgumentsError, match=r"arguments don't fit main\(topic, depth=\.\.\.\): missing a required"):
        bind("main", signature_table(inspect.signature(plain)), [], {})


def test_a_table_gives_its_signature_back() -> None:
    table = signature_table(inspect.signature(everything))
    assert signature_table(signature_of(table)) == table
