"""Render what runs in Kubernetes: values of the upstream collector's chart, and manifests for Theodore's pods."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from theodore_otel.config.base import Secret
from theodore_otel.config.model import Config
from theodore_otel.config.units import format_size
from theodore_otel.errors import InputError
from theodore_otel.render import collector, prometheus
from theodore_otel.render.exporters import listeners
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.filters import host, port
from theodore_otel.render.instrument import render_instrument
from theodore_otel.render.lanes import queues
from theodore_otel.render.memory import go_environment
from theodore_otel.render.pods import STATE, Wanted
from theodore_otel.render.references import references, strings
from theodore_otel.render.templates import environment

CHART_VERSION = "0.142.0"
_INSTANCE = "THEODORE_OTEL_INSTANCE"
_CREDENTIALS = "/etc/theodore-otel/credentials/credentials.htpasswd"
_CREDENTIAL = "/run/secrets/theodore-otel/credential"
# Keys of collector.listen, and the names of their ports in the pod.
_PORTS = {"grpc": "otlp", "http": "otlp-http", "telemetry": "metrics", "metrics": "theodore", "health": "health"}
# Set by the chart or by us; every other variable that the configuration refers to is a secret.
_GIVEN = {"THEODORE_OTEL_HOME", "MY_POD_IP", "GOMEMLIMIT", "GOGC", _INSTANCE}
# The limiter counts the heap alone: what Go and the system need besides comes on top.
_ROOM_IN_MEMORY = 1.25
# Not every queue is full at once, and its file then as large as it can be (lanes.ROOM_ON_DISK).
_ROOM_ON_DISK = 1.25


def render(config: Config, header: str) -> list[RenderedFile]:
    """Return values.yaml and theodore/*.yaml.

    Raises:
        InputError: when the pod could not be given a file, or its volume is smaller than what has to fit in.
    """
    _check_storage(config)
    _check_folders(config)
    own = _in_pod(config)
    (rendered,) = collector.render(own, "# Given whole: the chart merges nothing into it.", f"${{env:{_INSTANCE}}}")
    pod = {
        **_collector_needs(config, rendered.text),
        "config": own,
        "collector": rendered.text,
        "rules": _rules(config),
    }
    theodore = {**_theodore_needs(config), "config": own, "instrument": _instrument(own)}
    return [
        _file("values.yaml", header, pod),
        *(_file(f"theodore/{name}.yaml", header, theodore) for name in ("configmap", "deployment", "cronjob")),
    ]


def _file(path: str, header: str, variables: dict[str, Any]) -> RenderedFile:
    template = environment().get_template(f"helm/{path}.j2")
    return RenderedFile(path, template.render(header=header, chart_version=CHART_VERSION, state=STATE, **variables))


def _in_pod(config: Config) -> Config:
    """Return the configuration with what is different in a pod: nobody reaches its loopback, and its folders."""
    listen = config.collector.listen
    reachable = {name: _reachable(getattr(listen, name)) for name in type(listen).model_fields}
    own = config.collector.model_copy(update={"listen": listen.model_copy(update=reachable)})
    tenants = config.tenants.model_copy(update={"credentials_file": config.tenants.credentials_file or _CREDENTIALS})
    scheme = "https" if own.tls and own.tls.enabled else "http"
    service = f"{scheme}://{config.helm.name}.{config.helm.namespace}:{port(listen.http)}"
    instrument = config.instrument.model_copy(update={"endpoint": config.instrument.endpoint or service})
    return config.model_copy(update={"collector": own, "tenants": tenants, "instrument": instrument})


def _reachable(listen: str) -> str:
    return f"0.0.0.0:{port(listen)}" if host(listen) in ("127.0.0.1", "localhost", "::1") else listen


def _instrument(config: Config) -> str:
    return render_instrument(config).rstrip("\n")


def _rules(config: Config) -> str:
    """Return the alert rules for the operator; empty without one."""
    if not config.helm.prometheus_operator:
        return ""
    rules, _ = prometheus.render(config, "")
    return rules.text[rules.text.index("groups:") :].rstrip("\n") + "\n"


def _collector_needs(config: Config, text: str) -> dict[str, Any]:
    """Return what the collector's pod is given besides its configuration."""
    secrets = config.helm.secrets
    named = references(text)
    of_credentials = config.tenants.credentials_file or _CREDENTIALS
    folders = {of_credentials.rpartition("/")[0]: secrets.credentials, **secrets.folders}
    files = Wanted(lambda folder: folders.get(folder, secrets.destinations))
    files.add(each.name for each in named if each.kind == "file").add(_files(text))
    memory = math.ceil(config.collector.memory * _ROOM_IN_MEMORY / 2**20)
    return {
        "variables": {"THEODORE_OTEL_HOME": STATE, **go_environment(config)},
        "instance": _INSTANCE,
        "secret_variables": {
            each.name: each.has_default for each in named if each.kind == "env" and each.name not in _GIVEN
        },
        "mounts": files.mounts(),
        "memory": {"asked": quantity(config.collector.memory), "most": f"{memory}Mi"},
        "storage": quantity(config.helm.storage.size),
        "ports": _ports(config),
    }


def _theodore_needs(config: Config) -> dict[str, Any]:
    """Return what Theodore's pods are given: the credential, and the keys that instrument.json refers to."""
    secret = config.helm.secrets.theodore
    known = list(_secrets(config.instrument))
    files = Wanted(lambda _: secret).add(each.file for each in known if each.file)
    if config.tenants.identify_by == "basic":
        files.add([_CREDENTIAL])
    return {
        "credential": _CREDENTIAL if config.tenants.identify_by == "basic" else None,
        "secret_variables": dict.fromkeys((each.env for each in known if each.env), False),
        "mounts": files.mounts(),
    }


def _ports(config: Config) -> dict[str, int]:
    """Return the ports by the names they have in the pod; `theodore` is where Prometheus finds Theodore's metrics."""
    used = listeners(config)
    return {name: int(port(used[key])) for key, name in _PORTS.items() if key in used}


def _files(text: str) -> list[str]:
    """Return the files that a collector configuration names, such as certificates."""
    found = strings(yaml.safe_load(text), ())
    return [value for path, value in found if str(path[-1]).endswith("_file") or path[-2:] == ("htpasswd", "file")]


def _secrets(section: BaseModel) -> Iterator[Secret]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Secret):
            yield value
        elif isinstance(value, BaseModel):
            yield from _secrets(value)


def _check_storage(config: Config) -> None:
    count = len(queues(config))
    needed = math.ceil(count * config.collector.queue.size * _ROOM_ON_DISK / 2**20) * 2**20
    if needed > config.helm.storage.size:
        raise InputError(
            f"helm.storage.size: expected {format_size(needed)} or more for {count} queues of up to "
            f"{format_size(config.collector.queue.size)} each (collector.queue.size), "
            f"got {format_size(config.helm.storage.size)}"
        )


def _check_folders(config: Config) -> None:
    """Refuse folders that the collector could not write in: its root file system is read-only."""
    written = {"collector.queue.directory": config.collector.queue.directory}
    for name, destination in config.destinations.items():
        if destination.type == "file":
            written[f"destinations.{name}.directory"] = destination.directory
    for key, folder in written.items():
        if folder and not folder.startswith(f"{STATE}/"):
            raise InputError(f"{key}: expected a folder below {STATE}, which alone can be written in, got {folder!r}")


def quantity(size: int) -> str:
    """Return bytes as Kubernetes writes them."""
    return format_size(size).removesuffix("B")
