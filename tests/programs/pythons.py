"""Finds the other Pythons that checkpoints cross to: the environments that `make test PYTHON=…` makes beside ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def others() -> list[str]:
    """Their interpreters. None of them skips the test on a laptop; one that is missing fails it in CI."""
    found = [python for minor in (11, 12, 13) if minor != sys.version_info.minor and (python := _beside(minor))]
    if len(found) < 2 and os.environ.get("CI"):
        pytest.fail("CI makes an environment for each Python before the first test (.ci/run)")
    if not found:
        pytest.skip("no environment of another Python beside this one")
    return found


def _beside(minor: int) -> str | None:
    python = Path(sys.prefix).parent / f".venv-3.{minor}" / "bin" / "python"
    return str(python) if python.exists() else None
