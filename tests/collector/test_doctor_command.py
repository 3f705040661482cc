"""`theodore-otel doctor` against the real collector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.collector import running

from theodore_otel.otelcol import credentials

TOOL = Path(sys.executable).parent / "theodore-otel"
CONFIGURATION = {
    "collector": {"queue": {"size": "64MiB"}},
    "destinations": {
        "search": {"type": "elasticsearch", "endpoints": ["http://127.0.0.1:9"], "api_key": {"env": "ES_KEY"}}
    },
}
SECRET = "es-key-that-must-not-be-shown"


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor")
    with running(folder, CONFIGURATION, ["acme"], {"ES_KEY": SECRET}) as started:
        (folder / "theodore-otel.yaml").write_text(yaml.safe_dump(started.configuration))
        yield started


def examined(collector, **environment: str) -> tuple[int, dict[str, list[dict]], str]:
    known = {**os.environ, "THEODORE_OTEL_HOME": str(collector.home), "ES_KEY": SECRET, **environment}
    done = subprocess.run(
        [TOOL, "doctor", "--format", "json", "--skip", "rendered files"],
        cwd=collector.folder,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, list[dict]] = {}
    for finding in json.loads(done.stdout):
        found.setdefault(finding["check"], []).append(finding)
    return done.returncode, found, done.stdout + done.stderr


def test_all_is_well_with_a_running_collector_and_a_good_credential(collector):
    token = collector.tokens["acme.1"]
    code, found, output = examined(collector, THEODORE_OTEL_CREDENTIAL=f"acme.1:{token}")
    assert code == 0, output
    assert found["endpoint"][0]["found"].endswith("accepts credential acme.1")
    assert "held by the collector" in found["ports"][0]["found"]
    assert found["clock"][0]["found"] == "the same as the collector's"
    assert found["secrets"][0]["found"] == "set: environment variable ES_KEY"
    assert SECRET not in output
    assert token not in output


def test_a_wrong_credential_is_told_and_not_shown(collector):
    code, found, output = examined(collector, THEODORE_OTEL_CREDENTIAL="acme.1:wrong-token")
    assert code == 1
    (finding,) = found["endpoint"]
    assert finding["state"] == "failed"
    assert finding["found"].endswith("does not accept credential acme.1 (HTTP 401)")
    assert "wrong-token" not in output


def test_a_credential_that_the_collector_has_not_taken_up_is_told(collector):
    made = credentials.add(collector.home / "credentials.htpasswd", "globex")
    code, found, _ = examined(collector, THEODORE_OTEL_CREDENTIAL=made.value)
    assert code == 1
    assert "SIGHUP" in found["endpoint"][0]["todo"]


def test_what_the_collector_refuses_is_told_with_the_key_it_comes_from(collector):
    file = collector.folder / "theodore-otel.yaml"
    good = file.read_text()
    extra = {"exporters": {"debug/more": {"verbosit": "basic"}}}
    configuration = yaml.safe_load(good)
    configuration["collector"]["extra"] = extra
    file.write_text(yaml.safe_dump(configuration))
    try:
        code, found, _ = examined(collector)
    finally:
        file.write_text(good)
    assert code == 1
    (finding,) = found["pipelines"]
    assert finding["state"] == "failed"
    assert "collector.extra.exporters.debug/more.verbosit" in finding["found"]
