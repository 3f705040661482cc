"""What leaves a process is masked wherever it stands, and masking is quick whatever a crawled page holds."""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
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
