"""Where a Redis is and how to speak to it, read from a URL once: for redis-py's pools and for the writer's connection.

Called by client.py and link.py. The URL's meaning is redis-py's own (`redis://`, `rediss://`, `unix://`, user, password,
database, `ssl_*` options), so that one URL never means two things. Printing an address hides the password.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, cast

from redis.asyncio.connection import SSLConnection, parse_url

from playbooks_providers.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    url: str = field(repr=False)
    host: str
    port: int
    path: str | None
    db: int
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises `ConfigError` with one line that names the trouble."""
        try:
            options = cast("dict[str, Any]", dict(parse_url(url)))
        except ValueError as error:
            raise ConfigError(f"redis.url: {error}") from error
        kind = options.pop("connection_class", None)
        tls: ssl.SSLContext | None = None
        if kind is SSLConnection:
            try:
                # redis-py turns its `ssl_*` options into a context; building an idle connection asks it to
                tls = SSLConnection(**{k: v for k, v in options.items() if k.startswith("ssl_")}).ssl_context.get()
            except Exception as error:
                raise ConfigError(f"redis.url: TLS cannot be set up: {error}") from error
        return cls(
            url=url,
            host=options.get("host", "localhost"),
            port=int(options.get("port", 6379)),
            path=options.get("path"),
            db=int(options.get("db", 0)),
            username=options.get("username"),
            password=options.get("password"),
            tls=tls,
        )

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.db}"
