"""What a container would have around its process, made of folders of this machine: volumes, environment, paths, names.

Three things cannot be had without a container, and are stood in for. A path that the manifest mounts is a folder of the
sandbox, wherever the manifest names it. An address is one of 127.0.0.0/8, and names of services are replaced by addresses.
The image is the environment under test, with what the Containerfile copies and sets. Called by `pod`; starts nothing.
"""

from __future__ import annotations

import base64
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class World:
    """What all sandboxes share. ``path``: where commands are; ``addresses``: of services, by name."""

    folder: Path
    image: Path
    image_environment: dict[str, str]
    path: str
    config_maps: dict[str, dict[str, str]]
    secrets: dict[str, dict[str, str]]
    addresses: dict[str, str]


class Sandbox:
    def __init__(self, world: World, name: str, ip: str, template: dict[str, Any], claims: dict[str, Path]) -> None:
        self._world = world
        self._name = name
        self._ip = ip
        self._labels: dict[str, str] = template["metadata"]["labels"]
        spec = template["spec"]
        (self._container,) = spec["containers"]
        self.root = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=world.folder))
        mounts = self._container["volumeMounts"]
        self._mounts = {mount["mountPath"]: self.root / mount["mountPath"].lstrip("/") for mount in mounts}
        self._fill({volume["name"]: volume for volume in spec["volumes"]}, claims)
        self.environment = self._make_environment()
        self._given = self._files()

    def _fill(self, volumes: dict[str, dict[str, Any]], claims: dict[str, Path]) -> None:
        for mount in self._container["volumeMounts"]:
            folder = self._mounts[mount["mountPath"]]
            folder.parent.mkdir(parents=True, exist_ok=True)
            if mount["name"] in claims:
                folder.symlink_to(claims[mount["name"]])
                continue
            folder.mkdir()
            for name, text in self._files_of(volumes[mount["name"]]).items():
                (folder / name).write_text(self.here(text))

    def _files_of(self, volume: dict[str, Any]) -> dict[str, str]:
        if "configMap" in volume:
            return self._world.config_maps[volume["configMap"]["name"]]
        if "secret" in volume:
            return self._world.secrets[volume["secret"]["secretName"]]
        assert "emptyDir" in volume, f"no such volume here: {volume}"
        return {}

    def _make_environment(self) -> dict[str, str]:
        made = {"HOSTNAME": self._name}
        for name, value in self._world.image_environment.items():
            made[name] = str(self.root) + value if value.startswith("/") else value
        fields = {"status.podIP": self._ip, "metadata.name": self._name}
        fields |= {f"metadata.labels['{name}']": value for name, value in self._labels.items()}
        said: dict[str, str] = {}
        for each in self._container.get("env", []):
            source = each.get("valueFrom", {})
            if "fieldRef" in source:
                value = fields[source["fieldRef"]["fieldPath"]]
            elif "secretKeyRef" in source:
                value = self._world.secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
            else:
                value = expand(each["value"], said)
            said[each["name"]] = value
        return made | {name: self.here(value) for name, value in said.items()} | {"PATH": self._world.path}

    def here(self, text: str) -> str:
        """*text* with this machine's folders for what is mounted, and with addresses for names of services."""
        for name, address in self._world.addresses.items():
            text = re.sub(rf"(?<=[@/]){re.escape(name)}(?=[:/])", address, text)
        mounted = "|".join(re.escape(path) for path in sorted(self._mounts, key=len, reverse=True))
        return re.sub(rf"(?<![\w/.-])({mounted})(?=[/\s\"']|$)", lambda found: str(self._mounts[found[1]]), text)

    def words(self, command: list[str]) -> list[str]:
        """A command of the manifest as one of this machine."""
        return [self.here(expand(word, self.environment)) for word in command]

    def written(self) -> set[Path]:
        """Files that a read-only root file system, or a volume that is mounted so, would have refused."""
        return self._files() - self._given

    def _files(self) -> set[Path]:
        writable = [
            self._mounts[mount["mountPath"]] for mount in self._container["volumeMounts"] if not mount.get("readOnly")
        ]
        everything = [*self.root.rglob("*"), *self._world.image.rglob("*")]
        return {path for path in everything if not any(path.is_relative_to(folder) for folder in writable)}


def expand(text: str, environment: dict[str, str]) -> str:
    """`$(NAME)`, as Kubernetes does it."""
    return re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), text)


def secret_data(manifest: dict[str, Any]) -> dict[str, str]:
    """A Secret's values, whichever way they are written."""
    encoded = {name: base64.b64decode(text).decode() for name, text in manifest.get("data", {}).items()}
    return encoded | manifest.get("stringData", {})
