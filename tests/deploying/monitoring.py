"""Reads what deploy/monitoring says (rules, dashboard, names of metrics in an expression), and asks a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import yaml
from rendering import ROOT, tool

from playbooks_providers.testing import free_port

FOLDER = ROOT / "deploy" / "monitoring"
GRAFANA = {"$__rate_interval": "1m", "$namespace": ".*", "$queue": ".*"}
"""Grafana's variables, and what may stand for them."""


def rules() -> dict[str, Any]:
    """As a rule file of Prometheus."""
    spec: dict[str, Any] = yaml.safe_load((FOLDER / "rules.yaml").read_text())["spec"]
    return spec


def alerts() -> list[str]:
    return [rule["alert"] for group in rules()["groups"] for rule in group["rules"] if "alert" in rule]


def dashboard() -> dict[str, Any]:
    shown: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return shown


def expressions() -> dict[str, str]:
    """By what says them; of the rules and of the dashboard."""
    said = {rule.get("alert") or rule["record"]: rule["expr"] for group in rules()["groups"] for rule in group["rules"]}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in GRAFANA.items():
                expression = expression.replace(variable, value)
            said[f"panel {panel['title']} {target['refId']}"] = expression
    return said


def metrics_in(expression: str) -> set[str]:
    """Of ours."""
    return set(re.findall(r"\bplaybooks[_:][a-z_:]+", re.sub(r'"[^"]*"', "", expression)))


def labels_in(expression: str) -> dict[str, set[str]]:
    """By metric, the labels that a selector on it names."""
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(r"\b(playbooks_[a-z_]+)\{([^}]*)\}", expression):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', "", selector)))
    return found


def samples_of(page: str) -> set[str]:
    """Every name that a sample of a `/metrics` page has or may have."""
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
        names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


class Prometheus:
    """One that reads pages of pods each second, with our rules."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, query: str) -> list[float]:
        found = self._get(f"query?query={quote(query)}")["result"]
        return [float(one["value"][1]) for one in found]

    def pages(self) -> list[str]:
        """Alerts that wake somebody, or are about to. (Those that a slow machine alone may cause are tickets.)"""
        alerts = self._get("alerts")["alerts"]
        return [one["labels"]["alertname"] for one in alerts if one["labels"]["severity"] == "page"]

    def _get(self, path: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.load(urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}", timeout=10))
        except OSError:  # it is starting
            return {"result": [], "alerts": []}
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def prometheus(folder: Path, pods: dict[str, str]) -> Iterator[Prometheus]:
    """*pods*: where each has its page, by name."""
    targets = [
        {"targets": [address], "labels": {"namespace": "playbooks", "pod": pod}} for pod, address in pods.items()
    ]
    said = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "playbooks", "static_configs": targets}],
    }
    paced = rules()
    for group in paced["groups"]:
        group.pop("interval", None)
    (folder / "rules.yaml").write_text(yaml.safe_dump(paced))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(said))
    port = free_port()
    command = [tool("prometheus", "install Debian's package prometheus"), f"--config.file={folder / 'prometheus.yaml'}"]
    command += [f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait()
