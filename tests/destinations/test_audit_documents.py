"""Audit records in a real Elasticsearch: sent twice they are one document, and their hashes still fit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from destinations.kit import configuration
from destinations.test_elasticsearch import ANYTHING, API_KEY, streams
from support.collector import running, wait_for

from theodore_otel.config.merge import merge
from theodore_otel.journal import audit_verify
from theodore_otel.journal.audit_keys import Key, Keys
from theodore_otel.journal.audit_otlp import request
from theodore_otel.journal.audit_read import of_document
from theodore_otel.journal.audit_record import Record
from theodore_otel.journal.audit_writer import Files, Writer

STREAM = "logs-theodore.audit.otel-400d"
KEY = "the-key-of-these-tests"

__all__ = ["streams"]


@pytest.fixture(scope="module")
def collector(streams, tmp_path_factory):
    destination = {
        "type": "elasticsearch",
        "endpoints": [f"http://{streams.at('http')}"],
        "api_key": {"env": "ES_API_KEY"},
        "signals": ["logs", "traces"],
    }
    tenants = {"tenants": {"list": {"globex": {"keep_attributes": ["note"], "drop_attributes": ["user.id"]}}}}
    configured = merge(configuration(elasticsearch=destination), tenants)
    with running(tmp_path_factory.mktemp("audit"), configured, ["acme", "globex"], {"ES_API_KEY": API_KEY}) as started:
        yield started


def written(folder: Path, count: int) -> list[Record]:
    keys = Keys(KEY)
    folder.mkdir()
    writer = Writer(keys, lambda first: Files(folder, "none", first, {}, keys), lambda error: pytest.fail(str(error)))
    context = json.dumps({"note": "password=[REDACTED]", "number": 1764071067123})
    return [writer.append(action="read", actor="u-1", outcome="success", context=context) for _ in range(count)]


def found(elasticsearch, records: list[Record]) -> list[dict]:
    writer = records[0].writer
    return [hit for hit in elasticsearch.search(STREAM, ANYTHING) if writer in hit["_id"]]


def test_records_that_are_sent_again_are_one_document_each_and_do_not_hold_up_what_follows(
    elasticsearch, collector, tmp_path
):
    records = written(tmp_path / "journal", 60)
    for part in (records[:40], records[20:50], records[:50], records[50:]):
        assert collector.post("logs", request({"service.name": "theodore-v2"}, part), "acme.1") == 200
    wait_for(lambda: len(found(elasticsearch, records)) == 60, 60, collector.said)
    hits = found(elasticsearch, records)
    assert {hit["_id"] for hit in hits} == {f"acme.{each.id}" for each in records}
    verdict = audit_verify.delivered(of_document(hits), audit_verify.Keyring([Key.of(KEY)]), partial=False)
    assert (verdict.records, verdict.findings) == (60, [])
    assert "elasticsearch.document_id" not in json.dumps(hits)


def test_a_tenant_that_keeps_few_attributes_keeps_what_the_hash_covers(elasticsearch, collector, tmp_path):
    records = written(tmp_path / "journal", 3)
    assert collector.post("logs", request({"service.name": "theodore-v2"}, records), "globex.1") == 200
    wait_for(lambda: len(found(elasticsearch, records)) == 3, 60, collector.said)
    hits = found(elasticsearch, records)
    verdict = audit_verify.delivered(of_document(hits), audit_verify.Keyring([Key.of(KEY)]), partial=False)
    assert (verdict.records, verdict.findings) == (3, [])


def test_a_tenant_cannot_take_the_id_of_anothers_record(elasticsearch, collector, tmp_path):
    records = written(tmp_path / "journal", 1)
    forged = {
        "theodore.category": "audit",
        "audit.id": records[0].id,
        "elasticsearch.document_id": f"acme.{records[0].id}",
    }
    assert collector.send_logs([(9, "forged", forged)], "globex.1") == 200
    wait_for(lambda: len(found(elasticsearch, records)) == 1, 60, collector.said)
    assert collector.post("logs", request({"service.name": "theodore-v2"}, records), "acme.1") == 200
    wait_for(lambda: len(found(elasticsearch, records)) == 2, 60, collector.said)


@pytest.mark.parametrize("odd", ["x" * 600, f"{os.urandom(16).hex()}-x", 7, True, [1]])
def test_an_odd_audit_id_chooses_nothing_and_is_kept(elasticsearch, collector, odd):
    body = f"odd {json.dumps(odd)[:20]}"
    assert collector.send_logs([(9, body, {"theodore.category": "audit", "audit.id": odd})], "acme.1") == 200
    wait_for(
        lambda: [hit for hit in elasticsearch.search(STREAM, ANYTHING) if hit["_source"]["body"]["text"] == body],
        60,
        collector.said,
    )
