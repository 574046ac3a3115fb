"""Every way to reach a Redis works for the writer's own connection too: password, user, database, TLS, unix socket."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from playbooks_providers.errors import ConfigError, Unreachable
from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce
from playbooks_providers.model import Created, Saved, Taken
from playbooks_providers.redis import connect
from playbooks_providers.redis.address import Address
from playbooks_providers.redis.link import open_link
from playbooks_providers.testing import RedisServer, entry, free_port, redis_server, start_record

A = AgentId("a1")


async def save_and_load(url: str) -> None:
    home = connect(url)
    try:
        created = await home.coordination.create(start_record(A))
        assert isinstance(created, Created) and created.ticket is not None
        taken = await home.coordination.take(created.ticket, SessionId("s1"), new_nonce())
        assert isinstance(taken, Taken)
        one = entry(taken.lock, 1)
        assert await home.checkpoints.save(taken.lock, one, oldest=one.id) == Saved(one.id)
        assert await home.checkpoints.load(A) == one
    finally:
        await home.close()


@pytest.mark.redis
def test_a_database_other_than_the_first(redis_url: str, shared_redis: RedisServer) -> None:
    asyncio.run(save_and_load(redis_url.removesuffix("/0") + "/3"))
    assert shared_redis.command("DBSIZE").startswith(b":0")


@pytest.mark.redis
def test_a_password_and_a_user() -> None:
    password = "p@ss/word:1"
    with redis_server() as server:
        server.command("ACL", "SETUSER", "ann", "on", f">{password}", "~*", "+@all")
        server.command("CONFIG", "SET", "requirepass", password)
        asyncio.run(save_and_load(f"redis://:{quote(password, safe='')}@127.0.0.1:{server.port}/0"))
        asyncio.run(save_and_load(f"redis://ann:{quote(password, safe='')}@127.0.0.1:{server.port}/1"))


@pytest.mark.redis
def test_a_wrong_password_is_told_and_nothing_hangs() -> None:
    async def main() -> None:
        with redis_server() as server:
            server.command("CONFIG", "SET", "requirepass", "right")
            url = f"redis://:wrong@127.0.0.1:{server.port}/0"
            home = connect(url)
            with pytest.raises(Unreachable, match="WRONGPASS|invalid"):
                await home.coordination.ping()
            await home.close()
            with pytest.raises(Unreachable, match="refused AUTH: WRONGPASS"):
                await open_link(Address.parse(url), lambda link, error: None, 5.0)

    asyncio.run(main())


@pytest.mark.redis
def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with redis_server("--unixsocket", str(path)):
        asyncio.run(save_and_load(f"unix://{path}?db=2"))


@pytest.mark.redis
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_with_a_certificate_that_is_checked(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    with ExitStack() as ends:
        try:
            ends.enter_context(
                redis_server(*options, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no")
            )
        except AssertionError:
            pytest.skip("this server was built without TLS")
        asyncio.run(save_and_load(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}"))

        async def unchecked() -> None:
            with pytest.raises(Unreachable, match="certificate"):
                await open_link(Address.parse(f"rediss://localhost:{port}/0"), lambda link, error: None, 5.0)

        asyncio.run(unchecked())


def test_a_server_that_is_not_there_is_unreachable_at_once() -> None:
    async def main() -> None:
        home = connect(f"redis://127.0.0.1:{free_port()}/0")
        with pytest.raises(Unreachable, match="Redis at redis://127.0.0.1"):
            await home.checkpoints.load(A, CheckpointId(1, 1))
        await home.close()

    asyncio.run(main())


def test_a_url_or_prefix_that_cannot_be_used_is_one_line() -> None:
    for url in ("http://localhost", "redis://localhost:notaport"):
        with pytest.raises(ConfigError, match=r"redis\.url"):
            connect(url)
    with pytest.raises(ConfigError, match=r"redis\.prefix"):
        connect("redis://localhost", prefix="{x}")


def test_an_address_never_shows_its_password() -> None:
    address = Address.parse("redis://ann:secret@somewhere:7000/2")
    assert "secret" not in repr(address) + str(address)
    assert str(address) == "redis://somewhere:7000/2"
