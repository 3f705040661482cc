"""Secrets that were planted everywhere are nowhere in what the stack keeps."""

from __future__ import annotations

import json
import urllib.request

import pytest
from sample_theodore import planted
from support.canaries import canary, key_canary, key_words, kinds
from support.collector import Span, wait_for

CANARIES = [canary(preset, example, number) for number, (preset, example) in enumerate(kinds())]
KEYS = {word: key_canary(word, number) for number, word in enumerate(key_words())}
SECRETS = {
    **{secret: secret for secret in planted.EVERYTHING},
    **{each.core: each.kind for each in (*CANARIES, *KEYS.values())},
}
MARKER = "planted-for-the-stack"


@pytest.fixture(scope="module")
def planted_everywhere(stack) -> None:
    """Run what leaves its secrets in odd places, and send one of every kind that is known in every signal."""
    for credential, company in (("acme.1", "Failing Secrets"), ("globex.1", "Refused Secrets")):
        stack.theodore(credential, "research", company, "--api-key", planted.OPTION_API_KEY)
    for credential in ("acme.1", "globex.1"):
        _send(stack.client, credential)
    stack.servers.trace("Refused Secrets")
    wait_for(
        lambda: len(stack.servers.logs(MARKER)) == 2 * (len(CANARIES) + 1), 60, lambda: len(stack.servers.logs(MARKER))
    )
    wait_for(lambda: stack.servers.query(f'theodore_requests_total{{endpoint="{MARKER}"}}'))
    wait_for(lambda: stack.servers.spans("theodore-v2", **{"theodore.command": MARKER}))


def _send(client, credential: str) -> None:
    of_a_command = {"theodore.operation.type": "command", "theodore.command": MARKER}
    of_keys = {f"my.{word}": each.text for word, each in KEYS.items()}
    spans = [Span(f"{MARKER} {each.text}", {"note": each.text, "theodore.command": each.text}) for each in CANARIES]
    logs = [(13, f"{MARKER} {each.text}", {"note": each.text}) for each in CANARIES]
    assert (
        client.send_spans(
            [*spans, Span(MARKER, {**of_a_command, **of_keys})], credential, {"host.note": CANARIES[0].text}
        )
        == 200
    )
    assert client.send_logs([*logs, (13, MARKER, of_keys)], credential, {"host.note": CANARIES[0].text}) == 200
    for each in CANARIES:
        assert (
            client.send_gauge("theodore.active_operations", 1.0, {"operation": each.text, **of_keys}, credential) == 200
        )
    for each in CANARIES:
        command = Span("command", {**of_a_command, "theodore.command": each.text})
        assert client.send_spans([command], credential) == 200


def found(where: str) -> list[str]:
    return [kind for secret, kind in SECRETS.items() if secret in where]


def test_no_secret_is_in_any_document_of_any_index(stack, planted_everywhere):
    documents = list(stack.servers.documents())
    assert sum("[REDACTED]" in document for document in documents) > len(CANARIES)
    assert {kind: document for document in documents for kind in found(document)} == {}


def test_no_secret_is_in_a_name_or_a_mapping_of_elasticsearch(stack, planted_everywhere):
    for path in ("/_all/_mapping", "/_all/_settings", "/_cat/indices"):
        text = json.dumps(stack.servers.get("elasticsearch", path, expand_wildcards="all", format="json"))
        assert found(text) == []


def test_no_secret_is_in_any_label_of_prometheus(stack, planted_everywhere):
    series = stack.servers.get("prometheus", "/api/v1/series", **{"match[]": '{__name__=~".+"}'})["data"]
    assert any("[REDACTED]" in value for labels in series for value in labels.values())
    assert found(json.dumps(series, ensure_ascii=False)) == []
    assert found(json.dumps(stack.servers.get("prometheus", "/api/v1/metadata"), ensure_ascii=False)) == []


def test_no_secret_is_in_any_tag_or_log_of_jaeger(stack, planted_everywhere):
    services = stack.servers.get("jaeger", "/api/services")["data"]
    assert "theodore-v2" in services
    text = ""
    for service in services:
        text += json.dumps(
            stack.servers.get("jaeger", "/api/traces", service=service, limit="1500"), ensure_ascii=False
        )
        text += json.dumps(stack.servers.get("jaeger", f"/api/services/{service}/operations"), ensure_ascii=False)
    assert text.count("[REDACTED]") > len(CANARIES)
    assert found(text) == []


def test_no_secret_is_in_any_alert_or_what_was_told_of_it(stack, planted_everywhere):
    assert found(json.dumps(stack.servers.alerts())) == []
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.client.ports['webhook']}/", timeout=10) as answer:
        assert found(answer.read().decode()) == []


def test_no_secret_is_in_what_any_container_printed(project, planted_everywhere):
    """Theodore's own output is its own affair; everybody else's is not."""
    printed = {each.name: each.logs().decode(errors="replace") for each in project.containers(ended=True)}
    assert any(printed.values())
    assert {name: found(text) for name, text in printed.items() if found(text) and "-theodore-" not in name} == {}


def test_no_secret_and_no_token_is_in_any_file_that_the_collector_keeps(stack, project, planted_everywhere):
    files = project.files("collector", "/var/lib/theodore-otel")
    assert any("exporter_elasticsearch" in name for name in files), files.keys()
    hidden = {**SECRETS, **{token: name for name, token in stack.client.tokens.items()}}
    assert {
        name: kind for name, content in files.items() for secret, kind in hidden.items() if secret.encode() in content
    } == {}
