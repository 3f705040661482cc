"""Credentials: made once, kept as hashes, overlapping while they rotate."""

from __future__ import annotations

import base64
import hashlib
import stat

import pytest

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


@pytest.mark.parametrize("name", ["Acme", "a-b", "", "a" * 64, "a.b", "a:b", "svc-", "_platform"])
def test_a_name_that_is_no_tenant_id_is_refused(file, name):
    with pytest.raises(InputError, match="expected a tenant id"):
        credentials.add(file, name)


def test_adding_twice_and_removing_nothing_are_refused(file):
    credentials.add(file, "acme")
    with pytest.raises(InputError, match="has credentials already"):
        credentials.add(file, "acme")
    with pytest.raises(InputError, match="no credential 'globex'"):
        credentials.remove(file, "globex")
    with pytest.raises(InputError, match="`tenant add` makes the first"):
        credentials.rotate(file, "globex")
