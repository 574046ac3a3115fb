"""Says which build runs, as a metric. Called once by each daemon's wiring."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from playbooks_providers import metrics
from playbooks_providers.metrics.instruments import Daemon

DISTRIBUTION = "playbooks-enterprise"


def say_build(daemon: Daemon) -> None:
    try:
        ours = version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a folder that was never installed
        ours = "unknown"
    metrics.BUILD_INFO.set(1, ours, platform.python_version(), daemon)
