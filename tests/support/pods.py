"""The real collector with the configuration that the chart mounts into a pod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support import chart
from support.collector import Collector
from theodore_otel.config import load_text
from theodore_otel.config.merge import merge
from theodore_otel.render import render


def values_of(text: str) -> chart.Values:
    """Return what `theodore-otel render helm` gives the chart."""
    (file, *_) = render(load_text(text, "test.yaml"), "test.yaml", ["helm"])
    return chart.Values.model_validate(yaml.safe_load(file.text))


@contextmanager
def replica(name: str, folder: Path, configuration: Mapping[str, Any], owners: Sequence[str]) -> Iterator[Collector]:
    """Run a collector as the pod of this name does, but on loopback and with its volume and Secret below `folder`."""
    pod = Collector(folder, configuration, owners, {"THEODORE_OTEL_INSTANCE": name})
    secret = {"tenants": {"credentials_file": f"{pod.home}/credentials.htpasswd"}}
    mounted = chart.mounted(values_of(yaml.safe_dump(merge(pod.configuration, secret))))
    pod.config_file.write_text(mounted.replace("0.0.0.0:", "127.0.0.1:"))
    pod.start()
    try:
        yield pod
    finally:
        pod.stop()
