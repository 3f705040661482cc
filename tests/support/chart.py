"""The chart opentelemetry-collector 0.142.0, as far as values.yaml uses it: its keys, and what it makes of them."""

# ruff: noqa: N815  keys are spelt as the chart spells them

from __future__ import annotations

import re
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

CHART = "opentelemetry-collector"
Mapping = dict[str, Any]


class Keys(BaseModel):
    """A mapping of the values: a key that is not known here is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Autoscaling(Keys):
    enabled: bool
    minReplicas: int
    maxReplicas: int
    targetCPUUtilizationPercentage: int
    behavior: Mapping


class Image(Keys):
    repository: str
    tag: str


class Command(Keys):
    name: str


class ServiceAccount(Keys):
    create: bool
    automountServiceAccountToken: bool


class StatefulSet(Keys):
    podManagementPolicy: Literal["Parallel", "OrderedReady"]
    volumeClaimTemplates: list[Mapping]


class HttpGet(Keys):
    port: int
    path: str


class Probe(Keys):
    periodSeconds: int
    timeoutSeconds: int
    failureThreshold: int
    httpGet: HttpGet


class Port(Keys):
    enabled: bool
    containerPort: int | None = None
    servicePort: int | None = None
    protocol: Literal["TCP", "UDP"] | None = None
    appProtocol: str | None = None


class Service(Keys):
    enabled: bool


class Monitor(Keys):
    enabled: bool
    metricsEndpoints: list[Mapping]


class PrometheusRule(Keys):
    enabled: bool
    groups: list[Mapping]


class Values(Keys):
    """Every key of the chart that values.yaml may have."""

    nameOverride: str
    fullnameOverride: str
    mode: Literal["deployment", "statefulset", "daemonset"]
    replicaCount: int
    autoscaling: Autoscaling
    image: Image
    command: Command
    podSecurityContext: Mapping
    securityContext: Mapping
    serviceAccount: ServiceAccount
    resources: Mapping
    useGOMEMLIMIT: bool
    extraEnvs: list[Mapping]
    statefulset: StatefulSet
    extraVolumes: list[Mapping]
    extraVolumeMounts: list[Mapping]
    startupProbe: Probe
    livenessProbe: Probe
    readinessProbe: Probe
    topologySpreadConstraints: list[Mapping]
    ports: dict[str, Port]
    podMonitor: Monitor
    prometheusRule: PrometheusRule | None = None
    service: Service
    extraManifests: list[Mapping]
    alternateConfig: Mapping


def manifests(values: Values, release: str = "observed", namespace: str = "observability") -> list[Mapping]:
    """Return what the chart makes of the values, without what an operator's own types would need."""
    known = {"Release.Name": release, "Release.Namespace": namespace, "Release.Service": "Helm"}
    extra = [yaml.safe_load(filled(yaml.safe_dump(each), known)) for each in values.extraManifests]
    return [_config_map(values), _stateful_set(values, release), *_autoscaler(values), *extra]


def mounted(values: Values) -> str:
    """Return the collector's configuration as the chart mounts it: nothing merged, templates in it filled in."""
    return filled(yaml.safe_dump(values.alternateConfig, allow_unicode=True, width=10**6), {})


def filled(text: str, known: dict[str, str]) -> str:
    """Fill in templates as the chart does; anything but a known name and a raw text is refused, as by an older Helm."""

    def fill(action: re.Match[str]) -> str:
        said = action[1].strip()
        if len(said) > 1 and said[0] == said[-1] == "`":
            return said[1:-1]
        return known[said.removeprefix(".")]

    return re.sub(r"\{\{(.*?)\}\}", fill, text, flags=re.DOTALL)


def _metadata(values: Values) -> Mapping:
    return {"name": values.fullnameOverride, "namespace": "observability"}


def _config_map(values: Values) -> Mapping:
    metadata = {"name": f"{values.fullnameOverride}-statefulset", "namespace": "observability"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"relay": mounted(values)}}


def _autoscaler(values: Values) -> list[Mapping]:
    wanted = values.autoscaling
    if not wanted.enabled:
        return []
    target = {"type": "Utilization", "averageUtilization": wanted.targetCPUUtilizationPercentage}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": values.fullnameOverride},
        "minReplicas": wanted.minReplicas,
        "maxReplicas": wanted.maxReplicas,
        "behavior": wanted.behavior,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return [
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": _metadata(values), "spec": spec}
    ]


def _stateful_set(values: Values, release: str) -> Mapping:
    labels = {
        "app.kubernetes.io/name": values.nameOverride,
        "app.kubernetes.io/instance": release,
        "component": "statefulset-collector",
    }
    spec = {
        "serviceName": values.fullnameOverride,
        "podManagementPolicy": values.statefulset.podManagementPolicy,
        **({} if values.autoscaling.enabled else {"replicas": values.replicaCount}),
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate"},
        "template": {"metadata": {"labels": labels}, "spec": _pod(values)},
        "volumeClaimTemplates": values.statefulset.volumeClaimTemplates,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": _metadata(values), "spec": spec}


def _pod(values: Values) -> Mapping:
    configuration = f"{CHART}-configmap"
    relay = {"name": f"{values.fullnameOverride}-statefulset", "items": [{"key": "relay", "path": "relay.yaml"}]}
    container = {
        "name": CHART,
        "command": [f"/{values.command.name}"],
        "args": ["--config=/conf/relay.yaml"],
        "securityContext": values.securityContext,
        "image": f"{values.image.repository}:{values.image.tag}",
        "imagePullPolicy": "IfNotPresent",
        "ports": [
            {"name": name, "containerPort": port.containerPort, "protocol": port.protocol}
            for name, port in sorted(values.ports.items())
            if port.enabled
        ],
        "env": [
            {"name": "MY_POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
            *values.extraEnvs,
        ],
        "livenessProbe": values.livenessProbe.model_dump(),
        "readinessProbe": values.readinessProbe.model_dump(),
        "startupProbe": values.startupProbe.model_dump(),
        "resources": values.resources,
        "volumeMounts": [{"mountPath": "/conf", "name": configuration}, *values.extraVolumeMounts],
    }
    return {
        "serviceAccountName": values.fullnameOverride,
        "automountServiceAccountToken": values.serviceAccount.automountServiceAccountToken,
        "securityContext": values.podSecurityContext,
        "containers": [container],
        "volumes": [{"name": configuration, "configMap": relay}, *values.extraVolumes],
        "topologySpreadConstraints": values.topologySpreadConstraints,
        "hostNetwork": False,
    }
