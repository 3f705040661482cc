"""Credentials: made once, kept as hashes, overlapping while they rotate."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat

import pytest
from click.testing import CliRunner

from theodore_otel.cli.tenant import command
from theodore_otel.errors import InputError
from theodore_otel.otelcol import credentials


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "credentials.htpasswd"


def test_a_token_is_stored_as_a_salted_hash_in_a_file_only_the_owner_reads(file):
    made = credentials.add(file, "acme")
    text = file.read_text()
    assert made.token not in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    raw = base64.b64decode(text.strip().removeprefix("acme.1:{SSHA}"))
    assert hashlib.sha1(made.token.encode() + raw[20:]).digest() == raw[:20]


def test_two_tenants_with_the_same_token_have_different_hashes():
    assert credentials.ssha("x") != credentials.ssha("x")


def test_rotating_adds_a_credential_and_keeps_the_old(file):
    credentials.add(file, "acme")
    credentials.rotate(file, "acme")
    assert credentials.owners(file) == {"acme": ["acme.1", "acme.2"]}


def test_one_credential_or_all_of_an_owner_can_be_removed(file):
    credentials.add(file, "acme")
    credentials.rotate(file, "acme")
    credentials.add(file, "svc-api")
    assert credentials.remove(file, "acme.1") == ["acme.1"]
    assert credentials.names(file) == ["acme.2", "svc-api.1"]
    assert credentials.remove(file, "svc-api") == ["svc-api.1"]


def test_a_number_is_not_used_again_after_rotation(file):
    credentials.add(file, "acme")
    credentials.rotate(file, "acme")
    credentials.remove(file, "acme.1")
    assert credentials.rotate(file, "acme").name == "acme.3"


@pytest.mark.parametrize("name", ["Acme", "a-b", "", "a" * 64, "a.b", "a:b", "acme\n", "_platform"])
def test_a_name_that_is_no_tenant_id_is_refused(file, name):
    with pytest.raises(InputError, match="expected a tenant id"):
        credentials.add(file, name)


@pytest.mark.parametrize("name", ["svc-", "svc-a-b", "svc-" + "a" * 60])
def test_a_name_that_the_configuration_would_not_take_for_a_service_is_refused(file, name):
    with pytest.raises(InputError, match="expected a service name"):
        credentials.add(file, name)


def test_an_entry_of_somebody_else_is_kept_and_is_its_own_owner(file):
    file.parent.mkdir()
    file.write_text("prometheus:$2y$05$abcdefghijklmnopqrstuv\nacme.x:{SSHA}abc=\n")
    credentials.add(file, "acme")
    assert credentials.owners(file) == {"acme": ["acme.1"], "acme.x": ["acme.x"], "prometheus": ["prometheus"]}
    assert "prometheus:$2y$05$abcdefghijklmnopqrstuv\n" in file.read_text()


def test_a_file_that_cannot_be_read_is_told(file):
    file.parent.mkdir()
    file.write_bytes(b"acme.1:\xff")
    with pytest.raises(InputError, match="it is not UTF-8 text"):
        credentials.names(file)


def test_a_file_behind_a_link_is_changed_and_the_link_stays(file, tmp_path):
    real = tmp_path / "mounted"
    real.write_text("")
    file.parent.mkdir()
    file.symlink_to(real)
    credentials.add(file, "acme")
    assert file.is_symlink()
    assert real.read_text().startswith("acme.1:{SSHA}")


@pytest.mark.case("group_may_read_credentials")
@pytest.mark.parametrize(("before", "after"), [(0o600, 0o600), (0o640, 0o640), (0o660, 0o660), (0o644, 0o640)])
def test_who_may_read_the_credentials_stays_but_for_everybody(file, before, after):
    credentials.add(file, "acme")
    file.chmod(before)
    credentials.add(file, "globex")
    credentials.remove(file, "acme")
    assert stat.S_IMODE(file.stat().st_mode) == after


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change for somebody else")
@pytest.mark.case("group_may_read_credentials")
def test_a_file_stays_whose_it_was_so_that_the_collector_can_still_read_it(file):
    file.parent.mkdir()
    file.write_text("")
    file.chmod(0o640)
    os.chown(file, 4711, 4712)
    credentials.add(file, "acme")
    assert (file.stat().st_uid, file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (4711, 4712, 0o640)


CONFIGURATION = """
tenants:
  credentials_file: %s/kept/credentials
  list:
    acme: {isolation: dedicated, retention: {logs: 90d}}
    globex: {destinations: [one]}
  services: {api: {may_report: [acme, globex]}}
destinations: {one: {type: console}, two: {type: console}}
"""


@pytest.fixture
def tenant(tmp_path, monkeypatch):
    """Run `theodore-otel tenant` in a folder without a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    return lambda *words: CliRunner().invoke(command, words)


@pytest.fixture
def configured(tenant, tmp_path):
    """Run it in a folder with one."""
    (tmp_path / "theodore-otel.yaml").write_text(CONFIGURATION % tmp_path)
    return tenant


def token_of(result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout.strip().partition("=")[2]


def test_rotating_says_what_keeps_working(tenant):
    first, second = token_of(tenant("add", "acme")), tenant("rotate", "acme")
    assert token_of(second) != first
    assert "acme.1 keeps working until `theodore-otel tenant remove acme.1`" in second.stderr
    assert first not in second.output


def test_a_credential_can_be_written_to_a_file_instead_of_being_shown(tenant, tmp_path):
    result = tenant("add", "acme", "-o", "acme.credential")
    assert result.stdout == ""
    written = tmp_path / "acme.credential"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    name, _, token = written.read_text().strip().partition(":")
    assert (name, len(token)) == ("acme.1", 43)
    assert token not in result.output


def test_a_file_that_is_there_is_not_overwritten_and_no_credential_made(tenant, tmp_path):
    (tmp_path / "there").write_text("mine")
    result = tenant("add", "acme", "-o", "there")
    assert isinstance(result.exception, InputError)
    assert (tmp_path / "there").read_text() == "mine"
    assert "acme" not in tenant("list").stdout


def test_no_file_is_left_when_no_credential_can_be_made(tenant, tmp_path):
    assert isinstance(tenant("rotate", "acme", "-o", "new").exception, InputError)
    assert not (tmp_path / "new").exists()


def test_the_configuration_says_where_credentials_are_kept(configured, tmp_path):
    configured("add", "acme")
    assert credentials.names(tmp_path / "kept" / "credentials") == ["acme.1"]
    assert not (tmp_path / "home" / "credentials.htpasswd").exists()


def test_a_service_that_the_configuration_does_not_list_is_warned_of(configured):
    assert "warning" not in configured("add", "--service", "api").stderr
    assert "warning: tenants.services does not list bpi" in configured("add", "--service", "bpi").stderr
    assert "warning" not in configured("add", "initech").stderr


def test_a_broken_configuration_does_not_keep_a_leaked_credential_alive(configured, tmp_path):
    configured("add", "acme")
    (tmp_path / "theodore-otel.yaml").write_text("tenants: [")
    assert isinstance(configured("remove", "acme").exception, InputError)
    assert configured("remove", "acme", "--file", "kept/credentials").exit_code == 0
    assert credentials.names(tmp_path / "kept" / "credentials") == []


def test_the_list_shows_what_the_configuration_says_of_each(configured):
    configured("add", "acme")
    configured("add", "initech")
    configured("add", "--service", "bpi")
    rows = {row["name"]: row for row in json.loads(configured("list", "--format", "json").stdout)}
    assert list(rows) == ["acme", "globex", "initech", "api", "bpi"]
    assert rows["acme"] == {
        "name": "acme",
        "kind": "tenant",
        "credentials": ["acme.1"],
        "isolation": "dedicated",
        "destinations": ["one", "two"],
        "retention": {"logs": "90d", "traces": "7d", "metrics": "30d", "audit": "400d"},
        "reports": [],
    }
    assert (rows["globex"]["credentials"], rows["globex"]["destinations"]) == ([], ["one"])
    assert (rows["initech"]["isolation"], rows["initech"]["retention"]["logs"]) == ("shared", "30d")
    assert (rows["api"]["kind"], rows["api"]["reports"]) == ("service", ["acme", "globex"])
    assert (rows["bpi"]["credentials"], rows["bpi"]["reports"]) == (["svc-bpi.1"], [])
    table = configured("list").stdout.splitlines()
    assert table[0].split()[:4] == ["NAME", "KIND", "CREDENTIALS", "ISOLATION"]
    assert "logs 90d, traces 7d, metrics 30d, audit 400d" in table[1]


def test_adding_twice_and_removing_nothing_are_refused(file):
    credentials.add(file, "acme")
    with pytest.raises(InputError, match="has credentials already"):
        credentials.add(file, "acme")
    with pytest.raises(InputError, match="no credential 'globex'"):
        credentials.remove(file, "globex")
    with pytest.raises(InputError, match="`tenant add` makes the first"):
        credentials.rotate(file, "globex")


def test_a_credential_is_handed_out_once_and_kept(file, tmp_path):
    place = tmp_path / "credential"
    made = credentials.hand_out(file, "svc-api", place)
    assert place.read_text() == f"{made.value}\n"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert credentials.hand_out(file, "svc-api", place) is None
    assert place.read_text() == f"{made.value}\n"


@pytest.mark.parametrize("stale", ["", "svc-api.1:another", "acme.1:another", "not one"])
def test_a_credential_that_is_not_good_is_replaced(file, tmp_path, stale):
    place = tmp_path / "credential"
    credentials.add(file, "acme")
    credentials.hand_out(file, "svc-api", place)
    place.write_text(stale)
    made = credentials.hand_out(file, "svc-api", place)
    assert made.name == "svc-api.2"
    assert place.read_text() == f"{made.value}\n"


def test_a_credential_of_another_owner_is_not_handed_on(file, tmp_path):
    place = tmp_path / "credential"
    credentials.hand_out(file, "acme", place)
    assert credentials.hand_out(file, "svc-api", place).name == "svc-api.1"


def test_a_place_that_cannot_be_written_is_named(file, tmp_path):
    with pytest.raises(InputError, match=r"nowhere/credential: cannot be written"):
        credentials.hand_out(file, "svc-api", tmp_path / "nowhere" / "credential")
    assert credentials.names(file) == []
