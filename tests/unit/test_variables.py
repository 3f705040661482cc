"""Every variable of the OpenTelemetry specification is used, or told; none ends telemetry without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry import environment_variables as api
from opentelemetry.sdk import environment_variables as sdk
from support.receiver import environment, receiving

from theodore_otel.instrument import variables

SPECIFIED = sorted(
    name
    for module in (api, sdk)
    for name in vars(module)
    if name.startswith("OTEL_") and not name.startswith(("OTEL_PYTHON_", "OTEL_EXPERIMENTAL_RESOURCE"))
)
PROGRAM = """
import logging
from opentelemetry import metrics, trace
logging.warning("told")
metrics.get_meter("m").create_counter("counted").add(1)
with trace.get_tracer("t").start_as_current_span("traced"): pass
"""
USED_TO_SWITCH_OFF = {"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"}
ENDPOINTS = {name for name in SPECIFIED if name.endswith("_ENDPOINT")} | {"OTEL_CONFIG_FILE"}


def test_the_table_has_every_variable_that_upstream_knows():
    assert len(SPECIFIED) > 60
    assert [name for name in SPECIFIED if variables._row(name) is variables._UNKNOWN] == []


def test_no_name_matches_two_rows_but_for_an_exact_one():
    for name in SPECIFIED:
        rows = [row.name for row in variables.TABLE if row.name == name or variables._fits(row.name, name)]
        assert len(rows) == 1 or name in rows or "_CLIENT_" in name, rows


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OTEL_TRACES_SAMPLER", "always_off", "go missing"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on", None),
        ("OTEL_TRACES_SAMPLER", "alway_on", "there is no such sampler"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "expected http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "expected http/protobuf"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", None),
        ("OTEL_PROPAGATORS", "b4, tracecontext", "there is no propagator b4"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage", None),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "expected a whole number"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "100", None),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", "cumulative"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100", "instrument"),
        ("OTEL_CONFIG_FILE", "otel.yaml", "THEODORE_OTEL_CONFIG"),
        ("OTEL_SERVICE_NAME", "x", None),
        ("OTEL_SOMETHING_ELSE", "x", None),
        ("OTEL_TRACES_SAMPLER", "", None),
    ],
)
def test_what_is_not_done_is_told(name, value, told):
    found = [text for _, text in variables.complaints({name: value})]
    assert found == [] if told is None else (len(found) == 1 and told in found[0])


def test_a_value_that_may_hold_a_password_is_not_shown():
    (told,) = variables.complaints({"OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://u:hunter2@zipkin"})
    assert "hunter2" not in told[1]


@pytest.mark.case("otel_variables")
@pytest.mark.parametrize("value", ["nonsense", "-1", "\x7f"])
def test_no_value_of_any_variable_ends_telemetry_or_the_program(value, tmp_path: Path):
    """All at once but for those that say where to send, or not to send."""
    odd = {name: value for name in SPECIFIED if name not in USED_TO_SWITCH_OFF | ENDPOINTS}
    with receiving() as receiver:
        command = [Path(sys.executable).with_name("theodore-otel"), "run", sys.executable, "-c", PROGRAM]
        given = environment(receiver.url, odd)
        done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert {span.name for span in receiver.spans()} == {"traced"}, done.stderr
        assert "told" in receiver.bodies()
        assert {metric.name for metric in receiver.metrics()} == {"counted"}
    told = [line for line in done.stderr.splitlines() if line.startswith("theodore-otel: ")]
    assert [line for line in told if "OTEL_" not in line] == []
    assert len(told) > 20


@pytest.mark.case("otel_variables")
def test_what_upstream_would_raise_for_is_taken_out(monkeypatch, capsys):
    given = {
        "OTEL_PROPAGATORS": "b4,baggage",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "x",
        "OTEL_SPAN_LINK_COUNT_LIMIT": "3",
    }
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    variables.prepare(given)
    assert given == {"OTEL_PROPAGATORS": "baggage", "OTEL_SPAN_LINK_COUNT_LIMIT": "3"}
    assert capsys.readouterr().err.count("theodore-otel: ") == 2
