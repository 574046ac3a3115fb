"""Homes are found by name among what is installed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from playbooks_providers.errors import ConfigError
from playbooks_providers.registry import known_homes, open_home
from playbooks_providers.settings import Settings, load_settings


def settings(storage_type: str, folder: Path) -> Settings:
    return load_settings({"durability": {"storage_type": storage_type}}, cwd=folder)


def install(folder: Path, package: str, name: str, value: str) -> None:
    """What an installer leaves of a third party's package."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[playbooks.extensions]\n{name} = {value}\n")


def test_our_own_homes_are_installed_and_open(tmp_path: Path) -> None:
    assert {"filesystem", "memory", "redis"} <= set(known_homes())

    async def main() -> None:
        for name, coordinated in (("filesystem", False), ("memory", True), ("redis", True)):
            home = open_home(settings(name, tmp_path))
            assert (home.coordination is not None) is coordinated
            await home.close()

    asyncio.run(main())


def test_a_third_party_adds_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme-homes", "acme", "acme_homes:open_acme")
    (tmp_path / "acme_homes.py").write_text(
        "from playbooks_providers.registry import memory\ndef open_acme(settings): return memory(settings)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert open_home(settings("acme", tmp_path)).coordination is not None
    sys.modules.pop("acme_homes")


def test_an_unknown_name_is_one_line_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown storage type 'reddis' \(.*command line\): did you mean redis\?"):
        open_home(settings("reddis", tmp_path))
    with pytest.raises(ConfigError, match=r"installed are .*filesystem, memory, redis"):
        open_home(settings("xyz", tmp_path))


def test_a_home_that_cannot_be_imported_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme-homes", "acme", "no_such_module_of_acme:open_acme")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="storage type acme of acme-homes .* cannot be loaded"):
        open_home(settings("acme", tmp_path))


def test_two_packages_with_the_same_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme-homes", "acme", "one:open_it")
    install(tmp_path, "other-homes", "acme", "other:open_it")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="two installed packages offer the storage type acme"):
        known_homes()
