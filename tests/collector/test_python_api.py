"""What the Python API records arrives in Prometheus under the documented names, each operation counted once."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.collector import running, wait_for
from support.python_api import WANTED, use

from theodore_otel.telemetry.metrics import MetricsManager
from theodore_otel.telemetry.tracing import TracingManager

CONFIGURATION = {
    "profile": "local",
    "tracing": {"sampling": {"rate": 0.0}},
    "destinations": {"scrape": {"type": "prometheus"}},
}


def test_everything_the_api_records_is_counted_once_under_its_name(tmp_path):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "theodore-v2"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use(MetricsManager(tracing=TracingManager(tracer_provider=provider)))

    def series(name: str, labels: dict[str, str]) -> str:
        everything = sorted({**labels, "service": "theodore-v2", "tenant": "acme"}.items())
        return name + "{" + ",".join(f'{key}="{value}"' for key, value in everything) + "}"

    with running(tmp_path, CONFIGURATION, ["acme"]) as collector:

        def counted() -> dict[str, float | None]:
            found = collector.prometheus()
            return {one: found.get(one) for one in wanted}

        wanted = {series(name, labels): float(value) for name, labels, value in WANTED}
        body = encode_spans(exporter.get_finished_spans()).SerializeToString()
        assert collector.post("traces", body, "acme.1") == 200
        wait_for(lambda: counted() == wanted, otherwise=counted)
        assert not [name for name in collector.prometheus() if "ACME" in name or "nightly" in name]
