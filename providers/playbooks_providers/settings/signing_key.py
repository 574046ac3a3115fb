"""Where the signing key comes from, and the one that `run` and `dev` make for themselves. It never signs anything."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from pydantic import SecretStr

from playbooks_providers.errors import ConfigError
from playbooks_providers.settings.sections import Settings

KEY_FILE = ".signing_key"
GOOD_LENGTH = 32


def signing_key(settings: Settings) -> SecretStr | None:
    """The configured key (given itself, or by its file); None when there is none. Raises `ConfigError`."""
    if settings.durability.signing_key is not None:
        return settings.durability.signing_key
    path = settings.durability.signing_key_file
    if path is None:
        return None
    where = settings.sources.get("durability.signing_key_file", "durability.signing_key_file")
    return _read(path, where)


def ensure_signing_key(folder: Path) -> SecretStr:
    """The key in *folder*/.signing_key, made there (mode 0600) when there is none. For `run` and `dev`.

    Any number of processes may do this at once: all get the same key. Raises `ConfigError`.
    """
    path = folder / KEY_FILE
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _create(path)
    except OSError as error:
        raise ConfigError(f"cannot make a signing key at {path}: {error}") from error
    return _read(path, str(path))


def weakness(key: SecretStr) -> str | None:
    """A warning about a short key, or None."""
    length = len(key.get_secret_value())
    if length >= GOOD_LENGTH:
        return None
    return f"the signing key has {length} characters; use {GOOD_LENGTH} random ones or more (`openssl rand -hex 32`)"


def _create(path: Path) -> None:
    """Written whole under another name, then linked: link() has O_EXCL's promise, and no reader sees half a key."""
    fd, name = tempfile.mkstemp(prefix=".signing_key.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its key is the key
            os.link(name, path)
    finally:
        os.unlink(name)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path, where: str) -> SecretStr:
    try:
        text = path.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the signing key {path} ({where}): {error}") from error
    if not text:
        raise ConfigError(f"the signing key file {path} ({where}) is empty; put any non-empty string into it")
    return SecretStr(text)
