"""Reads what deploy/monitoring says: the rules, the dashboard, and the names of metrics in an expression."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from rendering import ROOT

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
