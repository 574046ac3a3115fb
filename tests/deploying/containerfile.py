"""Reads a Containerfile: its stages, and for each step the instruction and what stands behind it. Knows no builder."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def said(self, instruction: str) -> list[str]:
        return [rest for word, rest in self.steps if word == instruction]

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for line in self.said("ENV") for pair in shlex.split(line))


def stages(path: Path) -> dict[str, Stage]:
    """By name, in order."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.split()
            found[name] = stage = Stage(base, name)
        elif word and stage is not None:
            stage.steps.append((word, " ".join(rest.split())))
    return found


def copy_from_source(stage: Stage, source: Path, root: Path) -> None:
    """Do what the stage's COPY steps do, but for those from other stages: files of *source* below *root*."""
    for line in stage.said("COPY"):
        *names, target = line.split()
        if names[0].startswith("--from"):
            continue
        place = root / target.lstrip("/")
        for name in names:
            if (source / name).is_dir():
                shutil.copytree(source / name, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            elif target.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / name, place)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / name, place)
