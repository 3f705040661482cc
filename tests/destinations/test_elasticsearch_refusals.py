"""What Elasticsearch refuses one by one, and what answers in its place, is told by `status`, and to Prometheus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import MappingProxyType

import pytest
import yaml
from destinations.applied import API_KEY
from destinations.kit import OWNERS, configuration, send_log
from standins.http import HttpStandIn, Request
from support.collector import Collector, running, wait_for

from theodore_otel.query import collector as collectors

REFUSED = {"type": "document_parsing_exception", "reason": "no"}
CONFLICT = {"type": "version_conflict_engine_exception", "reason": "there already"}


class Answers(HttpStandIn):
    """Answers bulk requests as it is told to: real servers cannot be made to."""

    headers = MappingProxyType({"X-Elastic-Product": "Elasticsearch"})
    error: dict[str, str] | None = None
    nothing = False

    def take(self, request: Request) -> tuple[int, object]:
        if self.nothing or "_bulk" not in request.path:
            return 200, {}
        status = (
            {"status": 409 if self.error is CONFLICT else 400, "error": self.error} if self.error else {"status": 201}
        )
        documents = len(request.body.splitlines()) // 2
        return 200, {"errors": bool(self.error), "items": [{"create": {"_index": "x", **status}}] * documents}


@pytest.fixture
def server():
    with Answers() as service:
        yield service


@pytest.fixture
def collector(server, tmp_path):
    destination = {"type": "elasticsearch", "endpoints": [server.url], "api_key": {"env": "ES_API_KEY"}}
    with running(tmp_path, configuration(search=destination), OWNERS, {"ES_API_KEY": API_KEY}) as started:
        yield started


def ask(collector: Collector) -> collectors.CollectorStatus:
    return collectors.ask(*(f"127.0.0.1:{collector.ports[port]}" for port in ("health", "telemetry")))


def told(collector: Collector) -> dict[str, str]:
    """Return what `observability status` says of the exporters."""
    file = collector.folder / "status.yaml"
    file.write_text(yaml.safe_dump(collector.configuration))
    program = os.path.join(os.path.dirname(sys.executable), "theodore-otel")
    words = [program, "observability", "status", "-c", str(file), "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, env=collector.environment, timeout=60)
    return next(check for check in json.loads(done.stdout)["checks"] if check["component"] == "exporters")


@pytest.mark.case("elasticsearch_refusals")
def test_documents_that_are_refused_one_by_one_are_told(server, collector):
    server.error = REFUSED
    for number in range(3):
        send_log(collector, f"refused {number}")
    wait_for(lambda: ask(collector).refused_documents == {REFUSED["type"]: 3}, 20, collector.said)
    check = told(collector)
    assert check["state"] == "degraded"
    assert "Elasticsearch refused 3 documents: document_parsing_exception" in check["summary"]


@pytest.mark.case("elasticsearch_refusals")
def test_an_audit_record_that_is_there_already_is_no_loss(server, collector):
    server.error = CONFLICT
    send_log(collector, "there already", "audit")
    wait_for(lambda: "version_conflict" in str(collector.prometheus("telemetry")), 20, collector.said)
    assert told(collector)["state"] == "ok"


@pytest.mark.case("elasticsearch_refusals")
def test_an_answer_that_is_none_is_told(server, collector):
    server.nothing = True
    send_log(collector, "unanswered")
    wait_for(lambda: ask(collector).unanswered_documents == 1, 20, collector.said)
    assert "Elasticsearch said nothing of 1 documents" in told(collector)["summary"]
