"""What leaves a process is masked wherever it stands, and masking is quick whatever a crawled page holds."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from theodore_otel.instrument import settings
from theodore_otel.instrument.scrub import Scrubber
from theodore_otel.instrument.texts import as_text, shortened

KEY = "sk-or-v1-" + "0123456789abcdef" * 4


def _scrubber() -> Scrubber:
    return Scrubber(settings.load({})[0].redaction)


def _sent(body: AnyValue, **attributes: AnyValue) -> str:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(body=body)
    record.attributes.extend(KeyValue(key=key, value=value) for key, value in attributes.items())
    _scrubber().logs(request)
    return str(request)


def test_values_of_every_type_are_masked() -> None:
    nested = AnyValue()
    nested.kvlist_value.values.add(key="password", value=AnyValue(string_value="planted"))
    nested.kvlist_value.values.add(key="list").value.array_value.values.add(string_value=f"with {KEY} in it")
    sent = _sent(
        AnyValue(string_value=f"calling with {KEY}"),
        card=AnyValue(int_value=4111111111111111),
        amount=AnyValue(double_value=4111111111111111.0),
        raw=AnyValue(bytes_value=KEY.encode()),
        nested=nested,
        api_key=AnyValue(int_value=777777),
    )
    for secret in (KEY, "4111111111111111", "4.11", "planted", "777777"):
        assert secret not in sent


@pytest.mark.case("nan_in_the_scrubber")
def test_a_number_that_equals_nothing_stays() -> None:
    assert "double_value: nan" in _sent(AnyValue(string_value="m"), ratio=AnyValue(double_value=float("nan")))


@pytest.mark.case("smuggled_names")
def test_control_characters_hide_no_secret_word_and_are_gone() -> None:
    nested = AnyValue()
    nested.kvlist_value.values.add(key="pass\x05word", value=AnyValue(string_value="planted"))
    sent = _sent(
        AnyValue(string_value="pass\x02word=hunter2\x1b[0m"), **{"to\x1fken": AnyValue(string_value="x7")}, a=nested
    )
    for gone in ("planted", "hunter2", "x7", "\\0"):
        assert gone not in sent


def test_names_of_scopes_and_texts_of_metrics_are_masked() -> None:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    scope.scope.name, scope.scope.version = f"a {KEY}", f"b {KEY}"
    metric = scope.metrics.add(name=f"c {KEY}", description=f"d {KEY}", unit=f"e {KEY}")
    metric.gauge.data_points.add(as_int=1)
    _scrubber().metrics(request)
    assert str(request).count("[REDACTED]") == 5
    assert KEY not in str(request)


def test_numbers_that_are_no_cards_stay() -> None:
    sent = _sent(
        AnyValue(string_value="x"), size=AnyValue(int_value=4111111111111112), share=AnyValue(double_value=0.25)
    )
    assert "4111111111111112" in sent
    assert "0.25" in sent


def test_a_very_long_text_is_cut_before_a_word_and_masked() -> None:
    padding = "word " * 6_553
    assert len(padding) < 32_768 < len(padding + KEY)
    sent = _scrubber().text(padding + KEY + " more" * 100_000)
    assert sent.endswith("word ...")
    assert "0123456789abcdef" not in sent
    assert shortened("x" * 1_000_000) == "x" * 30_720 + " ..."


def test_what_a_hostile_page_holds_is_searched_in_one_pass() -> None:
    """Each took minutes with a pattern that starts anew at every character; the suite would hang."""
    scrubber = _scrubber()
    for page in ("a." * 500_000 + "://x", "://" * 300_000, "http://a@" * 100_000, "@" * 1_000_000):
        assert as_text(page, scrubber.text)


def _pair(key: str, text: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=text))


def test_no_part_of_a_span_lets_a_secret_out() -> None:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(_pair("host", KEY))
    scope = resource.scope_spans.add()
    scope.scope.attributes.append(_pair("scope", KEY))
    span = scope.spans.add(name=f"call {KEY}", trace_state=f"vendor={KEY}")
    span.status.message = f"failed with {KEY}"
    span.attributes.extend(
        [
            _pair(f"key {KEY}", "x"),
            _pair("text", KEY),
            _pair("url.full", f"https://user:planted@example.com/{KEY}?q=planted#planted"),
            _pair("http.url", "https://example.com/a?q=planted"),
            _pair("url.query", "planted=1"),
            _pair("process.command_line", f"theodore --api-key planted --token=planted research {KEY}"),
            _pair("db.password", "planted"),
        ]
    )
    nested = span.attributes.add(key="nested").value.kvlist_value.values.add(key="list").value.array_value.values.add()
    nested.kvlist_value.values.append(_pair("url.full", "https://example.com/?q=planted"))
    nested.kvlist_value.values.append(_pair("secret", "planted"))
    arguments = span.attributes.add(key="process.command_args").value.array_value.values
    for argument in ("theodore", "--password", "planted", f"--url=https://u:planted@example.com/{KEY}"):
        arguments.add(string_value=argument)
    event = span.events.add(name=f"event {KEY}")
    event.attributes.append(_pair("exception.message", f"api_key=planted {KEY}"))
    link = span.links.add(trace_state=f"vendor={KEY}")
    link.attributes.append(_pair("token", "planted"))
    _scrubber().spans(request)
    sent = str(request)
    assert "planted" not in sent
    assert KEY not in sent
    for kept in ("theodore", "research", "https://example.com/", "exception.message"):
        assert kept in sent


def test_names_of_log_events_and_their_scope_are_masked() -> None:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    scope.scope.attributes.append(_pair("scope", KEY))
    scope.log_records.add(event_name=f"event {KEY}")
    _scrubber().logs(request)
    assert KEY not in str(request)


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Scrubber:
    monkeypatch.setenv("PEPPER", "salt")
    return Scrubber({**settings.load({})[0].redaction, "hash_key": {"env": "PEPPER"}})


def test_secrets_under_a_key_are_hashed_as_those_in_a_text(hashing: Scrubber) -> None:
    from theodore_otel.redaction.matcher import Matcher

    matcher = Matcher({**settings.load({})[0].redaction, "hash_key": {"env": "PEPPER"}})
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    given = {"password": "planted", "api_key": 777777, "token": True, "secret": 1.5, "cookie": b"raw"}
    for key, value in given.items():
        one = record.attributes.add(key=key).value
        field = {str: "string_value", int: "int_value", bool: "bool_value", float: "double_value", bytes: "bytes_value"}
        setattr(one, field[type(value)], value)
    record.attributes.add(key="password")
    hashing.logs(request)
    found = {attribute.key: attribute.value.string_value for attribute in list(record.attributes)[:-1]}
    assert found == {key: matcher.hidden(value) for key, value in given.items()}
    assert found["password"].startswith("[HASH:")
    assert record.attributes[-1].value.WhichOneof("value") is None
    assert hashing.arguments(["x", "--password", "planted", "--token=planted"]) == [
        "x", "--password", found["password"], f"--token={found['password']}",
    ]  # fmt: skip
