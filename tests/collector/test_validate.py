"""What the real collector refuses is told by the key it came from."""

import os
import re
from pathlib import Path

import pytest

from theodore_otel.config.source import parse
from theodore_otel.errors import InputError
from theodore_otel.otelcol import find, validate

GOOD = """\
receivers:
  otlp: {protocols: {http: {endpoint: "127.0.0.1:4318"}}}
processors:
  transform/redact:
    trace_statements: ['set(span.attributes["a"], "b")']
exporters:
  otlp/far: {endpoint: "127.0.0.1:1"}
  debug: {}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [transform/redact], exporters: [otlp/far, debug]}
"""
OWN = """\
destinations:
  far:
    type: otlp
collector:
  extra:
    exporters:
      debug:
        verbosity: loud
    processors:
      transform/redact: {}
"""


def judge(text: str, own: str = OWN) -> None:
    validate.validate(find.installed(lambda _: None), text, os.environ, parse(own, "my.yaml"))


def refused(text: str, own: str = OWN) -> list[str]:
    with pytest.raises(InputError) as caught:
        judge(text, own)
    return str(caught.value).splitlines()


def test_what_the_collector_accepts_passes() -> None:
    judge(GOOD)


def test_a_wrong_value_in_raw_configuration_is_told_with_its_line() -> None:
    (message,) = refused(GOOD.replace("debug: {}", "debug: {verbosity: loud}"))
    assert message.startswith("my.yaml:8: collector.extra.exporters.debug.verbosity: the collector refuses this: ")
    assert "loud" in message
    assert message.endswith("(rendered as exporters.debug.verbosity, line 8: debug: {verbosity: loud})")


def test_each_unknown_key_gets_a_line() -> None:
    messages = refused(GOOD.replace("debug: {}", "debug: {verbosit: basic, colour: red}"))
    keys = sorted(
        re.findall(
            r"collector\.extra\.exporters\.debug\.(\w+): the collector refuses this: unknown key", "\n".join(messages)
        )
    )
    assert keys == ["colour", "verbosit"]


def test_a_refused_destination_is_told_by_its_name() -> None:
    (message,) = refused(GOOD.replace('endpoint: "127.0.0.1:1"', "endpoint: ''"))
    assert message.startswith("my.yaml:2: destinations.far: the collector refuses this: ")
    assert "endpoint" in message


def test_a_statement_that_does_not_parse_is_told_with_its_processor() -> None:
    (message,) = refused(GOOD.replace('set(span.attributes["a"], "b")', "set(nonsense)"))
    assert message.startswith("my.yaml:10: collector.extra.processors.transform/redact: the collector refuses this: ")
    assert "nonsense" in message


def test_a_pipeline_with_an_unknown_component_is_told_by_the_rendered_line() -> None:
    (message,) = refused(GOOD.replace("[otlp/far, debug]", "[otlp/far, gone]"), own="")
    assert message == (
        'my.yaml: the collector refuses: references exporter "gone" which is not configured (rendered as '
        "service.pipelines.traces, line 11: traces: {receivers: [otlp], processors: [transform/redact], "
        "exporters: [otlp/far, gone]})"
    )


def test_an_unknown_type_of_component_is_told() -> None:
    (message,) = refused(GOOD.replace("debug: {}", "nosuch: {}").replace(", debug]", "]"))
    assert "nosuch" in message


def test_a_component_that_cannot_be_made_is_told_with_its_id() -> None:
    text = GOOD.replace("  transform/redact:", "  filter/bad: {traces: {span: ['nonsense(']}}\n  transform/redact:")
    (message,) = refused(text.replace("[transform/redact]", "[filter/bad]"), own="")
    assert "processors.filter/bad" in message


@pytest.mark.parametrize("name", ["local", "compose"])
def test_the_committed_deployments_are_accepted(name: str) -> None:
    rendered = Path(__file__).parents[2] / "deploy" / name / "collector.yaml"
    environment = {**os.environ, "THEODORE_OTEL_HOME": "/var/lib/theodore-otel"}
    validate.validate(find.installed(lambda _: None), rendered.read_text(), environment, parse("", rendered.name))
