"""The sections and keys that are ours, with their defaults and what is allowed. Values only: `load` finds them.

Other sections of `playbooks.toml` belong to the upstream framework and are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from playbooks_providers.settings.http_address import HttpAddress, http_address


def _checked_address(text: str) -> str:
    http_address(text)
    return text


_Http = Annotated[str, AfterValidator(_checked_address)]


WaitKind = Literal["none", "replica", "disk"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DurabilitySettings(_Section):
    """[durability]: ``enabled`` false: `run` keeps nothing of its agents, and a worker does not start. Where
    checkpoints live, how many are kept, and the key that signs them. ``strict``: an agent fails at the first
    checkpoint with a value that cannot be saved, instead of going on elsewhere without it. ``wait``: what a write
    to Redis has to reach before it counts: nothing more, ``wait_replicas`` replicas, or the disk.
    ``encryption_key``: what encrypts all values of agents, and behind it (one a line) what decrypts older ones."""

    enabled: bool = True
    storage_type: str = Field(default="filesystem", min_length=1)
    storage_path: Path = Path(".checkpoints")
    keep_last_n: int = Field(default=10, ge=1)
    max_checkpoint_size_mb: float = Field(default=64.0, gt=0)
    strict: bool = False
    wait: WaitKind = "none"
    wait_replicas: int = Field(default=1, ge=1)
    keep_finished_days: float = Field(default=7.0, gt=0)
    signing_key: SecretStr | None = Field(default=None, min_length=1)
    signing_key_file: Path | None = None
    encryption_key: SecretStr | None = Field(default=None, min_length=1)
    encryption_key_file: Path | None = None

    @property
    def max_checkpoint_bytes(self) -> int:
        """``max_checkpoint_size_mb`` in bytes of a payload, before it is packed: an agent with a bigger one fails."""
        return round(self.max_checkpoint_size_mb * 1_000_000)


class RedisSettings(_Section):
    """[redis]: the server that workers, coordinators and clients share, and the prefix of every key on it."""

    url: str = Field(default="redis://127.0.0.1:6379/0", pattern=r"^(rediss?://[^\s/]|unix:///?\S)\S*$")
    # No braces: they would move the hash tag of each key, which is the agent's id.
    prefix: str = Field(default="playbooks", pattern=r"^[^{}\s]+$")


class WorkerSettings(_Section):
    """[worker]: one `playbooks-worker`. An executor whose loop is blocked for ``stall_timeout_s`` is ended (None: never). An
    agent that has only waited for ``park_after_s`` needs no worker until something comes for it; whoever writes to an agent
    with ``inbox_limit`` letters waits. Of what an agent tells people (`emit`), about ``keep_events`` are kept. A
    parked agent keeps its last checkpoint alone, unless ``keep_when_parked``. ``grace_s``: how long whoever stops this
    worker waits before it is killed (Kubernetes, systemd), if that is known: the drain has to end before. ``http``: where
    it shows probes and metrics, or `off`. ``limits``: by queue, how many of its agents an executor holds at once.
    ``group``: the workers that read the same queues and are scaled together have one; a label of metrics, so use few, and
    no ids. ``otel``: send traces of agents by OpenTelemetry."""

    processes: int = Field(default=1, ge=1)
    concurrency: int = Field(default=50, ge=1)
    heartbeat_s: float = Field(default=1.0, gt=0)
    drain_timeout_s: float = Field(default=25.0, ge=0)
    grace_s: float | None = Field(default=None, gt=0)
    stall_timeout_s: float | None = Field(default=None, gt=0)
    park_after_s: float = Field(default=5.0, ge=0)
    inbox_limit: int = Field(default=1000, ge=1)
    keep_when_parked: bool = False
    keep_events: int = Field(default=10_000, ge=1)
    http: _Http = "127.0.0.1:9464"
    otel: bool = False
    limits: dict[str, Annotated[int, Field(ge=1)]] = {}
    group: str = Field(default="main", pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")

    @property
    def http_address(self) -> HttpAddress | None:
        return http_address(self.http)


class CoordinatorSettings(_Section):
    """[coordinator]: ``session_timeout_s`` without a heartbeat end a session; it is published and rules the workers too.
    ``http``: as of a worker."""

    session_timeout_s: float = Field(default=5.0, gt=0)
    tick_s: float = Field(default=0.25, gt=0)
    http: _Http = "127.0.0.1:9465"

    @property
    def http_address(self) -> HttpAddress | None:
        return http_address(self.http)


class Settings(BaseSettings):
    """All settings, checked. Calling it gives the defaults and what is passed in, and looks nowhere else."""

    model_config = SettingsConfigDict(
        env_prefix="PLAYBOOKS_", env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", frozen=True
    )

    durability: DurabilitySettings = DurabilitySettings()
    redis: RedisSettings = RedisSettings()
    worker: WorkerSettings = WorkerSettings()
    coordinator: CoordinatorSettings = CoordinatorSettings()

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each value that is not a default came from, by "section.key"."""
        return self._sources

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load` reads each source by itself, since it must say for each value where it came from.
        return (init_settings,)
