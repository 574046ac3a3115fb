"""The folder `.playbooks/` of `playbooksctl dev`: one `dev` at a time, where it is, its key and its data.

``dev.json`` says where a running `dev` is; every other command reads it last, after flag, environment and file. It holds
``redis_url``, ``signing_key_file`` (unless a key was configured), ``pid``, ``started_ms`` and ``processes`` (name → pid).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playbooks_worker.cli.output import CommandError

FOLDER = ".playbooks"
DEV_FILE = "dev.json"
LOCK_FILE = "dev.lock"


class DevFolder:
    """Made and locked by `lock`; the lock ends with the last process that keeps ``lock_fd`` open.

    The server inherits it: while an orphaned server still writes the data, no other may be started on them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "redis"
        self.lock_fd = -1

    def lock(self) -> None:
        """Raises `CommandError` when another `dev` (or a server that one left behind) is at work here."""
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            self.lock_fd = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CommandError(f"cannot use {self.path}: {error}") from error
        try:
            fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            there = self.read()
            where = f"pid {there['pid']}, {there['redis_url']}" if there else "starting or stopping"
            raise CommandError(
                f"`playbooksctl dev` already runs in this folder ({where})",
                hint=f"Stop it first, or work from another folder: {self.path} belongs to it.",
            ) from None

    def read(self) -> dict[str, Any]:
        """What `dev.json` says; empty when there is none."""
        try:
            told = json.loads((self.path / DEV_FILE).read_text())
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) and {"pid", "redis_url"} <= told.keys() else {}

    def write(self, redis_url: str, key_file: Path | None, processes: Mapping[str, int]) -> dict[str, Any]:
        """Say where it is now, whole or not at all, to this user only (a URL may hold a password)."""
        told: dict[str, Any] = {
            "redis_url": redis_url,
            "pid": os.getpid(),
            "started_ms": int(time.time() * 1000),
            "processes": dict(processes),
        }
        if key_file is not None:
            told["signing_key_file"] = str(key_file)
        descriptor, name = tempfile.mkstemp(prefix=".dev.", dir=self.path)
        with os.fdopen(descriptor, "w") as file:
            json.dump(told, file, indent=2)
        os.replace(name, self.path / DEV_FILE)
        return told

    def forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.path / DEV_FILE).unlink()
