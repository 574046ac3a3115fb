"""A base image out of this machine's own Debian packages: no registry, no network, a second.

It has what `python:3-slim` has as far as our Containerfile is concerned: a shell, the core tools, a Python with `venv`.
For tests of the image; what is published has the base that the Containerfile names. Called by `images`.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

PACKAGES = (
    "base-files",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "libc-bin",
    "python3-venv",
)
MERGED = ("bin", "sbin", "lib", "lib64")  # links into /usr since Debian 12
LEFT_OUT = ("/usr/share/doc", "/usr/share/locale", "/usr/share/man")


def can_be_made() -> bool:
    """On Debian and its kin, with Python and its venv from packages."""
    try:
        status = subprocess.run(["dpkg-query", "--status", "python3-venv"], capture_output=True, text=True)
    except FileNotFoundError:
        return False
    return status.returncode == 0 and os.path.islink("/lib") and os.access("/usr/bin/python3", os.X_OK)


def write(archive: Path) -> None:
    depends = ["apt-cache", "depends", "--recurse", "--installed", *(f"--no-{kind}" for kind in _WEAK), *PACKAGES]
    packages = {line for line in _lines(depends) if line and line[0].isalnum()}
    with tarfile.open(archive, "w") as tar:
        for name in MERGED:
            if os.path.lexists(f"/{name}"):
                tar.add(f"/{name}", name, recursive=False)
        done: set[str] = set()
        for line in _lines(["dpkg", "--listfiles", *sorted(packages)]):
            folder, name = os.path.split(line)
            path = os.path.join(os.path.realpath(folder), name)  # /bin/sh is in /usr/bin
            if name and path.lstrip("/") not in MERGED and path not in done and not path.startswith(LEFT_OUT):
                done.add(path)
                if os.path.lexists(path):
                    tar.add(path, path.lstrip("/"), recursive=False)


_WEAK = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")


def _lines(command: list[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines()
