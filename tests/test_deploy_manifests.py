"""What the manifests say, read: against the schemas of Kubernetes, against our own rules, and against each other."""

from __future__ import annotations

import copy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from playbooks_providers.settings import Settings

sys.path.insert(0, str(Path(__file__).parent / "deploying"))
from rendering import KUBERNETES, ROOT, Manifest, copied, made_by_make, named, of_kind, overlay, readme_block, render  # noqa: E402
from upstream import is_custom, upstream_errors  # noqa: E402

VERSIONS = ("1.31", "1.34", "1.37")
OVERLAYS = {
    "dev": ("kubernetes/overlays/dev",),
    "production": ("kubernetes/overlays/production",),
    "production with HPA": ("kubernetes/overlays/production", "kubernetes/components/hpa", "monitoring"),
    "production with KEDA": ("kubernetes/overlays/production", "kubernetes/components/keda", "monitoring"),
    "production with a ServiceMonitor": (
        "kubernetes/overlays/production",
        "monitoring",
        "kubernetes/components/service-monitor",
    ),
    "dev with traces": ("kubernetes/overlays/dev", "kubernetes/components/traces"),
}
SECRETS = {"playbooks-redis", "playbooks-signing-key", "playbooks-redis-acl", "playbooks-redis-ca"}
"""That README.md says how to make."""


@pytest.fixture(params=OVERLAYS, scope="module")
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    return rendered(request.param, tmp_path_factory.mktemp("overlay"))


def rendered(name: str, folder: Path) -> tuple[Manifest, ...]:
    base, *components = OVERLAYS[name]
    return render(overlay(folder, base, *components))


def pods(manifests: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    for workload in of_kind(manifests, "Deployment", "StatefulSet"):
        yield workload["metadata"]["name"], workload["spec"]["template"]


# --- against the schemas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_overlay_is_strictly_valid_for_the_kubernetes_of(version: str, tmp_path: Path):
    everything = tmp_path / "everything.yaml"
    builtin = [each for name in OVERLAYS for each in rendered(name, tmp_path / name) if not is_custom(each)]
    assert schema_errors(version, builtin, everything) == ""


def test_the_schemas_find_a_field_that_does_not_exist(tmp_path: Path):
    worker = copy.deepcopy(named(render(KUBERNETES / "overlays" / "dev"), "Deployment", "playbooks-worker"))
    worker["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    assert "readinesProbe" in schema_errors(VERSIONS[0], [worker], tmp_path / "wrong.yaml")


def schema_errors(version: str, manifests: list[Manifest], file: Path) -> str:
    file.write_text(yaml.safe_dump_all(manifests))
    command = [made_by_make("kubernetes-validate"), "--strict", "--quiet", "--kubernetes-version", version, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_custom_resource_is_strictly_valid_for_the_definitions_of_its_makers(tmp_path: Path):
    custom = [each for name in OVERLAYS for each in rendered(name, tmp_path / name) if is_custom(each)]
    assert {each["kind"] for each in custom} == {"ScaledObject", "PodMonitor", "ServiceMonitor", "PrometheusRule"}
    assert upstream_errors(custom, tmp_path / "upstream") == ""


def test_the_definitions_find_a_misspelt_field_and_a_value_that_is_none(tmp_path: Path):
    scaled = copy.deepcopy(of_kind(rendered("production with KEDA", tmp_path), "ScaledObject")[0])
    scaled["spec"]["minReplicas"] = 2
    assert "'\"minReplicas\"' does not exist" in upstream_errors([scaled], tmp_path / "misspelt")
    monitor = copy.deepcopy(of_kind(rendered("production with KEDA", tmp_path), "PodMonitor")[0])
    monitor["spec"]["podMetricsEndpoints"][0]["interval"] = "15 s"
    assert "interval must match pattern" in upstream_errors([monitor], tmp_path / "no duration")


# --- our rules ---------------------------------------------------------------------------------------------------------


def test_no_pod_is_more_than_it_must_be(manifests: tuple[Manifest, ...]):
    for name, template in pods(manifests):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] >= 10_000, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert all(volume.keys() <= {"name", "configMap", "secret", "emptyDir"} for volume in spec["volumes"]), name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name


def test_no_pod_has_a_token_or_the_addresses_of_all_services(manifests: tuple[Manifest, ...]):
    accounts = {account["metadata"]["name"]: account for account in of_kind(manifests, "ServiceAccount")}
    for name, template in pods(manifests):
        assert template["spec"]["automountServiceAccountToken"] is False, name
        assert template["spec"]["enableServiceLinks"] is False, name
        assert accounts[template["spec"]["serviceAccountName"]]["automountServiceAccountToken"] is False, name
    assert not of_kind(manifests, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def test_every_container_has_a_fixed_tag_limits_and_all_three_probes(manifests: tuple[Manifest, ...]):
    for name, template in pods(manifests):
        for container in template["spec"]["containers"]:
            _, _, tag = container["image"].rpartition(":")
            assert tag not in ("", "latest") and "/" not in tag, name
            for kind in ("requests", "limits"):
                assert container["resources"][kind].keys() >= {"cpu", "memory"}, name
            assert container.keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}, name


def test_what_a_program_leaves_behind_is_reaped_by_somebody(manifests: tuple[Manifest, ...]):
    worker = named(manifests, "Deployment", "playbooks-worker")["spec"]["template"]["spec"]
    assert (
        worker["shareProcessNamespace"] is True
    )  # else a supervisor is the first process, and waits for its own alone


def test_a_live_probe_never_asks_whether_redis_is_there(manifests: tuple[Manifest, ...]):
    for name, template in pods(manifests):
        for container in template["spec"]["containers"]:
            for probe in (container["startupProbe"], container["livenessProbe"]):
                assert "httpGet" not in probe or probe["httpGet"]["path"] == "/livez", name


def test_secrets_are_named_and_never_there(manifests: tuple[Manifest, ...]):
    assert not of_kind(manifests, "Secret")
    text = yaml.safe_dump_all(manifests)
    assert "redis://" not in text and "rediss://" not in text
    for name, template in pods(manifests):
        used = {volume["secret"]["secretName"] for volume in template["spec"]["volumes"] if "secret" in volume}
        for container in template["spec"]["containers"]:
            used |= {
                variable["valueFrom"]["secretKeyRef"]["name"]
                for variable in container.get("env", [])
                if "secretKeyRef" in variable.get("valueFrom", {})
            }
        assert used and used <= SECRETS, name
    readme = (ROOT / "deploy" / "README.md").read_text()
    assert all(secret in readme for secret in SECRETS)


def test_the_namespace_refuses_what_is_not_restricted(manifests: tuple[Manifest, ...]):
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in manifests:
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == namespace["metadata"]["name"], manifest["metadata"]["name"]


def test_nothing_is_let_in_or_out_but_by_name(manifests: tuple[Manifest, ...]):
    policies = of_kind(manifests, "NetworkPolicy")
    deny = named(manifests, "NetworkPolicy", "default-deny")
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies:
        for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
            assert rule.get("ports"), policy["metadata"]["name"]
            assert rule.get("from") or rule.get("to"), policy["metadata"]["name"]


def test_checkov_finds_nothing_but_what_is_so_on_purpose(tmp_path: Path):
    on_purpose = {
        "CKV_K8S_15": "images have fixed tags, so what a node has need not be fetched again",
        "CKV_K8S_35": "the URL of Redis is a setting, and settings that are secret come from the environment",
        "CKV_K8S_43": "a digest is of somebody's registry; README.md says to use one",
    }
    file = tmp_path / "everything.yaml"
    file.write_text(
        yaml.safe_dump_all([each for name in ("dev", "production") for each in rendered(name, tmp_path / name)])
    )
    command = [
        made_by_make("checkov"),
        "--file",
        str(file),
        "--framework",
        "kubernetes",
        "--skip-download",
        "--compact",
    ]
    command += ["--quiet", "--skip-check", ",".join(on_purpose)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


# --- against each other ------------------------------------------------------------------------------------------------


def test_the_settings_are_ours_and_a_drain_ends_before_its_pod_is_killed(manifests: tuple[Manifest, ...]):
    (config,) = [
        each for each in of_kind(manifests, "ConfigMap") if each["metadata"]["name"].startswith("playbooks-config-")
    ]
    settings = Settings.model_validate(tomllib.loads(config["data"]["playbooks.toml"]))
    worker = named(manifests, "Deployment", "playbooks-worker")["spec"]["template"]["spec"]
    assert (
        worker["terminationGracePeriodSeconds"] == settings.worker.grace_s
    )  # which a drain must fit into, or it says so
    assert settings.worker.grace_s >= settings.worker.drain_timeout_s + 10
    (mount,) = [
        mount for mount in worker["containers"][0]["volumeMounts"] if mount["mountPath"] == "/run/secrets/playbooks"
    ]
    assert mount["readOnly"]
    assert settings.durability.signing_key_file == Path("/run/secrets/playbooks/signing-key")


def test_whatever_selects_pods_selects_some(manifests: tuple[Manifest, ...]):
    labels = [template["metadata"]["labels"] for _, template in pods(manifests)]
    selectors = {
        f"{each['kind']} {each['metadata']['name']}": each["spec"].get("selector", each["spec"].get("podSelector"))
        for each in of_kind(manifests, "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "Service")
    }
    for who, selector in selectors.items():
        wanted = selector.get("matchLabels", selector if "matchLabels" not in selector else {})
        assert any(wanted.items() <= each.items() for each in labels), who


def test_every_pod_of_ours_is_scraped_by_one_monitor_and_by_its_own_port(manifests: tuple[Manifest, ...]):
    monitors = of_kind(manifests, "PodMonitor", "ServiceMonitor")
    assert len(monitors) <= 1
    for monitor in monitors:
        selects, wanted = of_kind(manifests, "Deployment"), monitor["spec"]["selector"]["matchLabels"]
        (endpoint,) = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
        port = endpoint["port"]
        if monitor["kind"] == "ServiceMonitor":
            (service,) = [
                each for each in of_kind(manifests, "Service") if wanted.items() <= each["metadata"]["labels"].items()
            ]
            (offered,) = [each for each in service["spec"]["ports"] if each["name"] == port]
            assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
            wanted, port = service["spec"]["selector"], offered["targetPort"]
        for deployment in selects:
            template = deployment["spec"]["template"]
            assert wanted.items() <= template["metadata"]["labels"].items()
            (container,) = template["spec"]["containers"]
            assert port in {each["name"] for each in container["ports"]}


def test_who_sends_traces_has_a_setting_for_it_and_a_way_to_the_collector(tmp_path: Path):
    manifests = rendered("dev with traces", tmp_path)
    for deployment in of_kind(manifests, "Deployment"):
        template = deployment["spec"]["template"]
        (container,) = template["spec"]["containers"]
        said = {variable["name"]: variable.get("value") for variable in container["env"]}
        if "worker" not in deployment["metadata"]["name"]:
            assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in said
            continue
        assert Settings.model_validate({"worker": {"otel": said["PLAYBOOKS_WORKER__OTEL"]}}).worker.otel
        port = int(said["OTEL_EXPORTER_OTLP_ENDPOINT"].rpartition(":")[2])
        policy = named(manifests, "NetworkPolicy", "to-collector")["spec"]
        assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert policy["egress"][0]["ports"] == [{"port": port}]


def test_two_of_each_at_least_and_never_all_gone_at_once(manifests: tuple[Manifest, ...]):
    budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind(manifests, "PodDisruptionBudget")}
    for deployment in of_kind(manifests, "Deployment"):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        scalers = of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
        least = spec.get("replicas") or min(
            each["spec"].get("minReplicas", each["spec"].get("minReplicaCount")) for each in scalers
        )
        assert least >= 2, name
        assert budgets[name]["maxUnavailable"] == 1, name
        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, name
        spread = {each["topologyKey"] for each in spec["template"]["spec"]["topologySpreadConstraints"]}
        assert spread == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, name


def test_an_autoscaler_alone_says_how_many_workers_there_are(manifests: tuple[Manifest, ...]):
    scalers = of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    worker = named(manifests, "Deployment", "playbooks-worker")["spec"]
    assert len(scalers) <= 1
    assert ("replicas" in worker) == (not scalers)
    for scaler in scalers:
        assert scaler["spec"]["scaleTargetRef"]["name"] == "playbooks-worker"


def test_a_further_group_of_workers_as_the_readme_says_is_apart_from_the_first(tmp_path: Path):
    manifests = render(copied(tmp_path, "production", ["programs/audit.py"], heavy={}))
    groups = {
        name: named(manifests, "Deployment", name)["spec"] for name in ("playbooks-worker", "playbooks-worker-heavy")
    }
    for name, spec in groups.items():
        selector = spec["selector"]["matchLabels"]
        selected = [
            other for other, template in pods(manifests) if selector.items() <= template["metadata"]["labels"].items()
        ]
        assert selected == [name]
        assert named(manifests, "PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == selector
        for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"] == selector
    first, heavy = (spec["template"]["spec"] for spec in groups.values())
    assert heavy["containers"][0].pop("args") == ["programs/heavy.py"]
    assert first["containers"][0].get("args") == ["programs/audit.py"]
    assert heavy["volumes"] == first["volumes"]
    assert heavy["containers"][0]["image"] == first["containers"][0]["image"]


SCALERS = {
    "hpa": ("HorizontalPodAutoscaler", "With the HPA (`components: [../../../components/hpa]`) it is"),
    "keda": ("ScaledObject", "and behind `patches`, "),
}
"""By component: what it makes, and before which words of README.md's the patch for a further group is."""


@pytest.mark.parametrize("component", SCALERS)
def test_each_group_of_workers_has_a_scaler_of_its_own_load(component: str, tmp_path: Path):
    kind, words = SCALERS[component]
    heavy = {"components": [f"../../../components/{component}"], "patches": yaml.safe_load(readme_block(words))}
    assert component == "hpa" or yaml.safe_load(readme_block("in the same file"))["components"] == heavy["components"]
    where = copied(tmp_path, "production", ["programs/audit.py"], f"kubernetes/components/{component}", heavy=heavy)
    manifests = render(where)
    for group, name in (("main", "playbooks-worker"), ("heavy", "playbooks-worker-heavy")):
        worker = named(manifests, "Deployment", name)["spec"]
        assert "replicas" not in worker
        assert worker["template"]["metadata"]["labels"]["app.kubernetes.io/instance"] == group
        (container,) = worker["template"]["spec"]["containers"]
        (said,) = [each for each in container["env"] if each["name"] == "PLAYBOOKS_WORKER__GROUP"]
        assert said["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.labels['app.kubernetes.io/instance']"}}
        scaler = named(manifests, kind, name)["spec"]
        assert scaler["scaleTargetRef"]["name"] == name
        if kind == "ScaledObject":
            query = scaler["triggers"][0]["metadata"]["query"]
            assert query == f'max(playbooks:load:ratio{{namespace="playbooks", group="{group}"}})'
        else:
            metric = scaler["metrics"][0]["external"]["metric"]
            assert metric == {"name": "playbooks_load_ratio", "selector": {"matchLabels": {"group": group}}}
    assert len(of_kind(manifests, kind)) == 2
    builtin = [each for each in manifests if not is_custom(each)]
    assert schema_errors(VERSIONS[0], builtin, tmp_path / "all") == ""
    assert upstream_errors([each for each in manifests if is_custom(each)], tmp_path / "upstream") == ""


def test_monitors_and_rules_get_the_label_by_which_prometheus_selects_as_the_readme_says(tmp_path: Path):
    folder = overlay(tmp_path, "kubernetes/overlays/production", "monitoring", "kubernetes/components/service-monitor")
    said = yaml.safe_load((folder / "kustomization.yaml").read_text())
    readme = (ROOT / "deploy" / "README.md").read_text()
    said |= yaml.safe_load(readme.split("with the name of its Helm release")[1].split("```")[1].removeprefix("yaml"))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said))
    for each in render(folder):
        labels = each["metadata"].get("labels", {})
        assert (labels.get("release") == "kube-prometheus-stack") == is_custom(each), each["metadata"]["name"]
    assert of_kind(render(folder), "ServiceMonitor", "PrometheusRule")
