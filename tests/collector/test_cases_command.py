"""`theodore-otel test` over the cases that users copy, and over ones that fail: output, files and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

TOOL = Path(sys.executable).parent / "theodore-otel"
ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "deploy/local"

CONFIGURATION = """
profile: local
tenants:
  identify_by: oidc
  oidc: {issuer_url: "https://login.example.com", audience: theodore}
  list: {acme: {isolation: dedicated}}
  services: {api: {may_report: [acme, globex]}}
tracing: {sampling: {rate: 0.1}}
destinations:
  far: {type: otlp, endpoint: "far.example.com:4317", headers: {x-key: {env: FAR_KEY}}}
  scrape: {type: prometheus}
"""
RAW = """
collector:
  extra:
    receivers: {otlp/mine: {protocols: {http: HTTP}}}
    processors: {transform/mine: {log_statements: STATEMENTS}}
    exporters: {debug/mine: {}}
    service:
      pipelines: {logs/mine: {receivers: [otlp/mine], processors: [transform/mine], exporters: [debug/mine]}}
"""
CASES = """
cases:
  - name: A service speaks for its tenants, and the dedicated one has exporters of its own
    golden: service.golden.yaml
    send:
      - credential: svc-api
        spans:
          - {name: for acme, status: error, attributes: {tenant.id: acme}}
          - {name: for globex, status: error, attributes: {tenant.id: globex}}
          - {name: for a stranger, status: error, attributes: {tenant.id: initech}}
    expect:
      - {signal: traces, destination: far, dedicated: acme, tenant: acme, name: for acme, count: 1}
      - {signal: traces, destination: far, tenant: globex, name: for globex, count: 1}
    nowhere: [{name: for a stranger}, {dedicated: acme, tenant: globex}, initech]
  - name: This one fails
    send:
      - credential: acme
        repeat: 2
        spans:
          - {name: chat, status: error, attributes: {theodore.operation.type: ai, gen_ai.operation.name: chat}}
    expect:
      - {signal: traces, destination: far, name: chat, tenant: globex}
      - {signal: metrics, destination: scrape, name: theodore_ai_operation_duration_seconds, equal: {count: 3}}
"""


def test(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"THEODORE_OTEL_HOME": str(cwd / "home"), "TMPDIR": str(cwd), **environment}
    return subprocess.run(
        [TOOL, "test", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


test.__test__ = False  # type: ignore[attr-defined]  not a test: the command


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "theodore-otel.yaml").write_text(CONFIGURATION)
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/c.yaml").write_text(CASES)
    return tmp_path


def test_the_cases_that_users_copy_are_good(tmp_path):
    done = test("-c", LOCAL / "theodore-otel.yaml", "--junit", "report.xml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok      ") for line in lines[:-1]), done.stdout
    assert f"{len(lines) - 1} cases in" in lines[-1]
    suites = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert {Path(suite.attrib["name"]).name for suite in suites} == {"redaction.yaml", "signals.yaml", "tenants.yaml"}
    assert suites.attrib["failures"] == "0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.xml"]


def test_golden_files_are_written_and_failures_told_and_nothing_is_left_behind(folder):
    first = test("--update", cwd=folder)
    assert first.returncode == 1
    assert "identify_by is oidc: the cases run with basic in its place" in first.stderr
    good, *failed, summary = first.stdout.splitlines()
    assert good.startswith("ok      A service speaks for its tenants")
    assert good.endswith("golden updated)")
    assert failed[0].startswith("FAILED  This one fails (")
    told = "\n".join(failed)
    assert (
        "c.yaml:22: cases.1.expect.0: expected at least 1 of the spans at far with name 'chat', tenant 'globex'" in told
    )
    assert '    - tenant: "globex"\n    + tenant: "acme"' in told
    assert "c.yaml:23: cases.1.expect.1.equal.count: count of the series " in told
    assert "    - count: 3\n    + count: 2" in told
    assert summary.endswith("1 failed")
    assert "\x1b" not in first.stdout

    written = (folder / "cases/service.golden.yaml").read_text()
    assert "far (acme alone)" in written
    again = test("-k", "SERVICE", "--format", "json", cwd=folder)
    assert again.returncode == 0, again.stdout
    assert [case["good"] for case in json.loads(again.stdout)["cases"]] == [True]

    (folder / "cases/service.golden.yaml").write_text(written.replace("for globex", "for nobody"))
    stale = test("-k", "service", "--format", "json", cwd=folder)
    assert stale.returncode == 1
    (failure,) = json.loads(stale.stdout)["cases"][0]["failures"]
    assert failure["key"] == "cases.0.golden"
    assert any(line.startswith("-") and "for nobody" in line for line in failure["detail"])
    assert any(line.startswith("+") and "for globex" in line for line in failure["detail"])
    assert {path.name for path in folder.iterdir()} == {"theodore-otel.yaml", "cases"}


def test_the_collectors_folder_can_be_kept_and_holds_no_secret(folder):
    done = test("-k", "fails", "--keep", cwd=folder, FAR_KEY="the-secret-itself")
    (kept,) = [Path(line.rpartition(" ")[2]) for line in done.stderr.splitlines() if "folders are in" in line]
    (own,) = kept.iterdir()
    assert own.name == "001-this-one-fails"
    assert {"collector.yaml", "collector.log", "captured"} <= {path.name for path in own.iterdir()}
    for file in own.rglob("*"):
        if file.is_file():
            assert b"the-secret-itself" not in file.read_bytes()
    shutil.rmtree(kept)


def test_bad_input_ends_with_its_key_and_code_2(folder):
    (folder / "cases/c.yaml").write_text(CASES.replace("destination: scrape", "destination: scrap"))
    done = test(cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "c.yaml:23: cases.1.expect.1.destination: expected a destination (local, far, scrape), got 'scrap'; did you"
        in (done.stderr)
    )
    assert test("none", cwd=folder).returncode == 2
    assert "-k: no name of the 2 cases holds 'x-x'" in test("-k", "x-x", cwd=folder).stderr
    no_folder = test("--junit", "no/report.xml", cwd=folder)
    assert (no_folder.returncode, "--junit: no/report.xml: there is no folder no" in no_folder.stderr) == (2, True)


def test_a_configuration_that_the_collector_refuses_is_told_by_its_own_key_with_code_2(folder):
    extra = RAW.replace("HTTP", "{}").replace("STATEMENTS", "[nonsense]")
    (folder / "theodore-otel.yaml").write_text(CONFIGURATION + extra)
    done = test("-k", "fails", cwd=folder)
    assert done.returncode == 2
    assert "collector.extra.processors.transform/mine" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_collector_that_does_not_start_ends_with_code_3(folder):
    # Accepted by `validate`, refused at the start: an authenticator that there is none of.
    extra = RAW.replace("HTTP", "{auth: {authenticator: basicauth/none}}").replace("STATEMENTS", "[]")
    (folder / "theodore-otel.yaml").write_text(CONFIGURATION + extra)
    done = test("-k", "fails", cwd=folder)
    assert done.returncode == 3
    assert "the collector does not start" in done.stderr
    assert "basicauth/none" in done.stderr


def test_the_schema_needs_no_configuration(tmp_path):
    done = test("--schema", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["title"] == "CaseFile"
