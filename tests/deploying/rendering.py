"""Finds the tools that read manifests, and renders overlays with them. Called by every test of deploy/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
Manifest = dict[str, Any]


def tool(name: str, how: str) -> str:
    """Its path. Where it is missing a laptop skips, with a line that says *how* to get it; CI fails."""
    found = shutil.which(name) or shutil.which(name, path=str(ROOT / ".venv-tools" / "bin"))
    return found or missing(f"{name} is not there: {how}")


def missing(line: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(line)
    pytest.skip(line)


def made_by_make(name: str) -> str:
    return tool(name, "make tools")


@cache
def render(folder: Path) -> tuple[Manifest, ...]:
    """What `kubectl apply -k` would send. Not to be written to: it is kept."""
    if shutil.which("kustomize"):
        command = ["kustomize", "build", str(folder)]
    else:
        command = [tool("kubectl", "install kubectl 1.27 or newer, or kustomize 5"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    assert not done.stderr, f"{' '.join(command)} warns: {done.stderr}"
    return tuple(yaml.safe_load_all(done.stdout))


def overlay(folder: Path, base: str, *components: str, patches: tuple[Manifest, ...] = ()) -> Path:
    """A new overlay in *folder* on one of ours, as a team would write it: with components, and with patches of its own."""
    folder.mkdir(parents=True, exist_ok=True)

    def relative(path: str) -> str:
        return os.path.relpath(ROOT / "deploy" / path, folder.resolve())

    said: Manifest = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(base)],
        "components": [relative(component) for component in components],
        "patches": [{"patch": yaml.safe_dump(patch)} for patch in patches],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return folder


def copied(folder: Path, name: str, programs: list[str], *components: str, heavy: Manifest | None = None) -> Path:
    """A copy of all our manifests in *folder*, as a team begins with; in it the overlay *name*, with its own *programs*,
    with *components* of deploy/, and with the further group of workers of README.md, whose kustomization *heavy* adds to."""
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    copy = folder / "deploy" / "kubernetes" / "overlays" / name
    patch = yaml.safe_load((copy / "programs.yaml").read_text())
    patch["spec"]["template"]["spec"]["containers"][0]["args"] = programs
    (copy / "programs.yaml").write_text(yaml.safe_dump(patch))
    said = yaml.safe_load((copy / "kustomization.yaml").read_text())
    said["components"] = [f"../../../{component}" for component in components]
    if heavy is not None:
        said["resources"].append("heavy")
        (copy / "heavy").mkdir()
        group = yaml.safe_load(readme_block("`heavy/kustomization.yaml`:"))
        for key, value in heavy.items():
            group[key] = [*group.get(key, []), *value]
        (copy / "heavy" / "kustomization.yaml").write_text(yaml.safe_dump(group))
    (copy / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return copy


def readme_block(before: str) -> str:
    """The YAML that follows these words in deploy/README.md."""
    block: str = (ROOT / "deploy" / "README.md").read_text().split(before)[1].split("```")[1]
    return block.removeprefix("yaml\n")


def of_kind(manifests: tuple[Manifest, ...], *kinds: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] in kinds]


def named(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    (found,) = [each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name]
    return found


def bin_folder() -> Path:
    """Where the commands of the environment under test are."""
    return Path(sys.executable).parent
