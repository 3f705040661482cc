"""The development stack as it is rendered: what it starts, what it shuts, and what it asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from theodore_otel.config import load, load_text
from theodore_otel.errors import InputError
from theodore_otel.render import docs, render

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/compose"
ONE_SHOTS = {"prepare", "elasticsearch-setup"}
# Why each has to write outside of its volumes stands beside it in the file.
WRITABLE = {"alertmanager", "elasticsearch", "kibana"}
LISTEN = "collector: {listen: {grpc: '0.0.0.0:4317', http: '0.0.0.0:4318', health: '0.0.0.0:13133', telemetry: '0.0.0.0:8888', metrics: '0.0.0.0:8889'}}\n"  # noqa: E501


@cache
def rendered(text):
    return {file.path: file.text for file in render(load_text(text, "theodore-otel.yaml"), "x.yaml", ["compose"])}


def services(text):
    return yaml.safe_load(rendered(text)["docker-compose.yaml"])["services"]


@pytest.fixture(scope="module")
def stack():
    return yaml.safe_load((FOLDER / "docker-compose.yaml").read_text())


@pytest.fixture(scope="module")
def named(stack):
    return stack["services"]


def test_compose_takes_the_file_without_any_setting():
    program = shutil.which("docker-compose", path=Path(sys.executable).parent)
    words = [program, "-f", FOLDER / "docker-compose.yaml", "--profile", "*", "config", "-q"]
    done = subprocess.run(words, env={"PATH": "/nowhere"}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_port_is_published_on_loopback_only(named):
    ports = [port for service in named.values() for port in service.get("ports", [])]
    assert len(ports) >= 10
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+_PORT:-\d+\}:\d+", port) for port in ports)


def test_nobody_is_root_or_can_become_it(named):
    for name, service in named.items():
        user = service["user"].split(":")[0]
        assert user.isdigit(), name
        assert int(user) > 0, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & set(service), name


def test_containers_are_read_only_but_for_those_that_cannot_be(named):
    assert {name for name, service in named.items() if service["read_only"] is not True} == WRITABLE


def test_every_container_has_a_limit_of_memory_and_of_its_log(named):
    for name, service in named.items():
        assert service["mem_limit"], name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name


def test_every_container_that_stays_is_watched(named):
    watched = {name for name, service in named.items() if "healthcheck" in service}
    assert set(named) - watched - ONE_SHOTS == {"collector"}
    assert "http://collector:13133/" in named["collector-health"]["healthcheck"]["test"][-1]


def test_whoever_only_prepares_something_is_waited_for_and_not_started_again(named):
    ends = {"condition": "service_completed_successfully"}
    for name in ONE_SHOTS:
        assert named[name]["restart"] == "no"
        assert named["collector"]["depends_on"][name] == ends
    assert named["theodore"]["depends_on"]["collector-health"] == {"condition": "service_healthy"}


def test_what_is_mounted_is_rendered_and_what_is_stored_has_a_volume(stack, named):
    volumes = [volume.split(":")[0] for service in named.values() for volume in service.get("volumes", [])]
    assert all((FOLDER / volume).exists() for volume in volumes if volume.startswith("."))
    assert {volume for volume in volumes if not volume.startswith(".")} == set(stack["volumes"])
    mounted = [v for service in named.values() for v in service.get("volumes", []) if v.startswith(".")]
    assert all(volume.endswith(":ro") for volume in mounted)


def test_every_variable_is_explained_and_every_explained_one_is_used():
    used = set(re.findall(r"\$\{([A-Z_]+)", (FOLDER / "docker-compose.yaml").read_text()))
    assert used == set(re.findall(r"^#([A-Z_]+)=", (FOLDER / ".env.example").read_text(), re.MULTILINE))


def test_defaults_are_the_same_in_both_files():
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", (FOLDER / "docker-compose.yaml").read_text()))
    told = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (FOLDER / ".env.example").read_text(), re.MULTILINE))
    secret = set(load(FOLDER / "theodore-otel.yaml").alerting.secret_names())
    assert {name: value for name, value in told.items() if name not in secret} == {
        name: value for name, value in used.items() if name not in secret
    }


def test_the_collector_of_the_stack_observes_the_sample():
    watched = yaml.safe_load((ROOT / "tests/sample_app/watch.yaml").read_text())
    told = yaml.safe_load((FOLDER / "theodore-otel.yaml").read_text())["instrument"]
    assert {key: told[key] for key in watched} == watched


def test_a_server_that_no_destination_names_is_left_out():
    assert set(services(LISTEN)) == {"prepare", "collector", "collector-health"}
    jaeger = services(LISTEN + "destinations: {traces: {type: jaeger, endpoint: 'jaeger:4317'}}")
    assert "jaeger" in jaeger
    assert set(jaeger["collector"]["depends_on"]) == {"prepare", "jaeger"}
    assert jaeger["grafana"]["depends_on"] == {"jaeger": {"condition": "service_healthy"}}
    elsewhere = services(LISTEN + "destinations: {traces: {type: jaeger, endpoint: 'jaeger.example.com:4317'}}")
    assert "jaeger" not in elsewhere


def test_secrets_are_handed_over_by_name():
    more = "destinations: {nr: {type: newrelic, license_key: {env: NR_KEY}}}"
    for name in ("prepare", "collector"):
        assert services(LISTEN + more)[name]["environment"]["NR_KEY"] is None
    assert "#NR_KEY=\n" in rendered(LISTEN + more)[".env.example"]


def test_a_secret_in_a_file_is_refused_because_the_container_has_no_such_file():
    with pytest.raises(InputError, match=r"file /run/key: expected secrets such as \{env: NAME\}"):
        rendered(LISTEN + "destinations: {nr: {type: newrelic, license_key: {file: /run/key}}}")


def test_a_listener_that_nobody_would_reach_is_refused():
    with pytest.raises(InputError, match=r"collector.listen.http: expected 0.0.0.0:4318.*got 127.0.0.1:4318"):
        rendered(LISTEN.replace("0.0.0.0:4318", "127.0.0.1:4318"))


def test_a_container_is_made_anew_when_what_it_reads_has_changed():
    def label(text):
        return services(text)["collector"]["labels"]["theodore-otel.made-from"]

    assert label(LISTEN) == label(LISTEN)
    assert label(LISTEN) != label(LISTEN + "logging: {sampling: {INFO: 0.5}}")


def test_the_environment_of_aws_is_handed_to_what_uses_it():
    bucket = services(LISTEN + "destinations: {cold: {type: s3, bucket: logs, region: eu-central-1}}")
    assert bucket["collector"]["environment"]["AWS_SECRET_ACCESS_KEY"] is None
    texts = services(
        LISTEN
        + "destinations: {prometheus: {type: prometheus, endpoint: 'http://prometheus:9090'}}\n"
        + "alerting: {channels: {phone: {type: sms, to: ['+4915112345678'], region: eu-central-1}}}"
    )
    assert texts["alertmanager"]["environment"]["AWS_SECRET_ACCESS_KEY"] is None
    assert "AWS_SECRET_ACCESS_KEY" not in texts["collector"]["environment"]


def test_the_page_and_the_picture_name_every_service_and_port(named):
    page = (ROOT / "docs/stack.md").read_text()
    picture = (ROOT / "docs/images/stack.svg").read_text()
    for name, service in named.items():
        assert f"| `{name}`" in page, name
        assert f">{name}<" in picture.replace("&#45;", "-") or name == "collector-health", name
        for port in service.get("ports", []):
            variable, default = re.search(r"\{([A-Z_]+):-(\d+)\}", port).groups()
            assert f"`{variable}`" in page
            assert f":{default}" in page
            assert f":{default}" in picture


def test_every_destination_of_the_page_can_be_switched_on():
    page = (ROOT / "docs/stack.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| `(\w+: \{type: .*?\}+)` \| ([^|]*)\|$", page, re.MULTILINE)
    kinds = set()
    for row, secrets in rows:
        rendered_for = rendered(f"{LISTEN}destinations: {{{row}}}")
        (destination,) = yaml.safe_load(row).values()
        kinds.add(destination["type"])
        asked = re.search(r"\{env: (\w+)\}", row)
        if asked:
            assert f"`{asked[1]}`" in secrets
            assert f"#{asked[1]}=" in rendered_for[".env.example"]
    assert kinds == set(docs.types()) - {"local"}


def test_the_images_are_built_from_what_the_checkout_has_and_docker_is_given(named):
    text = (FOLDER / "Dockerfile").read_text()
    copied = [
        source for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for source in line.split()[:-1]
    ]
    given = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert set(copied) == given
    assert all((ROOT / source).exists() for source in copied)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    for service in named.values():
        if "build" in service:
            assert service["build"]["target"] in stages
            assert service["image"].startswith(service["build"]["target"] + ":")
            assert service["pull_policy"] == "never"


def test_without_a_service_there_is_no_sample_and_nothing_is_handed_out():
    text = rendered(LISTEN + "tenants: {identify_by: none, services: {api: {may_report: [acme]}}}")[
        "docker-compose.yaml"
    ]
    assert "theodore-sample" not in text
    assert "--credential" not in text
    assert set(yaml.safe_load(text)["volumes"]) == {"state"}
