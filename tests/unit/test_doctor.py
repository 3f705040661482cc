"""`theodore-otel doctor`: each check says what it found and what to do, and never a secret."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from theodore_otel.cli.doctor import command
from theodore_otel.config.loader import load_layers
from theodore_otel.config.source import parse
from theodore_otel.config.units import parse_size
from theodore_otel.doctor import access, collector, instrumentation, theodore
from theodore_otel.doctor.checks import CHECKS, examine
from theodore_otel.doctor.finding import Setup
from theodore_otel.otelcol import credentials, find
from theodore_otel.render import files, render

STRONG = "destinations: {bus: {type: kafka, brokers: ['k:9092']}, files: {type: file, directory: /tmp/x}}\n"
TOKEN = "a-token-that-must-not-be-shown"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def setup(tmp_path):
    """Make a setup of a configuration, as if it stood in a file."""

    def made(text: str, **environment: str) -> Setup:
        source = parse(text, "theodore-otel.yaml")
        return Setup(source, tmp_path / source.name, load_layers(source).config, environment)

    return made


def told(findings) -> list[tuple[str, str]]:
    return [(each.state, each.found) for each in findings]


def states(findings) -> list[str]:
    return [each.state for each in findings]


def test_every_check_says_in_a_question_what_it_looks_at():
    for name, check in CHECKS.items():
        assert check.__doc__, name


def test_audit_with_a_strong_destination_is_well(setup):
    assert states(access.check_audit(setup(STRONG))) == ["ok"]


@pytest.mark.parametrize(
    ("destinations", "said"),
    [
        ("{}", "audit and security records of tenants without a choice of their own go nowhere"),
        ("{f: {type: file, directory: /tmp/x}}", "weak destinations only: f (Rotation deletes the oldest"),
        ("{s: {type: siem, endpoint: 's:514', network: udp}}", "s (What the network loses is lost)"),
        ("{k: {type: kafka, brokers: ['k:9092'], categories: [system]}}", "go nowhere"),
        ("{k: {type: kafka, brokers: ['k:9092'], signals: [traces]}}", "go nowhere"),
    ],
)
def test_audit_that_may_be_lost_is_warned_of_with_the_destinations(setup, destinations, said):
    (finding,) = access.check_audit(setup(f"profile: production\ndestinations: {destinations}"))
    assert finding.state == "warning"
    assert said in finding.found
    assert "elasticsearch" in finding.todo
    assert "datadog" not in finding.todo


def test_on_the_machine_of_a_newcomer_weak_audit_is_a_note_and_in_production_a_warning(setup):
    assert states(access.check_audit(setup("profile: local"))) == ["note"]
    assert states(access.check_audit(setup("profile: production"))) == ["warning"]
    assert states(access.check_audit(setup("profile: dev"))) == ["warning"]


def test_one_category_alone_is_named(setup):
    text = "destinations: {k: {type: kafka, brokers: ['k:9092'], categories: [audit]}}"
    (finding,) = access.check_audit(setup(text))
    assert finding.found.startswith("security records of")


def test_a_tenant_whose_own_choice_leaves_audit_to_a_weak_destination_is_named(setup):
    text = STRONG + "tenants: {list: {acme: {destinations: [files]}, globex: {isolation: dedicated}, initech: {}}}"
    (finding,) = access.check_audit(setup(text))
    assert finding.found.startswith("audit and security records of acme go to weak destinations only: files (")
    text = STRONG + "tenants: {list: {acme: {isolation: dedicated, destinations: {bus: {categories: [system]}}}}}"
    (finding,) = access.check_audit(setup(text))
    assert finding.found == "audit and security records of acme go nowhere"


def test_without_credentials_every_request_is_refused(setup):
    (finding,) = access.check_credentials_file(setup(""))
    assert (finding.state, finding.todo) == ("failed", "theodore-otel tenant add NAME")


def test_a_credentials_file_that_others_can_read_is_warned_of(setup, home):
    file = home / "credentials.htpasswd"
    credentials.add(file, "acme")
    assert told(access.check_credentials_file(setup(""))) == [("ok", f"{file}: 1 credentials, mode 0600")]
    file.chmod(0o640)
    assert states(access.check_credentials_file(setup(""))) == ["ok"]
    file.chmod(0o644)
    (finding,) = access.check_credentials_file(setup(""))
    assert (finding.state, finding.todo) == ("warning", f"chmod 600 {file}")


def test_a_relative_path_of_the_credentials_file_is_warned_of(setup, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    credentials.add(Path("kept"), "acme")
    found = list(access.check_credentials_file(setup("tenants: {credentials_file: kept}")))
    assert states(found) == ["warning", "ok"]


def test_credentials_are_not_missed_where_nobody_asks_for_them(setup):
    text = "tenants: {identify_by: none, list: {acme: {}}}"
    assert states(access.check_credentials_file(setup(text))) == ["ok"]
    assert states(access.check_owners(setup(text))) == []


def test_who_has_no_credentials_and_credentials_of_nobody_are_told(setup, home):
    file = home / "credentials.htpasswd"
    text = (
        "tenants: {list: {acme: {}, globex: {}}, services: {api: {may_report: [globex]}, batch: {may_report: [acme]}}}"
    )
    for owner in ("acme", "svc-api", "svc-gone", "unlisted"):
        credentials.add(file, owner)
    assert told(access.check_owners(setup(text))) == [
        ("warning", "services without credentials: batch"),
        ("warning", "credentials of nobody, whose records are refused: svc-gone.1"),
    ]
    credentials.remove(file, "svc-gone")
    credentials.remove(file, "svc-api")
    assert told(access.check_owners(setup(text))) == [
        ("warning", "tenants that nobody can report: globex"),
        ("warning", "services without credentials: api, batch"),
    ]
    credentials.add(file, "svc-api")
    credentials.add(file, "svc-batch")
    assert states(access.check_owners(setup(text))) == ["ok"]


def test_an_entry_that_stands_for_no_tenant_is_one_of_nobody(setup, home):
    home.mkdir()
    (home / "credentials.htpasswd").write_text("prometheus:{SSHA}abc=\n")
    (finding,) = access.check_owners(setup(""))
    assert finding.found == "credentials of nobody, whose records are refused: prometheus"


def test_a_missing_collector_is_told_with_how_to_get_one(setup, monkeypatch, tmp_path):
    monkeypatch.setenv(find.VARIABLE, str(tmp_path / "gone"))
    (finding,) = collector.check_binary(setup(""))
    assert (finding.state, finding.todo) == ("failed", "theodore-otel collector install")
    assert states(collector.check_pipelines(setup(""))) == []


def test_a_collector_of_another_version_is_warned_of(setup, monkeypatch, tmp_path):
    script = tmp_path / "otelcol"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "otelcol version 0.99.0" || echo "{receivers: [], exporters: []}"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv(find.VARIABLE, str(script))
    (finding,) = collector.check_binary(setup(""))
    assert finding.state == "warning"
    assert "0.99.0" in finding.found


def test_rendered_files_are_compared_with_what_would_be_rendered(setup, tmp_path):
    current = setup("")
    assert states(collector.check_rendered(current)) == ["ok"]
    files.write(render(current.config, "theodore-otel.yaml"), tmp_path)
    assert told(collector.check_rendered(current)) == [("ok", "current: collector.yaml, instrument.json")]
    (finding,) = collector.check_rendered(setup("service: {name: other}"))
    assert (finding.state, finding.found) == ("failed", "stale: instrument.json")
    assert finding.todo == f"theodore-otel render -c {tmp_path}/theodore-otel.yaml instrument"


def test_secrets_are_told_by_name_and_never_shown(setup, tmp_path):
    (tmp_path / "hec").write_text("  \n")
    text = (
        "destinations:\n"
        "  dd: {type: datadog, api_key: {env: DD_KEY}}\n"
        f"  hec: {{type: splunk, endpoint: 'http://s', token: {{file: {tmp_path}/hec}}}}\n"
    )
    findings = list(collector.check_secrets(setup(text)))
    assert states(findings) == ["failed", "failed"]
    assert findings[0].found.startswith("theodore-otel.yaml:2: destinations.dd.api_key: environment variable DD_KEY")
    assert findings[1].found.endswith("hec is empty")
    (tmp_path / "hec").write_text(TOKEN)
    (finding,) = collector.check_secrets(setup(text, DD_KEY=TOKEN))
    assert (finding.state, finding.found) == ("ok", f"set: environment variable DD_KEY, file {tmp_path}/hec")
    assert states(collector.check_secrets(setup(""))) == ["ok"]


def test_a_port_that_somebody_else_holds_is_told_with_its_key(setup):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        findings = list(collector.check_ports(setup(f"collector: {{listen: {{grpc: '127.0.0.1:{port}'}}}}")))
    (failure,) = [each for each in findings if each.state == "failed"]
    assert f"port {port} is taken" in failure.found
    assert failure.todo == "end what holds it, or change collector.listen.grpc"


def test_a_port_that_is_not_used_is_not_asked_for(setup):
    def addresses(text: str) -> str:
        return " ".join(each.found for each in collector.check_ports(setup(text)))

    assert ":8889" in addresses("destinations: {p: {type: prometheus}}")
    assert ":8889" not in addresses("destinations: {p: {type: prometheus, endpoint: 'http://p:9090'}}")


def test_the_disk_has_to_hold_a_queue_for_each_exporter_and_signal_and_one_for_audit(setup, monkeypatch):
    text = (
        "destinations: {bus: {type: kafka, brokers: ['k:9092']}, j: {type: jaeger, endpoint: 'j:4317'},"
        " p: {type: prometheus}, c: {type: console}}\n"
        "tenants: {list: {acme: {isolation: dedicated}}}\n"
        "collector: {queue: {size: 1GiB}}"
    )
    room = {"free": parse_size("18.1GiB")}
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), room))
    (finding,) = collector.check_disk(setup(text))
    assert finding.state == "ok"
    assert finding.found.endswith("18.1GiB for 10 queues of 1GiB")
    room["free"] -= parse_size("100MiB")
    (finding,) = collector.check_disk(setup(text))
    assert finding.state == "warning"
    assert "which may need 18.0GiB" in finding.found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(setup):
    (finding,) = collector.check_disk(setup(STRONG + "collector: {queue: {directory: /proc/queue}}"))
    assert finding.state == "failed"


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """Install another distro in front of ours."""
    info = tmp_path / "peers" / "aaa_peer-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aaa-peer\nVersion: 1\n")
    groups = ("opentelemetry_distro", "opentelemetry_configurator")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\npeer = aaa:Peer\n" for group in groups))
    monkeypatch.syspath_prepend(str(tmp_path / "peers"))


def test_our_distro_alone_is_well(setup):
    (finding,) = theodore.check_distro(setup(""))
    assert finding.state == "ok"
    assert finding.found.startswith("distro theodore, configurator theodore")


def test_another_distro_that_would_be_loaded_is_told(setup, peer):
    (finding,) = theodore.check_distro(setup(""))
    assert finding.state == "failed"
    assert "would load distro peer, configurator peer" in finding.found
    assert "OTEL_PYTHON_DISTRO" in finding.todo


def test_another_distro_beside_ours_is_warned_of_unless_both_are_chosen(setup, peer):
    (finding,) = theodore.check_distro(setup("", OTEL_PYTHON_DISTRO="theodore"))
    assert finding.state == "warning"
    assert "another one is installed as well: peer of aaa-peer" in finding.found
    both = {"OTEL_PYTHON_DISTRO": "theodore", "OTEL_PYTHON_CONFIGURATOR": "theodore"}
    assert states(theodore.check_distro(setup("", **both))) == ["ok"]


def test_telemetry_that_is_switched_off_is_told(setup):
    assert states(theodore.check_distro(setup("", OTEL_SDK_DISABLED="true"))) == ["warning", "ok"]


def distributed(folder: Path, name: str, version: str) -> None:
    """Install a package in front of the real ones."""
    info = folder / "packages" / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_what_is_observed_is_told_with_its_version_and_what_could_be(setup, tmp_path, monkeypatch):
    distributed(tmp_path, "redis", "5.0")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    first, *more = instrumentation.check_instrumentation(setup(""))
    assert first.state == "ok"
    assert f"requests {version('requests')}" in first.found
    assert f"fastapi {version('fastapi')} (its own telemetry)" in first.found
    (could,) = more
    assert could.state == "note"
    assert "redis 5.0" in could.found
    assert "opentelemetry-instrumentation-redis==" in could.todo
    assert "aiohttp" not in could.found
    assert "jinja2" not in could.found


def test_a_library_of_a_version_that_is_not_observed_is_warned_of(setup, tmp_path, monkeypatch):
    distributed(tmp_path, "requests", "1.9")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    found = told(instrumentation.check_instrumentation(setup("")))
    assert ("warning", "requests 1.9 is not observed: its instrumentation is for requests ~=2.0") in found


def test_an_instrumentation_that_is_switched_off_is_told(setup):
    given = setup("", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="requests, urllib")
    found = told(instrumentation.check_instrumentation(given))
    assert ("note", "requests is switched off by OTEL_PYTHON_DISABLED_INSTRUMENTATIONS") in found
    assert not [text for state, text in found if state == "ok" and "requests" in text]


def test_versions_are_compared_with_the_tested_ones(setup, tmp_path, monkeypatch):
    assert states(instrumentation.check_versions(setup(""))) == ["ok"]
    distributed(tmp_path, "opentelemetry-sdk", "1.99.0")
    distributed(tmp_path, "opentelemetry-instrumentation-redis", "0.1b0")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    found = told(instrumentation.check_versions(setup("")))
    assert [state for state, _ in found] == ["warning", "warning"]
    assert found[0][1] == "opentelemetry-sdk 1.99.0 (tested: ==1.45.1)"
    assert found[1][1].startswith("opentelemetry-instrumentation-redis 0.1b0 (tested: ")


class Answering(BaseHTTPRequestHandler):
    accepted: str | None = None
    """The Authorization header that is taken; None: every request."""
    ahead = 0.0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        good = self.accepted in (None, self.headers.get("authorization"))
        self.send_response(200 if good and body == b"" else 401)
        self.end_headers()

    def do_GET(self):
        self.send_response(405)
        self.end_headers()

    def date_time_string(self, timestamp=None):
        return formatdate(time.time() + self.ahead, usegmt=True)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endpoint(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def basic(value: str) -> str:
    return "Basic " + base64.b64encode(value.encode()).decode()


def test_an_endpoint_that_takes_the_credential_is_well(setup, endpoint, monkeypatch):
    monkeypatch.setattr(Answering, "accepted", basic(f"acme.1:{TOKEN}"))
    given = setup(f"instrument: {{endpoint: '{endpoint}'}}", THEODORE_OTEL_CREDENTIAL=f"acme.1:{TOKEN}")
    assert told(theodore.check_endpoint(given)) == [("ok", f"{endpoint}/v1/traces accepts credential acme.1")]


def test_a_credential_that_is_refused_is_told_by_its_name(setup, endpoint, monkeypatch):
    monkeypatch.setattr(Answering, "accepted", "another")
    given = setup(f"instrument: {{endpoint: '{endpoint}'}}", THEODORE_OTEL_CREDENTIAL=f"acme.1:{TOKEN}")
    (finding,) = theodore.check_endpoint(given)
    assert (finding.state, finding.found) == (
        "failed",
        f"{endpoint}/v1/traces does not accept credential acme.1 (HTTP 401)",
    )
    assert "SIGHUP" in finding.todo
    (finding,) = theodore.check_endpoint(setup(f"profile: production\ninstrument: {{endpoint: '{endpoint}'}}"))
    assert finding.state == "warning"
    assert "asks for a credential; none is set here" in finding.found
    (finding,) = theodore.check_endpoint(setup(f"profile: local\ninstrument: {{endpoint: '{endpoint}'}}"))
    assert finding.state == "note"


def test_an_endpoint_that_lets_everybody_in_is_warned_of(setup, endpoint):
    (finding,) = theodore.check_endpoint(setup(f"profile: production\ninstrument: {{endpoint: '{endpoint}'}}"))
    assert finding.state == "warning"
    open_to_all = f"instrument: {{endpoint: '{endpoint}'}}\ntenants: {{identify_by: none}}"
    assert states(theodore.check_endpoint(setup(open_to_all))) == ["ok"]


def test_an_endpoint_that_nobody_listens_on_is_told_without_what_is_secret_in_its_url(setup):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    given = setup("", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://user:{TOKEN}@127.0.0.1:{port}")
    assert told(theodore.check_endpoint(given)) == [
        ("failed", f"http://127.0.0.1:{port}/v1/traces: connection refused")
    ]


def test_the_file_theodore_is_told_wins_over_the_one_beside_the_configuration(setup, endpoint, tmp_path):
    for name, address in (("instrument.json", "http://127.0.0.1:1"), ("other.json", endpoint)):
        (tmp_path / name).write_text(json.dumps({"schema": 1, "endpoint": address}))
    assert "127.0.0.1:1/v1/traces" in told(theodore.check_endpoint(setup("")))[0][1]
    (finding,) = theodore.check_endpoint(setup("", THEODORE_OTEL_CONFIG=str(tmp_path / "other.json")))
    assert endpoint in finding.found
    complaint, _ = theodore.check_endpoint(setup("", THEODORE_OTEL_CONFIG="/gone.json"))
    assert complaint.state == "warning"
    assert "cannot read THEODORE_OTEL_CONFIG=/gone.json" in complaint.found


def test_a_clock_apart_from_the_collectors_is_warned_of(setup, endpoint, monkeypatch):
    given = setup(f"instrument: {{endpoint: '{endpoint}'}}")
    assert told(theodore.check_clock(given)) == [("ok", "the same as the collector's")]
    monkeypatch.setattr(Answering, "ahead", 600.0)
    (finding,) = theodore.check_clock(given)
    assert finding.state == "warning"
    assert "s ahead" in finding.found
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert states(theodore.check_clock(given)) == ["failed"]


def test_a_check_that_cannot_be_made_fails_and_the_others_are_made(setup, home):
    home.mkdir()
    (home / "credentials.htpasswd").write_bytes(b"\xff")
    found = dict(examine(setup(STRONG), skip=["collector", "pipelines", "endpoint", "clock", "ports"]))
    assert found["credentials"].state == "failed"
    assert "it is not UTF-8 text" in found["credentials"].found
    assert found["audit"].state == "ok"
    assert "endpoint" not in found


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(command, words)


def skipping(*kept: str) -> list[str]:
    return [word for name in CHECKS if name not in kept for word in ("--skip", name)]


def test_the_exit_code_says_whether_all_is_well(doctor, tmp_path):
    (tmp_path / "theodore-otel.yaml").write_text(STRONG)
    good = doctor(*skipping("audit", "secrets"))
    assert good.exit_code == 0
    assert [line.split()[:2] for line in good.stdout.splitlines()] == [
        ["STATE", "CHECK"],
        ["ok", "secrets"],
        ["ok", "audit"],
    ]
    (tmp_path / "theodore-otel.yaml").write_text("destinations: {f: {type: file, directory: /tmp/x}}")
    weak = doctor(*skipping("audit"), "--format", "json")
    assert weak.exit_code == 1
    (finding,) = json.loads(weak.stdout)
    assert (finding["check"], finding["state"]) == ("audit", "warning")
    assert finding["found"]
    assert finding["todo"]


def test_without_a_file_the_defaults_of_profile_local_are_looked_at(doctor):
    result = doctor(*skipping("configuration"))
    assert "defaults of profile local" in result.stdout


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (None, ["-c", "gone.yaml"], "gone.yaml: no such file"),
        ("servce: {}", [], "did you mean 'service'?"),
        ("", ["--skip", "audti"], "--skip: expected one of configuration, collector"),
    ],
)
def test_what_cannot_be_used_is_bad_input(doctor, tmp_path, text, words, said):
    if text is not None:
        (tmp_path / "theodore-otel.yaml").write_text(text)
    result = doctor(*words)
    assert result.exception.exit_code == 2
    assert said in str(result.exception)
    assert result.stdout == ""


@pytest.mark.case("advice_that_breaks")
def test_what_cannot_be_loaded_beside_the_others_is_not_advised(monkeypatch):
    known = instrumentation._version
    here = {"openai": "3.57.0", "redis": "6.0.0"}
    monkeypatch.setattr(instrumentation, "_version", lambda name: here.get(name) or known(name))
    advised = instrumentation._missing(set())
    assert "redis 6.0.0" in advised
    assert not [each for each in advised if each.startswith("openai")]
