"""Do these arguments fit that playbook? One rule, whether the program is at hand or only what workers published of it.

`submit` binds against the published table, so that a mistake is told before an agent exists and without importing
anybody's program; `run` and the executor bind against the function itself. Types are never coerced. Knows no engine.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

SignatureTable = Sequence[tuple[str, str, bool]]
"""Parameters in order: (name, name of `inspect.Parameter.kind`, has a default). The shape that `ProgramInfo` persists."""

_KINDS = {
    kind.name: kind
    for kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    )
}


class _Default:
    """Stands for a default whose value was not published; prints as an ellipsis."""

    def __repr__(self) -> str:
        return "..."


class ArgumentsError(ValueError):
    """Arguments that don't fit. One line: the playbook, its signature, and what is wrong."""


def signature_table(signature: inspect.Signature) -> list[tuple[str, str, bool]]:
    """*signature* as it is published."""
    return [
        (parameter.name, parameter.kind.name, parameter.default is not inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]


def signature_of(table: SignatureTable) -> inspect.Signature:
    """The opposite of `signature_table`, without the values of defaults."""
    return inspect.Signature(
        [
            inspect.Parameter(name, _KINDS[kind], default=_Default() if has_default else inspect.Parameter.empty)
            for name, kind, has_default in table
        ]
    )


def bind(entry: str, table: SignatureTable, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise `ArgumentsError` unless ``entry(*args, **kwargs)`` is a call that fits."""
    signature = signature_of(table)
    try:
        bound = signature.bind(*args, **kwargs)
        # Python 3.13.0's bind lets a keyword stand for a missing positional-only parameter when there is **kwargs.
        for parameter in signature.parameters.values():
            needed = parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty
            if needed and parameter.name not in bound.arguments:
                raise TypeError(f"missing a required positional-only argument: {parameter.name!r}")
    except TypeError as error:
        raise ArgumentsError(f"arguments don't fit {entry}{signature}: {error}") from None
