"""Loads the Lua scripts: one file per transition, under `scripts/`, each with a header that says what it does.

Called by client.py, which runs them. A file that says ``-- uses: mint, state`` gets ``_mint.lua`` and ``_state.lua`` put
in front of it: Redis scripts cannot import, and a second copy of the mint would be a second truth.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """*text* is what the server gets, *sha* how it is called after that."""

    name: str
    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@cache
def script(name: str) -> Script:
    """The script of `scripts/<name>.lua` with what it uses."""
    text = _read(name)
    uses = re.search(r"^-- uses: (.+)$", text, re.MULTILINE)
    shared = [_read("_" + one.strip()) for one in uses[1].split(",")] if uses else []
    return Script(name, "\n".join([*shared, text]))


def _read(name: str) -> str:
    return resources.files(__package__).joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")
