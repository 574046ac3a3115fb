"""Rules and dashboard: Prometheus understands them, alerts come when they should, and each is explained."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from playbooks_providers.metrics import REGISTRY
from playbooks_providers.metrics.instruments import BOTH

sys.path.insert(0, str(Path(__file__).parent / "deploying"))
from monitoring import alerts, dashboard, expressions, labels_in, rules  # noqa: E402
from rendering import ROOT, tool  # noqa: E402


def promtool(*words: str) -> str:
    command = [tool("promtool", "install Debian's package prometheus, or Prometheus itself"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_prometheus_understands_the_rules_and_every_expression_of_the_dashboard(tmp_path: Path):
    file = tmp_path / "rules.yaml"
    records = [
        {"record": f"said_{number}", "expr": expression, "labels": {"by": name}}
        for number, (name, expression) in enumerate(expressions().items())
    ]
    file.write_text(yaml.safe_dump({"groups": [*rules()["groups"], {"name": "said", "rules": records}]}))
    assert "SUCCESS" in promtool("check", "rules", str(file))


def test_alerts_come_when_they_should_and_not_before(tmp_path: Path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    shutil.copy(Path(__file__).parent / "deploying" / "alerts.yaml", tmp_path)
    promtool("test", "rules", str(tmp_path / "alerts.yaml"))


def test_every_alert_is_tried_and_explained():
    tried = (Path(__file__).parent / "deploying" / "alerts.yaml").read_text()
    explained = (ROOT / "deploy" / "README.md").read_text()
    for alert in alerts():
        assert f"alertname: {alert}\n" in tried, alert
        assert f"`{alert}`" in explained, alert


def test_a_selector_names_only_labels_that_its_metric_has():
    of_targets = {"namespace", "pod", "le"}  # put there by Prometheus
    known = {one.name: set(one.labels) for daemon in BOTH for one in REGISTRY.shown_on(daemon)}
    for name, expression in expressions().items():
        for metric, labels in labels_in(expression).items():
            declared = (
                known.get(metric) or known[metric.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")]
            )
            assert labels <= declared | of_targets, f"{name}: {metric}"


def test_no_two_panels_cover_each_other():
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
