"""Writing files so that a reader sees the old one or the new one, whatever is killed when; and what errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from playbooks_providers.errors import StorageFailed, StorageFull

TEMP_SUFFIX = ".tmp"


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Errors of the operating system as ours, the cause kept."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no room left to write {where}: free some space, and it goes on") from error
        raise StorageFailed(f"{where}: {error.strerror}; check --storage-path and its permissions") from error


def write_durably(path: Path, data: bytes) -> None:
    """*data* at *path*, on the disk when it returns. A temporary file beside it is gone again, whatever happens."""
    temp = _write_temp(path, data)
    try:
        temp.rename(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """The same without waiting for the disk: a power cut may leave the old file, or an empty one."""
    temp = _write_temp(path, data, durably=False)
    try:
        temp.rename(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def create_durably(path: Path, data: bytes) -> bool:
    """The same for a file that must not be there yet; False when it is."""
    temp = _write_temp(path, data)
    try:
        os.link(temp, path)  # as atomic as rename, and refuses to replace
    except FileExistsError:
        return False
    finally:
        temp.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def make_folder(folder: Path) -> None:
    """*folder* and those above it, each durable in its parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(folder))
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_temp(path: Path, data: bytes, *, durably: bool = True) -> Path:
    temp = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMP_SUFFIX}")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            if durably:
                os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    return temp
