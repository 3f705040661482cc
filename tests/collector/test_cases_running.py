"""A case in a real collector with a small configuration: what is sent, waited for, drained and judged."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from theodore_otel.errors import DownError
from theodore_otel.otelcol import find
from theodore_otel.otelcol.cases import running
from theodore_otel.otelcol.cases.isolating import isolate
from theodore_otel.otelcol.cases.model import Case
from theodore_otel.otelcol.cases.running import Outcome, Setup
from theodore_otel.render.exporters import Exporter

SMALL = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:4317", auth: {authenticator: basicauth/credentials}}
      http: {endpoint: "127.0.0.1:4318", include_metadata: true, auth: {authenticator: basicauth/credentials}}
processors:
  tail_sampling:
    decision_wait: 30s
    decision_cache: {sampled_cache_size: 1000, non_sampled_cache_size: 1000}
    policies:
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
      - {name: some, type: probabilistic, probabilistic: {sampling_percentage: 10}}
  resource/tenant:
    attributes: [{key: tenant.id, action: insert, from_context: auth.username}]
  resource/header:
    attributes: [{key: from.header, action: insert, from_context: metadata.x-extra}]
  logdedup: {interval: 1s}
  transform/picky:
    error_mode: propagate
    log_statements: ['set(log.attributes["n"], Duration(log.attributes["n"])) where log.attributes["n"] != nil']
exporters:
  otlp/far: {endpoint: "far:4317"}
extensions:
  basicauth/credentials: {htpasswd: {file: /etc/credentials}}
service:
  extensions: [basicauth/credentials]
  pipelines:
    traces: {receivers: [otlp], processors: [resource/tenant, resource/header, tail_sampling], exporters: [otlp/far]}
    logs: {receivers: [otlp], processors: [resource/tenant, transform/picky, logdedup], exporters: [otlp/far]}
    metrics: {receivers: [otlp], exporters: [otlp/far]}
"""
FAR = Exporter("otlp/far", "far", ("traces", "logs", "metrics"), None)


def setup(text: str = SMALL, **environment: str) -> Setup:
    isolated = isolate(yaml.safe_load(text), [FAR])
    return Setup(
        binary=find.installed(lambda _: None),
        text=yaml.safe_dump(isolated.configuration),
        environment={**os.environ, **environment},
        captures=isolated.captures,
        destinations={"far": frozenset(FAR.signals)},
        service="theodore-v2",
    )


def run(folder: Path, text: str, configuration: str = SMALL) -> Outcome:
    case: dict[str, Any] = yaml.safe_load(text)
    return running.run(Case.model_validate({"name": "case", **case}), setup(configuration), folder)


def told(outcome: Outcome) -> list[tuple[str, str]]:
    return [(".".join(map(str, failure.path)), failure.message) for failure in outcome.failures]


def test_all_that_was_sent_is_there_when_the_collector_has_ended_however_long_it_would_have_waited(tmp_path):
    case = """
        send:
          - {credential: acme, repeat: 500, spans: [{name: root, status: error, children: [{name: child}]}]}
          - {credential: acme, repeat: 50, logs: [{body: same}, {body: other, severity: ERROR}]}
          - {credential: acme, metrics: [{name: g, gauge: 2}, {name: h, histogram: [1, 3], buckets: [2]}]}
        expect:
          - {signal: traces, destination: far, name: root, tenant: acme.1, count: 500, equal: {duration: 0.01}}
          - {signal: traces, destination: far, name: child, count: 500, present: parent}
          - {signal: logs, destination: far, name: same, count: 1, equal: {attributes.log_count: 50}}
          - {signal: metrics, destination: far, name: g, equal: {value: 2, type: gauge}}
          - {signal: metrics, destination: far, name: h, equal: {count: 2, sum: 4, buckets.2: 1, buckets.inf: 1}}
    """.replace("tenant: acme.1", "where: {resource.tenant.id: acme.1}")
    started = time.monotonic()
    assert told(run(tmp_path, case)) == []
    # A sampler that waited as configured would not have decided yet.
    assert time.monotonic() - started < 30


def test_what_is_sampled_away_is_absent_and_the_share_is_the_same_in_every_run(tmp_path):
    case = """
        send: [{credential: acme, repeat: 1000, spans: [{name: plain}]}]
        expect: [{signal: traces, destination: far, name: plain, count: 0}]
    """
    counts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        outcome = run(tmp_path / name, case)
        assert [path for path, _ in told(outcome)] == ["expect.0.count"]
        counts.append(len(outcome.records))
    assert counts[0] == counts[1]
    # 1,000 at a tenth have a standard deviation of 9.5.
    assert 52 <= counts[0] <= 148


def test_spans_that_come_late_follow_the_decision_on_their_trace(tmp_path):
    case = """
        send:
          - {credential: acme, spans: [{name: first, trace: t, id: root, status: error}]}
          - {credential: acme, wait: 2500ms, spans: [{name: late, trace: t, parent: root}]}
        expect:
          - {signal: traces, destination: far, name: late, equal: {trace: t, parent: root}}
          - {signal: traces, destination: far, name: first, equal: {id: root}}
    """
    assert told(run(tmp_path, case)) == []


def test_what_must_arrive_within_a_time_is_looked_at_while_the_collector_runs(tmp_path):
    case = """
        send: [{credential: acme, spans: [{name: x, status: error}], metrics: [{name: g, gauge: 1}]}]
        expect:
          - {signal: metrics, destination: far, name: g, within: 10s}
          - {signal: traces, destination: far, name: x, within: 30s}
          - {signal: traces, destination: far, name: x, within: 1ms}
          - {signal: traces, destination: far, name: x}
    """
    ((path, message),) = told(run(tmp_path, case))
    assert path == "expect.2"
    assert message.startswith("not in time: expected at least 1 of the spans")


def test_refusals_are_told_by_the_request(tmp_path):
    case = """
        send:
          - {spans: [{name: a}], refused: 401}
          - {credential: acme, wrong_token: true, spans: [{name: b}], refused: 401}
          - {spans: [{name: c}]}
          - {credential: acme, spans: [{name: d}], refused: 401}
          - {credential: acme, wrong_token: true, spans: [{name: e}], refused: 403}
          - {credential: svc-api.2, spans: [{name: f, status: error}]}
          - {credential: svc-api, spans: [{name: g, status: error}]}
        expect:
          - {signal: traces, destination: far, name: f, equal: {resource.tenant.id: svc-api.2}}
          - {signal: traces, destination: far, name: g, equal: {resource.tenant.id: svc-api.1}}
        nowhere: [{name: a}, {name: b}, {name: c}, {name: e}]
    """
    assert told(run(tmp_path, case)) == [
        ("send.2", "expected the traces to be accepted, got 401 Unauthorized; it has no `credential`"),
        ("send.3.refused", "expected the traces to be refused with 401, got 200 OK"),
        ("send.4.refused", "expected the traces to be refused with 403, got 401 Unauthorized"),
    ]


def test_headers_and_raw_otlp_arrive(tmp_path):
    case = """
        send:
          - credential: acme
            headers: {X-Extra: from outside}
            spans: [{name: x, status: error}]
          - credential: acme
            otlp:
              resourceSpans:
                - scopeSpans:
                    - spans:
                        - traceId: 0af7651916cd43dd8448eb211c80319c
                          spanId: b7ad6b7169203331
                          name: raw
                          status: {code: 2}
                          links: [{traceId: 0af7651916cd43dd8448eb211c80319d, spanId: b7ad6b7169203332}]
        expect:
          - {signal: traces, destination: far, name: x, equal: {resource.from.header: from outside}}
          - {signal: traces, destination: far, name: raw, equal: {links.0.trace: 0af7651916cd43dd8448eb211c80319d}}
    """
    assert told(run(tmp_path, case)) == []


def test_a_text_that_the_collector_only_prints_is_found_and_its_complaints_are_told(tmp_path):
    case = """
        send: [{credential: acme, logs: [{body: x, attributes: {n: canary-in-an-error}}], refused: 503}]
        nowhere: [canary-in-an-error]
    """
    outcome = run(tmp_path, case)
    assert [path for path, _ in told(outcome)] == ["nowhere.0"]
    assert "the collector's own log" in outcome.failures[0].message
    assert any("transform/picky" in complaint for complaint in outcome.complaints)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("decision_wait: 30s", "decision_weight: 30s"),
        ("authenticator: basicauth/credentials", "authenticator: basicauth/other"),
    ],
)
def test_a_collector_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path, before, after):
    case = "{send: [{credential: acme, spans: [{name: x}]}], nowhere: [{name: x}]}"
    with pytest.raises(DownError, match="the collector does not start"):
        run(tmp_path, case, SMALL.replace(before, after))


def test_the_collectors_folder_holds_all_it_wrote_and_no_token(tmp_path):
    case = "{send: [{credential: acme, spans: [{name: x, status: error}]}], nowhere: [{name: y}]}"
    run(tmp_path, case)
    assert {path.name for path in tmp_path.iterdir()} >= {"collector.yaml", "collector.log", "captured"}
    assert (tmp_path / "credentials.htpasswd").read_text().startswith("acme.1:{SSHA}")
    assert (tmp_path / "credentials.htpasswd").stat().st_mode & 0o077 == 0


def test_collectors_that_are_drained_the_moment_they_are_ready_lose_nothing(tmp_path):
    case = "{send: [{credential: acme, spans: [{name: x, status: error}]}], expect: [{signal: traces, name: x}]}"

    def one(number: int) -> list[tuple[str, str]]:
        folder = tmp_path / str(number)
        folder.mkdir()
        return told(run(folder, case))

    # More than there are processors, so that they have to wait for one between being ready and listening to signals.
    with ThreadPoolExecutor(8) as pool:
        assert [found for found in pool.map(one, range(32)) if found] == []
