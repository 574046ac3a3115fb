"""Runs what manifests say, on loopback: a kubelet and the controllers of Deployment and StatefulSet, as small as can be.

Tests put rendered manifests and Secrets in, wait until pods are ready, delete them, update Deployments, and look on.
It knows nothing of what runs in a pod.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from containerfile import copy_from_source, stages
from pod import Ended, Pace, Pod
from rendering import ROOT, Manifest, bin_folder, named, of_kind
from sandbox import World, secret_data

from playbooks_providers.testing import eventually

READY_S = 60.0


class Deployment:
    """Pods of one template, `replicas` of them, replaced as its strategy says."""

    def __init__(self, kubelet: Kubelet, manifest: Manifest) -> None:
        self.name: str = manifest["metadata"]["name"]
        self._kubelet = kubelet
        self._spec = manifest["spec"]
        self.pods: list[Pod] = []
        self.all: list[Pod] = []  # those that are gone, too
        self.ended: list[Ended] = []

    async def start(self) -> None:
        self.pods = [self._new() for _ in range(self._spec["replicas"])]
        for pod in self.pods:
            await self._kubelet.until_ready(pod)

    def _new(self) -> Pod:
        pod = self._kubelet.pod(f"{self.name}-{next(self._kubelet.numbers)}", self._spec["template"], {})
        self.all.append(pod)
        return pod

    async def replace(self, args: list[str] | None = None) -> None:
        """`kubectl rollout restart`: new pods up to the surge, and an old one goes when a new one is ready. *args*: the
        template's, changed. Fails where a new pod ends again and again; the old ones are then left as they are."""
        if args is not None:
            self._spec = copy.deepcopy(self._spec)
            self._spec["template"]["spec"]["containers"][0]["args"] = args
        strategy = self._spec["strategy"]["rollingUpdate"]
        assert strategy["maxUnavailable"] == 0, "this controller knows no other way"
        assert strategy["maxSurge"] == 1, "this controller knows no other way"
        ending: list[asyncio.Task[None]] = []
        for old in list(self.pods):
            new = self._new()
            await self._kubelet.until_ready(new)
            self.pods.append(new)
            assert sum(pod.ready for pod in self.pods) > self._spec["replicas"]
            self.pods.remove(old)
            ending.append(asyncio.create_task(self.delete(old)))
        await asyncio.gather(*ending)

    async def delete(self, pod: Pod, grace_s: float | None = None) -> None:
        self.ended.append(await pod.delete(grace_s))

    async def evict(self, pod: Pod, grace_s: float | None = None) -> None:
        """`kubectl delete pod`: another is started at once."""
        self.pods.remove(pod)
        self.pods.append(self._new())
        await self.delete(pod, grace_s)

    async def lose(self, pod: Pod) -> None:
        """Its node is gone: another takes its place."""
        self.pods.remove(pod)
        await pod.vanish()
        self.pods.append(self._new())


class Kubelet:
    def __init__(
        self,
        folder: Path,
        manifests: tuple[Manifest, ...],
        secrets: list[Manifest],
        programs: dict[str, str],
        pace: Pace,
    ) -> None:
        containerfile = stages(ROOT / "deploy" / "Containerfile")
        self.numbers = itertools.count(1)
        self._net = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
        self._hosts = itertools.count(2)
        self._manifests = manifests
        self.image = folder / "image"
        copy_from_source(containerfile["example"], ROOT, self.image)
        for name, text in programs.items():
            (self.image / "app" / "programs" / name).write_text(text)
        self.world = World(
            folder=folder,
            image=self.image / "app",
            image_environment=containerfile["playbooks"].environment(),
            path=f"{bin_folder()}{os.pathsep}{os.environ['PATH']}",
            config_maps={each["metadata"]["name"]: each["data"] for each in of_kind(manifests, "ConfigMap")},
            secrets={each["metadata"]["name"]: secret_data(each) for each in secrets},
            addresses={},
        )
        self._pace = pace
        self.pods: list[Pod] = []
        self.deployments: dict[str, Deployment] = {}

    def pod(self, name: str, template: dict[str, Any], claims: dict[str, Path], ip: str | None = None) -> Pod:
        pod = Pod(self.world, self._pace, name, ip or self.address(), template, claims)
        self.pods.append(pod)
        return pod

    def address(self) -> str:
        return f"{self._net}.{next(self._hosts)}"

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await eventually(condition, READY_S, what)

    async def until_ready(self, pod: Pod) -> None:
        await self.until(lambda: pod.ready or pod.restarts > 1, f"{pod.name} to be ready")
        assert pod.ready, f"{pod.name} ends again and again"

    async def start(self) -> None:
        """StatefulSets, then Deployments; returns when every pod is ready."""
        for manifest in of_kind(self._manifests, "StatefulSet"):
            await self.until_ready(self.stateful(manifest))
        for manifest in of_kind(self._manifests, "Deployment"):
            deployment = Deployment(self, manifest)
            self.deployments[deployment.name] = deployment
        async with asyncio.TaskGroup() as starting:
            for deployment in self.deployments.values():
                starting.create_task(deployment.start())

    def stateful(self, manifest: Manifest) -> Pod:
        """The one pod of a StatefulSet; its claims outlive it, and its service's name leads to it."""
        spec = manifest["spec"]
        assert spec["replicas"] == 1
        claims: dict[str, Path] = {}
        for claim in spec["volumeClaimTemplates"]:
            name = claim["metadata"]["name"]
            claims[name] = self.world.folder / "claims" / f"{name}-{manifest['metadata']['name']}-0"
            claims[name].mkdir(parents=True, exist_ok=True)
        ip = self.world.addresses.setdefault(spec["serviceName"], self.address())
        return self.pod(f"{manifest['metadata']['name']}-0", spec["template"], claims, ip)

    async def move_stateful(self, name: str) -> None:
        """Its pod is deleted, and made again with the claims that it had (and the address, which a cluster would change)."""
        (old,) = [pod for pod in self.pods if pod.name == f"{name}-0"]
        await old.delete()
        self.pods.remove(old)
        await self.until_ready(self.stateful(named(self._manifests, "StatefulSet", name)))

    async def page(self, pod: Pod) -> str:
        """What Prometheus would read."""
        port = pod.ports["http"]
        return await asyncio.to_thread(lambda: urlopen(f"http://{pod.ip}:{port}/metrics", timeout=30).read().decode())

    async def close(self) -> None:
        for pod in self.pods:
            await pod.vanish()


@asynccontextmanager
async def running(
    folder: Path,
    manifests: tuple[Manifest, ...],
    secrets: list[Manifest],
    *,
    programs: dict[str, str] | None = None,
    pace: Pace | None = None,
) -> AsyncIterator[Kubelet]:
    """The manifests' pods, all ready; gone at the end, whatever happens. *programs*: in the image beside the examples."""
    kubelet = Kubelet(folder, manifests, secrets, programs or {}, pace or Pace())
    try:
        await kubelet.start()
        yield kubelet
    except BaseException:
        for pod in kubelet.pods:
            print(
                f"--- {pod.name} ({pod.restarts} restarts, failed: {pod.failed_probes})\n{pod.log.read_text()[-3000:]}"
            )
        raise
    finally:
        await kubelet.close()
