"""A rendered configuration made fit for a test: nothing leaves the machine, all state goes to one folder.

What is under test stays as it was rendered: processors, connectors, and how pipelines join them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from theodore_otel.config.base import Signal
from theodore_otel.render.exporters import Exporter

HOME = "${env:THEODORE_OTEL_HOME}"
"""The folder of a test, as the collector finds it."""
CAPTURES = "captured"
"""Folder in it that takes what the exporters are given."""
CREDENTIALS = "credentials.htpasswd"
DECISION_WAIT = "500ms"
"""How long tail samplers wait in the place of what was configured."""

_FREE = "127.0.0.1:0"
_NOWHERE = "file/nowhere"
_FULL = "file/full."


@dataclass(frozen=True)
class Isolated:
    """A configuration for tests."""

    configuration: dict[str, Any]
    captures: dict[str, Exporter]
    """What each capture file, by its name in the folder, stands in the place of."""


def isolate(rendered: Mapping[str, Any], exporters: Iterable[Exporter]) -> Isolated:
    """Return the configuration with captures in the place of exporters, on free loopback ports.

    `exporters` tells destination and tenant of the rendered ones; any other is its own destination.
    """
    configuration = copy.deepcopy(dict(rendered))
    known = {exporter.id: exporter for exporter in exporters}
    names = {name: _receiver_id(name) for name in configuration["receivers"]}
    configuration["receivers"] = {
        names[name]: _receiver(name, settings) for name, settings in configuration["receivers"].items()
    }
    configuration["exporters"] = {}
    captures: dict[str, Exporter] = {}
    for pipeline_id, pipeline in configuration["service"]["pipelines"].items():
        pipeline["receivers"] = [names.get(name, name) for name in pipeline["receivers"]]
        signal = _type(pipeline_id)
        for place, name in enumerate(pipeline["exporters"]):
            if name in rendered["exporters"]:
                pipeline["exporters"][place] = capture = f"file/{name}/{signal}"
                file = capture.removeprefix("file/").replace("/", "+") + ".jsonl"  # no id can hold a +
                configuration["exporters"][capture] = _file(file)
                captures[file] = known.get(name) or _foreign(name, rendered)
    for name, settings in (configuration.get("extensions") or {}).items():
        _keep_home(name, settings or {})
    for name, settings in configuration["processors"].items():
        if _type(name) == "tail_sampling":
            settings["decision_wait"] = DECISION_WAIT
    # The log tells when it is ready and on which ports it listens.
    configuration["service"]["telemetry"] = {
        "logs": {"level": "info", "encoding": "json"},
        "metrics": {"level": "none"},
    }
    # What goes nowhere, or was no destination's queue's to take, is at no destination.
    return Isolated(configuration, {file: each for file, each in captures.items() if not _is_gone(each.id)})


def _is_gone(exporter: str) -> bool:
    return exporter == _NOWHERE or exporter.startswith(_FULL)


def _file(name: str) -> dict[str, Any]:
    # One for each exporter and signal: two signals of one file exporter share a writer, and the first to end closes it.
    return {"path": f"{HOME}/{CAPTURES}/{name}", "format": "json", "create_directory": True, "flush_interval": "50ms"}


def _foreign(name: str, configuration: Mapping[str, Any]) -> Exporter:
    """Return what an exporter stands for that no destination has: one of collector.extra."""
    pipelines = configuration["service"]["pipelines"].items()
    fed = {_type(each) for each, pipeline in pipelines if name in pipeline["exporters"]}
    return Exporter(name, name, tuple(signal for signal in get_args(Signal) if signal in fed), None)


def _receiver_id(name: str) -> str:
    return name if _type(name) == "otlp" else f"otlp/{name}"


def _receiver(name: str, settings: Any) -> Any:
    """Return an OTLP receiver on free ports and in clear text, or a silent one in the place of any other."""
    if _type(name) != "otlp":
        return {"protocols": {"grpc": {"endpoint": _FREE}}}
    for protocol in settings["protocols"].values():
        protocol["endpoint"] = _FREE
        protocol.pop("tls", None)
    return settings


def _keep_home(name: str, settings: dict[str, Any]) -> None:
    """Have an extension write to the test's folder, read credentials from there, and listen on a free port."""
    if _type(name) == "file_storage":
        settings["directory"] = f"{HOME}/queue"
        settings["create_directory"] = True
        if settings.get("compaction"):
            settings["compaction"]["directory"] = f"{HOME}/queue"
    elif "htpasswd" in settings:
        settings["htpasswd"] = {"file": f"{HOME}/{CREDENTIALS}"}
    if "endpoint" in settings:
        settings["endpoint"] = _FREE


def _type(component: str) -> str:
    return component.partition("/")[0]
