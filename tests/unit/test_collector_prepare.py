"""`theodore-otel collector prepare`: what a collector needs that is started elsewhere."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from theodore_otel.cli.collector import command
from theodore_otel.errors import InputError
from theodore_otel.otelcol import credentials


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "state"))
    file = tmp_path / "theodore-otel.yaml"

    def run(configuration, *options):
        file.write_text(configuration)
        return CliRunner().invoke(
            command, ["prepare", "-c", str(file), *map(str, options)], catch_exceptions=True, standalone_mode=False
        )

    return run


def test_an_empty_credentials_file_is_made_that_only_its_owner_reads(prepare, tmp_path):
    result = prepare("version: 1\n")
    made = tmp_path / "state/credentials.htpasswd"
    assert (made.read_text(), made.stat().st_mode & 0o777) == ("", 0o600)
    assert "no credentials yet" in result.stderr


def test_credentials_that_are_there_stay(prepare, tmp_path):
    credentials.add(tmp_path / "state/credentials.htpasswd", "acme")
    prepare("version: 1\n")
    assert credentials.names(tmp_path / "state/credentials.htpasswd") == ["acme.1"]


def test_a_credential_is_handed_out_and_never_printed(prepare, tmp_path):
    result = prepare("version: 1\n", "--credential", f"svc-api={tmp_path}/handed")
    name, token = (tmp_path / "handed").read_text().strip().split(":")
    assert name == "svc-api.1"
    assert "svc-api.1" in result.output
    assert token not in result.output


def test_a_secret_that_is_not_set_is_named_with_its_key(prepare, monkeypatch):
    monkeypatch.delenv("NR_KEY", raising=False)
    result = prepare("version: 1\ndestinations:\n  nr: {type: newrelic, license_key: {env: NR_KEY}}\n")
    assert isinstance(result.exception, InputError)
    assert "destinations.nr.license_key: environment variable NR_KEY is not set" in str(result.exception)


def test_a_credential_without_a_file_is_refused(prepare):
    result = prepare("version: 1\n", "--credential", "svc-api")
    assert "expected OWNER=FILE, got 'svc-api'" in str(result.exception)
