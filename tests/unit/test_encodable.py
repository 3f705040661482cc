"""Odd values, wherever they stand: their neighbours arrive, and what is sound is encoded as upstream encodes it."""

from __future__ import annotations

import logging
import math
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import attributes as upstream
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics._internal import measurement
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from theodore_otel.instrument import encodable, metrics, recorded
from theodore_otel.instrument.encode import Encoder
from theodore_otel.instrument.scrub import Scrubber
from theodore_otel.instrument.texts import shortened, without_controls
from theodore_otel.telemetry import redact

pytestmark = [
    pytest.mark.case("odd_values"),
    pytest.mark.filterwarnings("ignore::opentelemetry.sdk._logs.LogRecordDroppedAttributesWarning"),
]


class Unshown:
    """An object whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class UnshownError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Refusing(dict):  # type: ignore[type-arg]
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise RuntimeError("no items")


def ring() -> list[Any]:
    made: list[Any] = [1]
    made.append(made)
    return made


def nested(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


ODD_TEXTS = st.sampled_from(["caf\udce9", "\ud800", "\x00", "x" * 40_000, "", "\u2028", "\U0001d4b3"]) | st.text(
    st.characters(codec=None, categories=None), max_size=8
)
ODD = st.one_of(
    ODD_TEXTS,
    st.sampled_from([math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1, 2**64, 10**5000, -0.0, True]),
    st.builds(Unshown),
    st.builds(Refusing, st.just({"a": 1})),
    st.builds(ring),
    st.builds(nested, st.integers(1, 2000)),
    st.sampled_from([b"\xff", {1, 2}, 1j, Decimal("NaN"), None, object, {1: "a", ("b",): 2, "": 3, "\udcff": 4}]),
    st.lists(ODD_TEXTS | st.integers(), max_size=3),
)
SOUND = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3),
    max_leaves=8,
)
NOTHING_IS_SECRET = Scrubber({"keys": [], "values": []})


@pytest.fixture(autouse=True, scope="module")
def installed():
    with pytest.MonkeyPatch.context() as patch:
        for module in (upstream, measurement):
            patch.setattr(module, "_clean_attribute_value", upstream._clean_attribute_value)
        patch.setattr(upstream.BoundedAttributes, "__setitem__", upstream.BoundedAttributes.__setitem__)
        patch.setattr(logging.getLogger("opentelemetry"), "level", logging.CRITICAL + 1)
        encodable.install()
        yield


@pytest.fixture(scope="module")
def encoder():
    return Encoder(NOTHING_IS_SECRET)


def ended(work) -> list[Any]:
    """Return the spans that `work(tracer)` ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    work(provider.get_tracer("test"))
    return list(exporter.get_finished_spans())


def emitted(work) -> list[Any]:
    """Return the log records that `work(logger)` emitted."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    work(provider.get_logger("test"))
    return list(exporter.get_finished_logs())


@given(odd=ODD, name=ODD_TEXTS)
@settings(max_examples=150, deadline=None)
def test_an_odd_value_on_a_span_leaves_it_and_its_neighbour(encoder, odd, name):
    def work(tracer):
        tracer.start_span("sound", attributes={"n": 1}).end()
        link = Link(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1)), {"odd": odd})
        span = tracer.start_span("odd", links=[link], attributes={"odd": odd, "beside": 1})
        span.update_name(name)
        span.set_attribute("later", odd)
        span.set_attribute(name, 1)
        span.add_event(name, {"odd": odd}, timestamp=-5)
        span.set_status(Status(StatusCode.ERROR, name))
        span.end()

    body, count = encoder.traces(ended(work))
    request = ExportTraceServiceRequest.FromString(body)
    spans = request.resource_spans[0].scope_spans[0].spans
    assert (count, len(spans), spans[0].name) == (2, 2, "sound")
    assert {"beside"} <= {attribute.key for attribute in spans[1].attributes}
    assert spans[1].name == shortened(without_controls(encodable.text(name)))


@given(odd=ODD, words=ODD_TEXTS, moment=st.integers(-(2**70), 2**70))
@settings(max_examples=150, deadline=None)
def test_an_odd_log_record_leaves_its_neighbour(encoder, odd, words, moment):
    def work(logger):
        logger.emit(LogRecord(body="sound", severity_number=SeverityNumber.INFO))
        logger.emit(
            LogRecord(
                body=odd, severity_text=words, timestamp=moment, event_name=words, attributes={"odd": odd, "beside": 1}
            )
        )

    body, count = encoder.logs(emitted(work))
    request = ExportLogsServiceRequest.FromString(body)
    records = request.resource_logs[0].scope_logs[0].log_records
    assert (count, len(records), records[0].body.string_value) == (2, 2, "sound")
    assert {"beside"} <= {attribute.key for attribute in records[1].attributes}


@given(odd=ODD, number=st.integers() | st.floats() | st.sampled_from([2**70, math.nan, math.inf]))
@settings(max_examples=60, deadline=None)
def test_an_odd_measurement_leaves_the_other_metrics(encoder, odd, number):
    from opentelemetry.sdk.metrics import MeterProvider

    reader = InMemoryMetricReader()
    provider: Any = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    consumer = provider._measurement_consumer
    consumer.consume_measurement = metrics._finite(consumer.consume_measurement)
    meter = provider.get_meter("test")
    meter.create_counter("sound").add(1, {"a": "b"})
    odd_one = meter.create_up_down_counter("odd", unit="1", description="\ud800")
    odd_one.add(1, {"odd": odd})
    odd_one.add(number, {"kind": "number"})
    body, _ = encoder.metrics([reader.get_metrics_data()])
    found = {
        m.name: m for m in ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0].metrics
    }
    assert found["sound"].sum.data_points[0].as_int == 1
    assert len(found["odd"].sum.data_points) == (2 if math.isfinite(number) else 1)


@given(attributes=st.dictionaries(st.text(min_size=1, max_size=4), SOUND, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_is_sound_is_encoded_as_upstream_encodes_it(attributes):
    mine = encodable.value(attributes)
    theirs = encodable._checked(attributes, None)
    span = lambda given: encode_spans(ended(lambda t: t.start_span("s", attributes=given).end()))  # noqa: E731
    values = lambda request: request.resource_spans[0].scope_spans[0].spans[0].attributes  # noqa: E731
    assert repr(values(span(mine))) == repr(values(span(theirs)))


def test_a_record_that_fits_is_not_changed_by_being_fitted():
    def work(tracer):
        with tracer.start_as_current_span("s", attributes={"a": [1, 2]}, links=[]) as span:
            span.add_event("e", {"b": 1.5})
            span.set_status(Status(StatusCode.ERROR, "d"))

    (made,) = ended(work)
    assert encode_spans([encodable.span(made)]) == encode_spans([made])
    (told,) = emitted(lambda logger: logger.emit(LogRecord(body={"a": [1]}, timestamp=5, attributes={"k": "v"})))
    assert encode_logs([encodable.log(told)]) == encode_logs([told])
    reader = InMemoryMetricReader()
    from opentelemetry.sdk.metrics import MeterProvider

    meter = MeterProvider(metric_readers=[reader], shutdown_on_exit=False).get_meter("test")
    meter.create_histogram("h").record(3, {"a": "b"})
    meter.create_counter("c").add(3)
    data = reader.get_metrics_data()
    assert encode_metrics(encodable.metrics(data)) == encode_metrics(data)


def test_a_mapping_that_a_thread_fills_meanwhile_is_not_lost():
    filled: dict[str, int] = {}
    stop = threading.Event()

    def fill() -> None:
        while not stop.is_set():
            for number in range(2_000):
                filled[f"key {number}"] = number
            filled.clear()

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        for _ in range(300):
            assert isinstance(redact.plain(filled), dict)
            assert set(encodable.value({"inner": filled, "beside": 1})) == {"inner", "beside"}
    finally:
        stop.set()
        thread.join()


def test_an_exception_without_a_text_is_recorded_by_its_type():
    def work(tracer):
        span = tracer.start_span("s")
        recorded.record_once(span, UnshownError())
        span.end()

    (span,) = ended(work)
    assert span.events[0].attributes["exception.type"] == "UnshownError"
    assert "cannot be shown" in span.events[0].attributes["exception.message"]


def family() -> dict[str, Any]:
    root: dict[str, Any] = {"name": "root", "children": []}
    root["children"] += [{"name": n, "parent": root} for n in range(100)]
    return root


def doubled(levels: int) -> Any:
    made: Any = "leaf"
    for _ in range(levels):
        made = [made] * 8
    return made


@pytest.mark.parametrize(
    "wide", [family(), doubled(14), range(10**8), {"a": range(10**8)}], ids=["tree", "dag", "range", "in"]
)
def test_what_holds_itself_many_times_over_is_cut(wide):
    """Without a bound it would take longer than anybody waits."""

    def members(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
        return 1 + sum(map(members, inner))

    assert members(encodable.value(wide)) <= encodable.MOST_MEMBERS + 1
    assert members(redact.plain({"given": wide})) <= encodable.MOST_MEMBERS + 2
