"""The development stack, up once for all tests here; what is printed at the end was measured on it."""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from e2e.stack import engine
from e2e.stack.servers import Servers
from e2e.stack.stack import Stack
from images.fixtures import stack_images
from pytest_docker.plugin import Services, get_docker_services
from sample_theodore import standins
from support.collector import Client
from support.ports import free_ports

from theodore_otel import __version__

__all__ = ["stack_images"]

HERE = Path(__file__).parent
TENANTS = ("acme", "globex", "twenty")
SERVERS = ("jaeger", "prometheus", "alertmanager", "elasticsearch")
_PUBLISHED = {
    "grpc": "OTLP_GRPC_PORT",
    "http": "OTLP_HTTP_PORT",
    "health": "HEALTH_PORT",
    "theodore": "THEODORE_PORT",
    "webhook": "WEBHOOK_PORT",
    **{server: f"{server.upper()}_PORT" for server in SERVERS},
}


@dataclass
class Measured:
    """What is told at the end."""

    first_trace: float | None = None
    """Seconds from the start of `up` to the first trace in Jaeger."""
    alert: float | None = None
    """Seconds from the call that logs a critical record to the alert in Alertmanager."""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes of each service's container once all tests have run."""
    nothing_left: bool = False
    tests: int = 0
    assertions: int = 0


MEASURED = Measured()


@pytest.fixture(scope="session")
def docker_compose_command() -> str:
    return engine.compose_command()


@pytest.fixture(scope="session")
def docker_compose_file() -> list[str]:
    return [str(engine.COMPOSE_FILE), str(HERE / "override.yaml")]


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return f"theodore-e2e-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["down -v --timeout 5"]


@pytest.fixture(scope="session")
def docker_setup(prepared: dict[str, str]) -> list[str]:
    """Bring everything up; `prepared` because credentials are made before."""
    return ["up --detach --wait --wait-timeout 400"]


@pytest.fixture(scope="session")
def ports() -> Iterator[dict[str, int]]:
    """Let the stack publish free ports, and tell alerts to somebody of ours."""
    chosen = dict(zip(_PUBLISHED, free_ports(len(_PUBLISHED)), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        for name, variable in _PUBLISHED.items():
            patch.setenv(variable, str(chosen[name]))
        patch.setenv("COMPOSE_PROFILES", "demo")
        patch.setenv("COMPOSE_PROGRESS", "quiet")
        patch.setenv("ALERT_WEBHOOK_URL", "http://webhook:8080/")
        # The open Elasticsearch in the stand-in image has no lifecycle.
        patch.setenv("ELASTICSEARCH_APPLY_OPTIONS", "--allow-missing lifecycle")
        # For the services that are added.
        patch.setenv("THEODORE_OTEL_VERSION", __version__)
        patch.setenv("E2E_FOLDER", str(HERE))
        yield chosen


@pytest.fixture(scope="session")
def project(
    stack_images: dict[str, str],
    docker_compose_command: str,
    docker_compose_file: list[str],
    docker_compose_project_name: str,
    ports: dict[str, int],
) -> Iterator[engine.Project]:
    """The project on the engine. When all is over nothing of it is left, also when it never came up."""
    found = engine.Project(docker_compose_project_name)
    assert found.left() == []
    yield found
    left = found.left()
    if left:
        compose(docker_compose_command, docker_compose_file, found.name, "down", "-v", "--timeout", "5")
    if MEASURED.first_trace is not None:
        assert left == [], "`down -v` left this"
        MEASURED.nothing_left = True


def compose(command: str, files: list[str], name: str, *arguments: str) -> str:
    """Run one compose command and return what it printed."""
    named = [word for file in files for word in ("-f", file)]
    done = subprocess.run(
        [*shlex.split(command), *named, "-p", name, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def composed(project, docker_compose_command, docker_compose_file):
    """Return what runs compose commands on the project."""
    return lambda *arguments: compose(docker_compose_command, docker_compose_file, project.name, *arguments)


@pytest.fixture(scope="session")
def prepared(composed) -> dict[str, str]:
    """Make a credential for each tenant, as an operator does; return their tokens."""
    tokens = {}
    for tenant in TENANTS:
        said = composed("run", "--rm", "-T", "prepare", "tenant", "add", tenant)
        name, _, token = said.strip().partition("=")[2].partition(":")
        tokens[name] = token
    return tokens


@pytest.fixture(scope="session")
def docker_services(
    docker_compose_command: str,
    docker_compose_file: list[str],
    docker_compose_project_name: str,
    docker_setup: list[str],
    docker_cleanup: list[str],
    project: engine.Project,
) -> Iterator[Services]:
    """As pytest-docker's, and it says why when the stack does not come up."""
    given = (docker_compose_command, docker_compose_file, docker_compose_project_name, docker_setup, docker_cleanup)
    with ExitStack() as entered:
        try:
            services = entered.enter_context(get_docker_services(*given))
        except Exception as error:
            error.add_note(project.said_by_ill())
            raise
        yield services


@pytest.fixture(scope="session")
def measured() -> Measured:
    return MEASURED


@pytest.fixture(scope="session")
def started() -> float:
    """When the stack was asked to come up."""
    return time.monotonic()


@pytest.fixture(scope="session")
def stack(prepared, started, docker_services, project, ports, tmp_path_factory) -> Iterator[Stack]:
    """The whole stack, up, with a first trace in it."""
    (file,) = project.files("theodore", "/run/theodore/credential").values()
    name, _, token = file.decode().strip().partition(":")
    folder = tmp_path_factory.mktemp("stack")
    with standins.running(delay=0.2) as sites:
        made = Stack(
            servers=Servers({server: ports[server] for server in SERVERS}),
            client=Client(ports, {**prepared, name: token}),
            sites=sites,
            folder=folder,
            service=f"http://127.0.0.1:{ports['theodore']}",
            settings=_patient_settings(folder),
        )
        made.theodore("acme.1", "research", "First Ones", "--tenant", "acme")
        made.servers.trace("First Ones")
        MEASURED.first_trace = time.monotonic() - started
        yield made
    MEASURED.memory = project.memory()


def _patient_settings(folder: Path) -> Path:
    """Return the stack's settings for Theodore, with more than a second for its end: many run at once here."""
    settings = json.loads((engine.COMPOSE_FILE.parent / "instrument.json").read_text(encoding="utf-8"))
    file = folder / "instrument.json"
    file.write_text(json.dumps({**settings, "exit_budget": 60}), encoding="utf-8")
    return file


def pytest_assertion_pass(item: pytest.Item, lineno: int, orig: str, expl: str) -> None:
    MEASURED.assertions += 1


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and "e2e/stack/" in report.nodeid:
        MEASURED.tests += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not MEASURED.tests:
        return
    tell = terminalreporter.write_line
    terminalreporter.section("development stack")
    tell(f"{MEASURED.tests} tests with {MEASURED.assertions} assertions on the real servers")
    if MEASURED.first_trace is not None:
        tell(f"from up to the first trace visible in Jaeger: {MEASURED.first_trace:.1f} s")
    if MEASURED.alert is not None:
        tell(f"from a critical record to the alert in Alertmanager: {MEASURED.alert:.1f} s")
    if MEASURED.memory:
        single = ", ".join(f"{name} {size >> 20}" for name, size in sorted(MEASURED.memory.items()))
        tell(f"memory of all containers: {sum(MEASURED.memory.values()) >> 20} MiB ({single})")
    tell("down -v left nothing" if MEASURED.nothing_left else "down -v LEFT SOMETHING, or the stack never was there")
