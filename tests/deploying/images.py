"""Builds the image with buildah and runs it with podman, where both are there and may. Called by the test of the image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import debian_base
from rendering import ROOT

CONFINED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges")
"""The security context of the manifests, in podman's words."""
NESTED = ("--runtime=runc", "--cgroup-manager=cgroupfs")
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--network=host")
"""What a container within a container may have."""


def why_not() -> str | None:
    """Why no image can be built here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "an image is built by root on Linux alone"
    lacking = [
        name
        for name in ("buildah", "podman", "runc")
        if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]
    if lacking:
        return f"{', '.join(lacking)} is missing"
    namespaces = ["unshare", "--mount", "--pid", "--net", "--fork", "true"]
    if subprocess.run(namespaces, capture_output=True).returncode != 0:
        return "this machine allows no containers"
    return None if debian_base.can_be_made() else "no base image can be made: python3-venv of Debian is missing"


class Builder:
    """Images in a store of its own, below *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = (f"--root={folder / 'images'}", f"--runroot={folder / 'run'}")

    def build(self, target: str, **arguments: str) -> str:
        """The image of that stage, on a base of this machine's packages, with wheels from outside; its name."""
        base = self._base()
        self._wheels()
        name = f"localhost/playbooks-{target}:test"
        options = [f"--build-arg={key}={value}" for key, value in {"BASE": base, **arguments}.items()]
        options += [
            f"--volume={self._folder / 'wheels'}:/wheels:ro",
            f"--volume={self._folder / 'pip.conf'}:/etc/pip.conf:ro",
        ]
        file = ROOT / "deploy" / "Containerfile"
        self.buildah(
            "bud", "--isolation=chroot", f"--file={file}", f"--target={target}", f"--tag={name}", *options, str(ROOT)
        )
        return name

    def _base(self) -> str:
        archive = self._folder / "base.tar"
        debian_base.write(archive)
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, str(archive), "/")
        self.buildah("config", "--env=PATH=/usr/local/bin:/usr/bin:/bin", container)
        self.buildah("commit", "--quiet", container, "localhost/base:test")
        self.buildah("rm", container)
        return "localhost/base:test"

    def _wheels(self) -> None:
        """What the build would fetch, fetched here: a network within the build is not to be had everywhere."""
        (self._folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        pip = next(Path("/usr/share/python-wheels").glob("pip-*.whl"))  # of python3-venv; runs from within its wheel
        fetch = ["/usr/bin/python3", str(pip / "pip"), "download", "--quiet", "--only-binary=:all:"]
        fetch += [f"--dest={self._folder / 'wheels'}"]
        _run([*fetch, "--require-hashes", f"--requirement={ROOT / 'deploy' / 'requirements.txt'}"])
        _run([*fetch, "hatchling>=1.25"])

    def buildah(self, *words: str) -> str:
        return _run(["buildah", *self._store, *words])

    def command(self, image: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        """What runs *words* in a container, confined as a pod is."""
        return ["podman", *self._store, *NESTED, "run", "--rm", *LIMITS, *CONFINED, *options, image, *words]

    def run(self, image: str, *words: str, options: tuple[str, ...] = ()) -> str:
        return _run(self.command(image, *words, options=options))

    def labels(self, image: str) -> dict[str, str]:
        told = json.loads(self.buildah("inspect", "--type=image", image))
        labels: dict[str, str] = told["OCIv1"]["config"]["Labels"]
        return labels


@contextmanager
def builder() -> Iterator[Builder]:
    with tempfile.TemporaryDirectory(prefix="playbooks-image-", ignore_cleanup_errors=True) as folder:
        made = Builder(Path(folder))
        try:
            yield made
        finally:
            made.buildah("rmi", "--all", "--force")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
