"""The image: read, its steps done one by one where there is no builder, and built and run where there is one."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from playbooks_providers.testing import eventually_blocking, redis_server

sys.path.insert(0, str(Path(__file__).parent / "deploying"))
from containerfile import copy_from_source, stages  # noqa: E402
from images import Builder, builder, why_not  # noqa: E402
from rendering import ROOT, made_by_make  # noqa: E402

FILE = ROOT / "deploy" / "Containerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_what_runs_has_no_root_no_step_that_executes_anything_and_no_tag_that_moves():
    found = stages(FILE)
    assert list(found) == ["build", "playbooks", "example"]
    assert found["playbooks"].said("USER") == ["65532:65532"]
    for name in ("playbooks", "example"):
        assert not found[name].said("RUN") and not found[name].said("ADD"), name
    base = re.search(r"^ARG BASE=(\S+)$", FILE.read_text(), re.MULTILINE)
    assert base is not None and re.search(r":3\.1[123]-slim-\w+$", base[1])


def test_hadolint_finds_nothing():
    done = subprocess.run([made_by_make("hadolint"), str(FILE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_that_is_copied_is_there_and_let_through():
    ignored = (ROOT / ".containerignore").read_text().splitlines()
    for stage in stages(FILE).values():
        for line in stage.said("COPY"):
            *names, _ = line.split()
            if not names[0].startswith("--from"):
                for name in names:
                    assert (ROOT / name).exists(), name
                    assert any(f"!{parent}" in ignored for parent in [name, *map(str, Path(name).parents)]), name


def test_the_pinned_packages_are_what_we_ask_for_each_with_a_hash():
    text = (ROOT / "deploy" / "requirements.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE))
    extras = [line for extra in ("http", "otel", "encryption") for line in PROJECT["optional-dependencies"][extra]]
    for line in [*PROJECT["dependencies"], *extras]:
        wanted = Requirement(line)
        assert Version(pinned[wanted.name]) in wanted.specifier, line
    blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pinned)
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.slow
@pytest.mark.skipif(why_not() is None, reason="a builder is here, and builds the image itself")
def test_each_step_of_the_build_does_what_it_is_for(tmp_path: Path):
    root = tmp_path / "root"
    build = stages(FILE)["build"]
    (work,) = build.said("WORKDIR")
    (root / work.lstrip("/")).mkdir(parents=True)
    copy_from_source_into(root / work.lstrip("/"))
    for command in build.said("RUN"):
        here = command.replace("/opt/playbooks", str(root / "opt" / "playbooks"))
        done = subprocess.run(
            ["sh", "-ec", here], cwd=root / work.lstrip("/"), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for name in PROJECT["scripts"]:
        command = root / "opt" / "playbooks" / "bin" / name
        assert "Usage:" in subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60).stdout


def copy_from_source_into(root: Path) -> None:
    copy_from_source(stages(FILE)["build"], ROOT, root)


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}; each step is tested by itself")
def test_the_image_is_built_and_runs_an_agent_confined_as_in_a_pod():
    with builder() as images, redis_server() as server:
        image = images.build("example", REVISION="0123abc")
        labels = images.labels(image)
        assert labels["org.opencontainers.image.revision"] == "0123abc"
        assert labels["org.opencontainers.image.version"] == PROJECT["version"]

        writing = "for place in / /app /opt/playbooks; do touch $place/x 2>/dev/null && echo $place is written to; done"
        uid, *files = images.run(image, "sh", "-c", f"id -u; {writing}; ls /opt/playbooks/bin /usr/bin").split()
        assert uid == "65532"
        assert "written" not in files
        assert set(PROJECT["scripts"]) <= set(files)
        assert not {"gcc", "cc", "ld", "pip", "pip3"} & set(files)

        settings = {"REDIS__URL": server.url, "DURABILITY__SIGNING_KEY": "a key for the test of the image"}
        options = tuple(f"--env=PLAYBOOKS_{name}={value}" for name, value in settings.items())
        assert "Ada" in ran_on_daemons(images, image, options)


def ran_on_daemons(images: Builder, image: str, options: tuple[str, ...]) -> str:
    daemons = [
        subprocess.Popen(images.command(image, *words, "--http=off", options=options), stdin=subprocess.DEVNULL)
        for words in (["playbooks-coordinator"], ["playbooks-worker", "programs/hello.py"])
    ]
    try:
        script = "playbooksctl wait $(playbooksctl submit hello --args '[\"Ada\"]')"
        eventually_blocking(
            lambda: "hello" in images.run(image, "playbooksctl", "workers", options=options), 60, "a worker"
        )
        return images.run(image, "sh", "-c", script, options=options)
    finally:
        for daemon in daemons:
            daemon.terminate()
        assert [daemon.wait(timeout=40) for daemon in daemons] == [0, 0]
