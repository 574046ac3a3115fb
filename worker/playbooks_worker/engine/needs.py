"""What a checkpoint needs where its agent goes on, beside its playbooks: checked before anything of the program is loaded.

Written by capture.py into the index, asked for by restore.py. Keys of the dict, each only when it says something:

    resources   [(name, module of the factory, whether it must have been made)]
    python      (minor version, names of code that only that one can run)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from playbooks_worker.engine.errors import CodeChanged
from playbooks_worker.engine.resources import Definition, Key, find_resource

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_NAMED = 3


def needs_of(met: Mapping[Key, bool], awaited: Mapping[Key, bool], codes: Iterable[str]) -> dict[str, Any]:
    """*met*: resources that the checkpoint refers to; *awaited*: those that the agent has asked for by now."""
    needs: dict[str, Any] = {}
    if met or awaited:
        needs["resources"] = [(*key, made) for key, made in {**met, **awaited}.items()]
    if codes:
        needs["python"] = PYTHON, tuple(codes)
    return needs


def check_needs(needs: dict[str, Any]) -> None:
    """Raises `CodeChanged`, one actionable line, for what there is not."""
    python, codes = needs.get("python", (PYTHON, ()))
    if python != PYTHON:
        more = f" and {len(codes) - _NAMED} more" if len(codes) > _NAMED else ""
        raise CodeChanged(
            f"its checkpoint holds code without source ({', '.join(codes[:_NAMED])}{more}), which only Python {python} "
            f"can run, and this is Python {PYTHON}; resume it under Python {python}"
        )
    for name, home, _ in needs.get("resources", ()):
        find_resource(name, home)


def resources_to_make(needs: dict[str, Any]) -> list[Definition]:
    return [find_resource(name, home) for name, home, made in needs.get("resources", ()) if made]
