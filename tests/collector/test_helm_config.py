"""The real collector takes what the chart mounts."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import yaml
from support import chart
from support.collector import Span, beside_an_error, wait_for
from support.pods import replica, values_of

from theodore_otel.config.source import parse
from theodore_otel.errors import InputError
from theodore_otel.otelcol import find, validate
from theodore_otel.otelcol.secrets import with_placeholders

COMMITTED = Path(__file__).parents[2] / "deploy/helm/values.yaml"
CONFIGURATIONS = {
    "defaults": "",
    "many destinations": """
tenants: {list: {acme: {isolation: dedicated}}, services: {api: {may_report: [acme, globex]}}}
redaction: {extra_values: {braces: '{{[a-z]+}}|a{{'}}
helm: {storage: {size: 80GiB}}
destinations:
  elastic: {type: elasticsearch, endpoints: ["https://es:9200"], api_key: {env: ES_API_KEY}}
  dd: {type: datadog, api_key: {file: /run/secrets/vendors/datadog}}
  jaeger: {type: jaeger, endpoint: "jaeger:4317"}
  scrape: {type: prometheus}
""",
    "nobody asked for a credential": "tenants: {identify_by: none}",
}


def judge(values: chart.Values) -> None:
    text, more = with_placeholders(chart.mounted(values), os.environ)
    validate.validate(find.installed(lambda _: None), text, {**os.environ, **more}, parse("", "values.yaml"))


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_collector_takes_what_is_mounted(text):
    judge(values_of(text))


def test_the_collector_takes_what_is_committed():
    judge(chart.Values.model_validate(yaml.safe_load(COMMITTED.read_text())))


def test_the_collector_refuses_a_configuration_that_is_wrong():
    values = values_of("")
    values.alternateConfig["receivers"]["otlp"]["protocol"] = {}
    with pytest.raises(InputError, match="protocol"):
        judge(values)


def test_a_collector_starts_with_what_is_mounted_and_masks_what_only_the_chart_would_have_read(tmp_path):
    pattern = {"redaction": {"extra_values": {"braces": "{{[a-z]+}}"}}}
    configuration = {"profile": "local", "tracing": {"sampling": {"rate": 1.0}}, **pattern}
    with replica("theodore-otel-0", tmp_path, configuration, ["acme"]) as pod:
        assert "{{[a-z]" in pod.config_file.read_text()
        assert pod.send_logs([(9, "braces {{inside}} it", {})], None) == 401
        assert pod.send_logs([(9, "braces {{inside}} it", {})], "acme.1") == 200
        ((resource, record),) = wait_for(pod.logs, otherwise=pod.said)
    assert resource["tenant.id"] == "acme"
    assert record["body"]["stringValue"] == "braces [REDACTED] it"


def test_parts_of_a_trace_at_two_collectors_are_kept_alike_when_it_is_ordinary_and_apart_when_one_fails(tmp_path):
    """docs/kubernetes.md says so: what several collectors do not know of each other."""
    configuration = {"profile": "local", "tracing": {"sampling": {"rate": 0.5, "decision_wait": "1s"}}}
    traces = [random.randbytes(16) for _ in range(60)]
    failed = set(traces[:20])

    def kept(pod) -> set[bytes]:
        return {bytes.fromhex(span["traceId"]) for _, span in pod.spans() if span["name"] == "part"}

    with (
        replica("theodore-otel-0", tmp_path / "0", configuration, ["acme"]) as first,
        replica("theodore-otel-1", tmp_path / "1", configuration, ["acme"]) as second,
    ):
        first.send_spans([Span("part", trace=trace, error=trace in failed) for trace in traces], "acme.1")
        second.send_spans([Span("part", trace=trace) for trace in traces], "acme.1")
        for pod in (first, second):  # decided on after all parts
            wait_for(lambda pod=pod: kept(pod), otherwise=pod.said)
            pod.send_spans(beside_an_error("last"), "acme.1")
            wait_for(lambda pod=pod: any(span["name"] == "last" for _, span in pod.spans()), otherwise=pod.said)
        assert kept(first) - failed == kept(second) - failed != set()
        assert failed <= kept(first)
        assert not failed <= kept(second)
