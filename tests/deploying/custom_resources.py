"""The custom resources that deploy/ uses, as closed shapes: a field that is not here is refused, as by a strict API server.

Written from the documents of KEDA (keda.sh/v1alpha1) and of the Prometheus operator (monitoring.coreos.com/v1), and narrower
than their definitions: only what we use. No package for Python carries those definitions as schemas. Those for node do
(npm: @kubernetes-models/keda 0.4.2, @kubernetes-models/prometheus-operator 6.0.0): tried by hand, ours were valid by them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Shape):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    namespace: str
    labels: dict[str, str] = {}


Duration = Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h|d|w|y))+$")]


# --- KEDA --------------------------------------------------------------------------------------------------------------


class ScaleTarget(Shape):
    name: str
    apiVersion: str = "apps/v1"
    kind: str = "Deployment"


class PrometheusTrigger(Shape):
    type: Literal["prometheus"]
    metricType: Literal["AverageValue", "Value"] = "AverageValue"
    metadata: dict[Literal["serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues"], str]


class HpaConfig(Shape):
    behavior: dict[str, Any]  # of autoscaling/v2, which the HPA of our own is validated for


class Advanced(Shape):
    horizontalPodAutoscalerConfig: HpaConfig


class ScaledObjectSpec(Shape):
    scaleTargetRef: ScaleTarget
    minReplicaCount: Annotated[int, Field(ge=0)] = 0
    maxReplicaCount: Annotated[int, Field(ge=1)] = 100
    pollingInterval: Annotated[int, Field(ge=1)] = 30
    triggers: Annotated[list[PrometheusTrigger], Field(min_length=1)]
    advanced: Advanced


class ScaledObject(Shape):
    apiVersion: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: Metadata
    spec: ScaledObjectSpec


# --- Prometheus operator -----------------------------------------------------------------------------------------------


class Selector(Shape):
    matchLabels: dict[str, str]


class Endpoint(Shape):
    port: str
    path: str = "/metrics"
    interval: Duration = "30s"


class PodMonitorSpec(Shape):
    selector: Selector
    podMetricsEndpoints: Annotated[list[Endpoint], Field(min_length=1)]
    podTargetLabels: list[str] = []


class PodMonitor(Shape):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: Metadata
    spec: PodMonitorSpec


class ServiceMonitorSpec(Shape):
    selector: Selector
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]


class ServiceMonitor(Shape):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: ServiceMonitorSpec


class Rule(Shape):
    record: str | None = None
    alert: str | None = None
    expr: str
    for_: Duration | None = Field(default=None, alias="for")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class RuleGroup(Shape):
    name: str
    interval: Duration | None = None
    rules: Annotated[list[Rule], Field(min_length=1)]


class Rules(Shape):
    groups: Annotated[list[RuleGroup], Field(min_length=1)]


class PrometheusRule(Shape):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: Rules


KINDS: dict[str, type[Shape]] = {
    "ScaledObject": ScaledObject,
    "PodMonitor": PodMonitor,
    "ServiceMonitor": ServiceMonitor,
    "PrometheusRule": PrometheusRule,
}
