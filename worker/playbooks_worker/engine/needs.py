"""What a checkpoint needs where its agent goes on, beside its playbooks: checked before anything of the program is loaded.

Written by capture.py into the index, asked for by restore.py. Keys of the dict, each only when it says something:

    resources   [(name, module of the factory, whether it must have been made)]
"""

from __future__ import annotations

from typing import Any

from playbooks_worker.engine.resources import Definition, find_resource


def check_needs(needs: dict[str, Any]) -> None:
    """Raises `CodeChanged`, one actionable line, for what there is not."""
    for name, home, _ in needs.get("resources", ()):
        find_resource(name, home)


def resources_to_make(needs: dict[str, Any]) -> list[Definition]:
    return [find_resource(name, home) for name, home, made in needs.get("resources", ()) if made]
