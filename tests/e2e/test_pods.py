"""Theodore as the manifests start it: command, variables and files of its pod, the collector as the chart starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sample_theodore import standins
from support.collector import wait_for
from support.pods import replica

from theodore_otel.config import load_text
from theodore_otel.conventions import names
from theodore_otel.render import render

BIN = Path(sys.executable).parent
CONFIGURATION = {
    "profile": "local",
    "instrument": yaml.safe_load((Path(__file__).parents[1] / "sample_app/watch.yaml").read_text()),
}


@pytest.fixture(scope="module")
def pod(tmp_path_factory):
    with replica("theodore-otel-0", tmp_path_factory.mktemp("pod"), CONFIGURATION, ["acme"]) as running:
        yield running


def mounted(pod, folder: Path, kind: str) -> tuple[list[str], dict[str, str]]:
    """Lay out a pod's files below a folder; return its command and variables, whose paths lead there."""
    rendered = {
        file.path: file.text for file in render(load_text(yaml.safe_dump(pod.configuration), "t"), "t", ["helm"])
    }
    manifest = next(
        each for each in yaml.safe_load_all(rendered[f"theodore/{kind.lower()}.yaml"]) if each["kind"] == kind
    )
    template = (manifest["spec"]["jobTemplate"] if kind == "CronJob" else manifest)["spec"]
    (container,) = (template["template"]["spec"] if "template" in template else template["spec"])["containers"]
    settings = yaml.safe_load(rendered["theodore/configmap.yaml"])["data"]["instrument.json"]
    service = f"http://theodore-otel.observability:{pod.ports['http']}"
    assert settings.count(service) == 1
    volumes = {
        "instrument": {"instrument.json": settings.replace(service, f"http://127.0.0.1:{pod.ports['http']}")},
        "secret-0": {"credential": f"acme.1:{pod.tokens['acme.1']}\n"},
    }
    for mount in container["volumeMounts"]:
        place = folder / mount["mountPath"].lstrip("/")
        place.mkdir(parents=True)
        for name, text in volumes.get(mount["name"], {}).items():
            (place / name).write_text(text)
    variables = {each["name"]: each["value"] for each in container["env"]}
    return container["command"], {
        name: f"{folder}{value}" if value.startswith("/") else value for name, value in variables.items()
    }


@pytest.mark.parametrize("kind", ["CronJob", "Deployment"])
def test_theodore_reports_with_what_its_pod_is_given(pod, tmp_path, kind):
    command, variables = mounted(pod, tmp_path, kind)
    company = f"{kind} Rockets"
    assert command[:2] == ["opentelemetry-instrument", "theodore"]
    with standins.running(delay=0) as sites:
        environment = {**sites.environment, "THEODORE_DATA": str(tmp_path / "data"), "HOME": str(tmp_path)}
        done = subprocess.run(
            [BIN / command[0], command[1], "research", company, "--tenant", "acme"],
            env={**environment, **variables, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "theodore-otel:" not in done.stderr

    def researched():
        return [resource for resource, span in pod.spans() if span["attributes"].get(names.COMPANY_NAME) == company]

    assert {each["tenant.id"] for each in wait_for(researched, otherwise=lambda: done.stderr + pod.said())} == {"acme"}
