"""What the manifests say, run: rendered, started by a small kubelet of ours, probed, updated and killed under load."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml

from playbooks_providers.testing import free_port, redis_server

for folder in ("programs", "deploying"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
import monitoring  # noqa: E402
from kubelet import Kubelet, running  # noqa: E402
from load import PROGRAM, Load  # noqa: E402
from pod import Pace  # noqa: E402
from rendering import KUBERNETES, ROOT, Manifest, copied, of_kind, overlay, readme_block, render  # noqa: E402

pytestmark = [
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="pods have addresses of 127.0.0.0/8, which Linux alone has"),
]

TEAM: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "playbooks-worker"},
    "spec": {"template": {"spec": {"containers": [{"name": "worker", "args": ["programs/until.py"]}]}}},
}
"""The patch by which a team says which programs are its own."""

HASTY: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "playbooks-worker"},
    "spec": {"replicas": 3, "template": {"spec": {"terminationGracePeriodSeconds": 6}}},
}
"""A patch of a team that forgot the drain (25 s), so that a worker which cannot stop is killed by the kubelet."""


def new_secrets() -> list[Manifest]:
    script = KUBERNETES / "overlays" / "dev" / "new-secrets.sh"
    done = subprocess.run([script], capture_output=True, text=True, check=True)
    assert done.stderr == "", "somebody's terminal would show this between the lines of kubectl"
    return list(yaml.safe_load_all(done.stdout))


def under_load(
    folder: Path,
    test: Callable[[Kubelet, Load], Awaitable[None]],
    *,
    agents: int = 20,
    probe_timeout_s: float = 60,
    patches: tuple[Manifest, ...] = (TEAM,),
) -> None:
    """The dev overlay with a program of a team, all pods ready, and agents that have begun."""

    async def main() -> None:
        manifests = render(overlay(folder / "overlay", "kubernetes/overlays/dev", patches=patches))
        pace = Pace(probe_timeout_s=probe_timeout_s)
        async with running(folder, manifests, new_secrets(), programs={"until.py": PROGRAM}, pace=pace) as kubelet:
            load = a_load(folder, kubelet)
            await load.submit(agents)
            await load.begun()
            await test(kubelet, load)
            await load.close()

    asyncio.run(main())


def a_load(folder: Path, kubelet: Kubelet) -> Load:
    redis_url = kubelet.world.secrets["playbooks-redis"]["url"]
    return Load(folder / "effects", kubelet.pods[-1].sandbox.here(redis_url))


def test_a_rolling_update_of_all_workers_and_coordinators_under_load_repeats_no_effect(tmp_path: Path):
    async def update(kubelet: Kubelet, load: Load) -> None:
        async with asyncio.TaskGroup() as updates:
            for deployment in kubelet.deployments.values():
                updates.create_task(deployment.replace())
        await load.goes_on()
        assert await load.completed() == {}
        assert all(len(load.processes(agent)) > 1 for agent in load.agents), "the load was over before the update"
        for deployment in kubelet.deployments.values():
            assert [(ended.code, ended.killed) for ended in deployment.ended] == [(0, False)] * 2
        for pod in kubelet.pods:
            assert (pod.restarts, pod.failed_probes) == (0, []), pod.name

    under_load(tmp_path, update)


def test_a_rolling_update_kills_the_worker_that_cannot_stop_after_its_grace_period_and_every_agent_completes(
    tmp_path: Path,
):
    """Given three workers under load, and an effect that blocks one of them for good, When all workers and coordinators are
    updated, Then two workers end by themselves, that one is killed, and only what was in flight in it runs again."""

    async def update(kubelet: Kubelet, load: Load) -> None:
        workers, coordinators = kubelet.deployments["playbooks-worker"], kubelet.deployments["playbooks-coordinator"]
        stubborn = await load.submit_stubborn()
        (blocked,) = [pod for pod in workers.pods if stubborn in {told["agent"] for told in pod.events("agent taken")}]

        async with asyncio.TaskGroup() as updates:
            for deployment in (workers, coordinators):
                updates.create_task(deployment.replace())
        assert sorted((ended.code, ended.killed) for ended in workers.ended) == [(-9, True), (0, False), (0, False)]
        assert [(ended.code, ended.killed) for ended in coordinators.ended] == [(0, False)] * 2
        (killed,) = [ended for ended in workers.ended if ended.killed]
        assert killed.seconds >= blocked.grace_s == 6
        assert blocked.events("worker draining")

        await load.goes_on()
        again = await load.completed()
        assert again.pop(stubborn) == [0]
        held = {told["agent"] for told in blocked.events("agent taken")}
        assert again.keys() <= held, "a worker that ended by itself repeated an effect"
        assert all(len(numbers) == 1 for numbers in again.values()), again
        assert all(len(load.processes(agent)) > 1 for agent in load.agents), "the load was over before the update"

    under_load(tmp_path, update, patches=(TEAM, HASTY))


def test_an_update_to_a_program_that_does_not_load_stands_still_and_the_old_workers_go_on(tmp_path: Path):
    async def update(kubelet: Kubelet, load: Load) -> None:
        workers = kubelet.deployments["playbooks-worker"]
        with pytest.raises(AssertionError, match="ends again and again"):
            await workers.replace(args=["programs/not_there.py"])
        assert [pod.ready for pod in workers.pods] == [True, True]
        await load.goes_on()
        assert await load.completed() == {}

    under_load(tmp_path, update, agents=5)


def test_pods_that_hang_or_lose_their_node_and_a_redis_that_moves_cost_at_most_what_was_in_flight(tmp_path: Path):
    async def harm(kubelet: Kubelet, load: Load) -> None:
        workers, coordinators = kubelet.deployments["playbooks-worker"], kubelet.deployments["playbooks-coordinator"]

        restarted, deleted = workers.pods
        for pod in workers.pods:
            pod.pause()
        await workers.evict(deleted, grace_s=1)
        assert workers.ended[-1].killed
        await kubelet.until(lambda: restarted.restarts == 1 and restarted.ready, "a restart by the liveness probe")
        assert restarted.failed_probes == ["livenessProbe"]
        await load.goes_on()

        await asyncio.gather(workers.lose(restarted), coordinators.lose(coordinators.pods[0]))
        await load.goes_on()

        await kubelet.move_stateful("playbooks-redis")
        await load.goes_on()

        again = await load.completed()
        owners = Counter(told["agent"] for pod in workers.all for told in pod.events("agent taken"))
        assert all(len(numbers) < owners[agent] for agent, numbers in again.items()), (again, owners)

    under_load(tmp_path, harm, probe_timeout_s=2)


def test_the_example_of_the_readme_runs_and_nothing_is_written_where_the_root_file_system_is_read_only(tmp_path: Path):
    async def main() -> None:
        async with running(tmp_path, render(KUBERNETES / "overlays" / "dev"), new_secrets()) as kubelet:
            (pod, _) = kubelet.deployments["playbooks-coordinator"].pods
            _, _, in_pod = commands_of_readme()[-1].partition(" exec deploy/playbooks-coordinator -- ")
            assert ", world!" in await pod.execute(*shlex.split(in_pod))
            assert [pod.sandbox.written() for pod in kubelet.pods] == [set()] * len(kubelet.pods)

            pages = [
                await kubelet.page(pod) for pod in kubelet.pods if pod.labels["app.kubernetes.io/name"] == "playbooks"
            ]
            shown = {name for page in pages for name in monitoring.samples_of(page)} | {"playbooks:load:ratio"}
            for who, expression in monitoring.expressions().items():
                assert monitoring.metrics_in(expression) <= shown, who

    asyncio.run(main())


def test_prometheus_sees_the_load_that_the_autoscaler_of_each_group_reads_and_nobody_to_wake(tmp_path: Path):
    mine = [f"programs/{name}.py" for name in ("until", "tea", "coffee")]
    queries = scalers_ask(tmp_path / "scaled", mine)
    where = copied(tmp_path / "team", "dev", mine, heavy={})
    settings = where.parents[1] / "base" / "playbooks.toml"
    settings.write_text(settings.read_text().replace("concurrency = 50", "concurrency = 2"))
    programs = {f"{name}.py": PROGRAM for name in ("until", "tea", "coffee", "heavy")}

    async def main() -> None:
        async with running(tmp_path, render(where), new_secrets(), programs=programs) as kubelet:
            load = a_load(tmp_path, kubelet)
            for program in ("until", "tea", "coffee"):
                await load.submit(2, program=program)
            await load.submit(1, program="heavy")
            ours = [pod for deployment in kubelet.deployments.values() for pod in deployment.pods]
            pages = {pod.name: f"{pod.ip}:{pod.ports['http']}" for pod in ours}
            with monitoring.prometheus(tmp_path, pages) as prometheus:
                # two workers of each group with two slots, three programs and six agents here, one program and agent there
                await kubelet.until(lambda: prometheus.ask(queries["playbooks-worker"]) == [1.5], "a load of 6 / 4")
                await kubelet.until(lambda: prometheus.ask(queries["playbooks-worker-heavy"]) == [0.25], "one of 1 / 4")
                await kubelet.until(
                    lambda: sum(prometheus.ask("rate(playbooks_checkpoint_seconds_count[5s])")) > 20, "a rate"
                )
                # before its first look at them, "there is no leader" was about to wake somebody
                await kubelet.until(lambda: prometheus.pages() == [], "nobody to wake")
            await load.completed()
            await load.close()

    asyncio.run(main())


def scalers_ask(folder: Path, programs: list[str]) -> dict[str, str]:
    """By Deployment, what KEDA would ask Prometheus on its behalf."""
    heavy = {
        "components": ["../../../components/keda"],
        "patches": yaml.safe_load(readme_block("and behind `patches`, ")),
    }
    scaled = of_kind(render(copied(folder, "dev", programs, "kubernetes/components/keda", heavy=heavy)), "ScaledObject")
    return {each["spec"]["scaleTargetRef"]["name"]: each["spec"]["triggers"][0]["metadata"]["query"] for each in scaled}


def test_the_five_commands_of_the_readme_are_about_what_is_there():
    build, load, apply, secrets, _ = commands_of_readme()
    (image,) = {
        container["image"]
        for deployment in of_kind(render(KUBERNETES / "overlays" / "dev"), "Deployment")
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }
    assert build == f"docker build -f deploy/Containerfile --target example -t {image} ."
    assert load.endswith(f" {image}")
    assert (ROOT / apply.split()[-1] / "kustomization.yaml").exists()
    assert os.access(ROOT / secrets.split()[0], os.X_OK)


def commands_of_readme() -> list[str]:
    readme = (ROOT / "deploy" / "README.md").read_text()
    return readme.split("## From an empty cluster")[1].split("```")[1].strip().splitlines()


def test_production_runs_on_a_redis_of_somebody_elses_by_tls(tmp_path: Path):
    authority, options = certificates(tmp_path)
    tls_port = free_port()

    def secret(name: str, **values: str) -> Manifest:
        return {"metadata": {"name": name}, "stringData": values}

    async def main() -> None:
        secrets = [
            secret("playbooks-signing-key", **{"signing-key": "the signing key of a test of production"}),
            secret("playbooks-redis-ca", **{"ca.crt": authority.read_text()}),
            secret(
                "playbooks-redis",
                url=f"rediss://127.0.0.1:{tls_port}/0?ssl_ca_certs=/run/secrets/redis/ca.crt",
            ),
        ]
        async with running(tmp_path, render(KUBERNETES / "overlays" / "production"), secrets) as kubelet:
            (pod, _) = kubelet.deployments["playbooks-coordinator"].pods
            arguments = json.dumps({"log": "/dev/null", "only": ["wsgiref"]})
            agent = await pod.execute("playbooksctl", "submit", "audit", "--args", arguments)
            assert "wsgiref" in await pod.execute("playbooksctl", "wait", agent.strip())

    with redis_server("--tls-port", str(tls_port), "--tls-auth-clients", "no", *options):
        asyncio.run(main())


def certificates(folder: Path) -> tuple[Path, list[str]]:
    """An authority of our own, and Redis's options for a certificate that it has signed."""
    key, certificate = folder / "redis.key", folder / "redis.crt"
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=redis -addext subjectAltName=IP:127.0.0.1".split()
    )
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    files = {"--tls-cert-file": certificate, "--tls-key-file": key, "--tls-ca-cert-file": certificate}
    return certificate, [word for option, file in files.items() for word in (option, str(file))]
