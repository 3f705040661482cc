"""How the stack runs: its containers, ports, health, and what was set up in it."""

from __future__ import annotations

import pytest
import yaml
from e2e.stack import engine
from support.collector import wait_for

FOLDER = engine.COMPOSE_FILE.parent
CONFIGURATION = yaml.safe_load((FOLDER / "theodore-otel.yaml").read_text(encoding="utf-8"))


def test_no_process_in_any_container_is_roots(stack, project):
    containers = project.containers()
    assert {"collector", "jaeger", "prometheus", "alertmanager", "elasticsearch"} <= {
        each.labels["com.docker.compose.service"] for each in containers
    }
    for container in containers:
        said = container.top(ps_args="-eo uid,pid,args")
        users = {row[said["Titles"].index("UID")] for row in said["Processes"]}
        assert users, container.name
        assert "0" not in users, said


def test_every_port_is_published_on_loopback_only(stack, project):
    published = [
        (container.name, binding["HostIp"])
        for container in project.containers()
        for bindings in container.ports.values()
        for binding in bindings or []
    ]
    assert len(published) >= 7
    assert {address for _, address in published} == {"127.0.0.1"}


def test_every_container_has_a_limit_of_memory_and_no_more_privileges(stack, project):
    for container in project.containers():
        host = container.attrs["HostConfig"]
        assert host["Memory"] > 0, container.name
        assert host["Privileged"] is False
        if container.labels["com.docker.compose.service"] != "webhook":
            assert host["CapDrop"] == ["ALL"], container.name


def test_everything_watched_is_well(stack):
    """What the configuration names, and what is watched without being named."""
    named = {target["name"] for target in CONFIGURATION["health"]["targets"]}

    def seen() -> dict[str, str]:
        return {each["metric"]["target"]: each["value"][1] for each in stack.servers.query("theodore_health_up")}

    wait_for(lambda: set(seen().values()) == {"1"}, 60, seen)
    assert seen().keys() == named | {"collector", "prometheus", "elasticsearch"}


def test_what_is_watched_and_does_not_answer_is_down(stack, composed):
    def alertmanager():
        return stack.servers.values('theodore_health_up{target="alertmanager"}')

    wait_for(lambda: alertmanager() == [1.0], 60, alertmanager)
    composed("pause", "alertmanager")
    try:
        wait_for(lambda: alertmanager() == [0.0], 90, alertmanager)
    finally:
        composed("unpause", "alertmanager")
    wait_for(lambda: alertmanager() == [1.0], 90, alertmanager)


def test_prometheus_reaches_everything_it_scrapes_and_alertmanager(stack):
    def targets():
        found = stack.servers.get("prometheus", "/api/v1/targets")["data"]["activeTargets"]
        return {target["labels"]["job"]: (target["health"], target["lastError"]) for target in found}

    wait_for(lambda: all(health == "up" for health, _ in targets().values()), 60, targets)
    assert {"otelcol", "prometheus", "alertmanager"} <= targets().keys()
    assert stack.servers.get("prometheus", "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]


@pytest.mark.parametrize("kind", ["component_template", "index_template"])
def test_every_template_is_in_elasticsearch(stack, kind):
    wanted = {file.stem for file in (FOLDER / f"elasticsearch/{kind}s").glob("*.json")}
    if not stack.servers.has_lifecycles():
        wanted = {name for name in wanted if "lifecycle" not in name}
    assert wanted
    there = {each["name"] for each in stack.servers.get("elasticsearch", f"/_{kind}")[f"{kind}s"]}
    assert wanted <= there
