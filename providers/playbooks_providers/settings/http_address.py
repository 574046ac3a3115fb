"""Where a daemon listens: `HOST:PORT`, `[IPv6]:PORT`, or `off`. A value; `service.surface` opens the socket."""

from __future__ import annotations

import re
from dataclasses import dataclass

OFF = "off"
_SHAPE = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """``port`` 0: any that is free; the log says which."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def http_address(text: str) -> HttpAddress | None:
    """None for `off`. Raises `ValueError` for what is no address."""
    if text == OFF:
        return None
    found = _SHAPE.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError("use HOST:PORT, [IPV6]:PORT (PORT 0: any that is free), or off")
    return HttpAddress(found["ipv6"] or found["host"], int(found["port"]))
