"""The inbox of one agent as a file that only grows by whole lines, and what of it is true after a kill at any instant.

`<root>/<agent>/inbox.log`. Each line is a checksum (CRC-32, 8 hex digits), a space, and JSON. The first says what came
before it: ``birth`` of the agent, ``accepted`` letters, and of each sender its birth and last number. Each line after it
is one accepted letter (``place sender birth number body``, the body in base64; a 1 behind it when it is `once`) or, as a
number, the place up to which letters are forgotten. A letter is accepted when its line is on the disk. What a kill or a
power cut leaves behind the last whole line is no letter, and is cut off before the next one is written; damage in front of
a whole line is not guessed over.

The file is written anew, whole under another name and then renamed, when most of it is forgotten. Whoever writes holds the
lock on `inbox.lock`; readers need none. Used by inboxes.py and agents.py.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playbooks_providers.errors import StorageFailed
from playbooks_providers.filesystem.files import write_durably
from playbooks_providers.letters import Letter, Mail

_WORTH_REWRITING = 65_536  # bytes


@dataclass(slots=True)
class Inbox:
    """What the file says. ``end``: the bytes of its whole lines."""

    birth: int = 0
    accepted: int = 0
    senders: dict[str, tuple[int, int]] = field(default_factory=dict)
    mail: list[Mail] = field(default_factory=list)
    end: int = 0

    def known(self, sender: str) -> tuple[int, int]:
        """Birth and last number of *sender*."""
        return self.senders.get(sender, (0, 0))


class InboxFile:
    """Reads each line once: what it has read stays true as long as the file begins with the same line."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "inbox.log"
        self._lock_path = folder / "inbox.lock"
        self._reading = threading.Lock()
        self._head = b""
        self._inbox = Inbox()

    def read(self, birth: int) -> Inbox:
        """The inbox of the agent that was born as *birth*; that of one before it is not its own. Raises `StorageFailed`."""
        with self._reading:
            try:
                with open(self._path, "rb") as file:
                    head = file.readline()
                    if head != self._head or not head:
                        self._head, self._inbox = head, Inbox()
                    file.seek(self._inbox.end)
                    self._read_on(file.read())
            except (FileNotFoundError, NotADirectoryError):
                return Inbox(birth)
            return self._inbox if self._inbox.birth == birth else Inbox(birth)

    def accept(self, inbox: Inbox, letter: Letter) -> int:
        """Write *letter* behind what *inbox* has read, durably, and answer its place. The lock is held."""
        place = inbox.accepted + 1
        body = base64.b64encode(letter.body).decode()
        line = [place, letter.sender, letter.birth, letter.number, body]
        self._append(inbox, [*line, 1] if letter.once else line)
        return place

    def forget(self, inbox: Inbox, through: int) -> None:
        """The letters up to *through* are not needed any more. The lock is held."""
        kept = [mail for mail in inbox.mail if mail.place > through]
        if len(kept) == len(inbox.mail):
            return
        needed = sum(len(mail.body) for mail in kept)
        if inbox.end >= _WORTH_REWRITING and needed < inbox.end / 4:
            lines = [
                _head(inbox),
                *([m.place, m.sender, m.birth, m.number, base64.b64encode(m.body).decode()] for m in kept),
            ]
            write_durably(self._path, b"".join(map(_line, lines)))
        else:
            self._append(inbox, through, durably=False)  # forgotten after a power cut or not: both are right

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time writes, and what it has read before it does stays true."""
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _append(self, inbox: Inbox, value: Any, *, durably: bool = True) -> None:
        if inbox.end == 0:  # no file, or one of an agent that bore the id before
            write_durably(self._path, _line(_head(inbox)) + _line(value))
            return
        fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.truncate(fd, inbox.end)
            rest, at = memoryview(_line(value)), inbox.end
            while rest:
                written = os.pwrite(fd, rest, at)
                rest, at = rest[written:], at + written
            if durably:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _read_on(self, data: bytes) -> None:
        bad = False
        for line in data.split(b"\n")[:-1]:
            value = _value(line)
            if value is None:
                bad = True
            elif bad:
                raise StorageFailed(f"{self._path} is damaged: restore it, or remove it with the letters in it")
            else:
                _add(self._inbox, value)
                self._inbox.end += len(line) + 1


def _add(inbox: Inbox, value: Any) -> None:
    if isinstance(value, dict):
        inbox.birth, inbox.accepted = value["birth"], value["accepted"]
        inbox.senders = {name: (birth, number) for name, (birth, number) in value["senders"].items()}
    elif isinstance(value, int):
        inbox.mail = [mail for mail in inbox.mail if mail.place > value]
    else:
        place, sender, birth, number, body, *once = value
        inbox.mail.append(Mail(place, sender, birth, number, base64.b64decode(body)))
        inbox.accepted = max(inbox.accepted, place)
        if not once:
            inbox.senders[sender] = max(inbox.known(sender), (birth, number))


def _head(inbox: Inbox) -> dict[str, Any]:
    """The first line. No two files begin alike: each has a name of its own."""
    name = secrets.token_hex(6)
    return {"format": 1, "file": name, "birth": inbox.birth, "accepted": inbox.accepted, "senders": inbox.senders}


def _line(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _value(line: bytes) -> Any:
    """None for a line that is not whole."""
    try:
        if int(line[:8], 16) != zlib.crc32(line[9:]) or line[8:9] != b" ":
            return None
        return json.loads(line[9:])
    except ValueError:
        return None
