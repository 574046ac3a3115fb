"""Finds sections that were meant to be ours: one letter off, and a setting would be silently nobody's.

Called by `load` for the environment and for each file. What is far from every name of ours belongs to the upstream framework
or to a program, and is left alone; so is a variable without `__`, which names no section at all.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from playbooks_providers.errors import ConfigError

PREFIX = "PLAYBOOKS_"
NEAR = 0.75
"""How alike two names are that may be meant for one (0 to 1): `workr` and `coordinators` are with ours, `model` is not."""


def refuse_variables(names: Iterable[str], sections: Iterable[str]) -> None:
    """Raises `ConfigError` for the first variable `PLAYBOOKS_<NEARLY OURS>__<KEY>`."""
    ours = list(sections)
    for name in names:
        said, nested, key = name.upper().removeprefix(PREFIX).partition("__")
        if nested and name.upper().startswith(PREFIX) and (meant := _meant(said, ours)):
            raise ConfigError(
                f"unknown setting {name} in the environment: did you mean {PREFIX}{meant.upper()}__{key}?"
            )


def refuse_tables(names: Iterable[str], sections: Iterable[str], where: str) -> None:
    """Raises `ConfigError` for the first section of the file *where* that is nearly one of ours."""
    ours = list(sections)
    for name in names:
        if meant := _meant(name, ours):
            raise ConfigError(f"unknown section [{name}] in {where}: did you mean [{meant}]?")


def _meant(said: str, ours: list[str]) -> str | None:
    """The name of ours that *said* is nearly, and not quite."""
    name = said.lower()
    near = [] if name in ours else difflib.get_close_matches(name, ours, n=1, cutoff=NEAR)
    return near[0] if near else None
