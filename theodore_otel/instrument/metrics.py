"""Process-side metrics, made when something records and not before.

What a command counts (requests, tokens, cost) is derived from spans in the collector. The process reports only what no
span holds. Importing the metrics SDK costs 25 ms, so the global provider is a stand-in that builds the real one with
the first meter the application asks for. Libraries' own metrics (HTTP histograms of each request) stay off: the same
numbers are in the spans.

Temporality is cumulative for everything: the collector's Prometheus exporter refuses non-monotonic deltas, and sums one
series per process (`service.instance.id`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter

from theodore_otel.instrument import forks
from theodore_otel.instrument.say import say

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

    from theodore_otel.instrument.pipeline import Pipeline

_LIBRARIES = ("opentelemetry.", "fastapi", "starlette")


class LazyMeterProvider(MeterProvider):
    """The global meter provider: builds the SDK's when the application asks for a meter."""

    def __init__(self, build: Callable[[], SdkMeterProvider]) -> None:
        """Call `build` at most once."""
        self._build = build
        self._real: SdkMeterProvider | None = None
        self._lock = forks.Lock()

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> Meter:
        """Return a real meter for the application and one that records nothing for libraries."""
        if name.startswith(_LIBRARIES):
            return NoOpMeter(name, version, schema_url)
        with self._lock:
            if self._real is None:
                self._real = self._build()
        return self._real.get_meter(name, version, schema_url, attributes)

    def collect(self) -> None:
        """Hand the current values to the pipeline, if anything was ever recorded."""
        if self._real is not None:
            self._real.force_flush()


def build_provider(pipeline: Pipeline, resource: Any) -> SdkMeterProvider:
    """Return the SDK's provider, reading into `pipeline`. Exemplars are off: their attributes cannot be redacted."""
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter
    from opentelemetry.sdk.metrics import MeterProvider as SdkProvider
    from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

    class PipelineReader(MetricReader):
        """Puts what it is given into the pipeline."""

        def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:  # noqa: ARG002
            if metrics_data is not None and metrics_data.resource_metrics:
                pipeline.put(metrics_data)

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            """Nothing: the pipelines are closed together, by `ending`."""

    provider: Any = SdkProvider(
        metric_readers=[PipelineReader()],
        resource=resource,
        exemplar_filter=AlwaysOffExemplarFilter(),
        shutdown_on_exit=False,
    )
    provider._measurement_consumer.consume_measurement = _finite(provider._measurement_consumer.consume_measurement)
    pipeline.start()  # from now on it collects every interval
    real: SdkMeterProvider = provider
    return real


def _finite(consume: Callable[[Any], None]) -> Callable[[Any], None]:
    """Leave out what is no finite number and would be in a sum for as long as the process lives; tell of the first."""
    from opentelemetry.metrics import _Gauge

    told = False

    def consume_finite(measurement: Any) -> None:
        nonlocal told
        number, instrument = measurement.value, measurement.instrument
        if isinstance(number, float) and not isfinite(number) and not isinstance(instrument, _Gauge):
            if not told:
                say(f"a measurement of {instrument.name} is left out: expected a finite number, got {number}")
            told = True
            return
        consume(measurement)

    return consume_finite
