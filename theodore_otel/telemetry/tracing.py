"""Spans around Theodore's operations, for code that says itself what it does.

They are made with the OpenTelemetry API: without an SDK nothing happens, with any SDK its spans are made, under
`opentelemetry-instrument` or after `theodore_otel.configure()` they go to the collector, which counts from them.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace

from theodore_otel import __version__
from theodore_otel.instrument import settings
from theodore_otel.instrument.cost import Prices
from theodore_otel.instrument.kinds import Field
from theodore_otel.instrument.operation import Tools
from theodore_otel.instrument.texts import clean_url
from theodore_otel.telemetry import redact
from theodore_otel.telemetry.config import LoggingConfig, ObservabilityConfig, TracingConfig
from theodore_otel.telemetry.operations import HELPED, After, Helper, Named, attribute


class TracingManager:
    """Gives the tracer that all helpers use."""

    def __init__(
        self, config: TracingConfig | None = None, tracer_provider: trace.TracerProvider | None = None
    ) -> None:
        """Without a configuration, the defaults of `TracingConfig` hold; without a provider, the global one is used."""
        self.config = config or TracingConfig()
        self._provider = tracer_provider
        self._tools: Tools | None = None

    def initialize(self) -> trace.Tracer:
        """Return the tracer of this process; calling it is optional, and harmless the second time.

        A configuration that names `otlp_endpoint` or Jaeger, in a process that nobody has set up, sets it up as
        `theodore_otel.configure` does, without output on the console. Otherwise what is set up is used, or nothing.
        """
        if self._tools is None:
            if self._names_a_destination() and settings.current is None and not self._is_set_up():
                from theodore_otel.telemetry.process import configure

                configure(ObservabilityConfig(tracing=self.config, logging=LoggingConfig(console_output=False)))
            prices = Prices(settings.current.prices if settings.current else {})
            self._tools = Tools(self._tracer(), prices, redact.text)
        return self._tools.tracer

    @property
    def tools(self) -> Tools:
        """What helpers make operations with: tracer, prices and the way to mask."""
        if self._tools is None:
            self.initialize()
        assert self._tools is not None  # noqa: S101 - for type checkers
        return self._tools

    @property
    def provider(self) -> trace.TracerProvider:
        """The provider whose spans are made."""
        return self._provider or trace.get_tracer_provider()

    def trace_operation(self, name: str, **attributes: Any) -> Helper:
        """Return an operation of any kind, as a span of this name with these attributes. Nothing is counted of it."""
        return self.named(name, attributes)

    def named(self, name: str, attributes: dict[str, Any], *, tracked: str | None = None) -> Helper:
        """Return an operation of any kind; one that is `tracked` is among the running ones, and its failures count."""
        fields = tuple(Field(key, key, lambda value, _, key=key: attribute(key, value)) for key in attributes)  # type: ignore[misc]
        kind = Named("operation", fields, (redact.text(name),))
        return Helper(kind, attributes, self.tools, tracked=tracked)

    def _tracer(self) -> trace.Tracer:
        if not self.config.enabled:
            return trace.NoOpTracer()
        return trace.get_tracer("theodore_otel", __version__, tracer_provider=self._provider)

    def _is_set_up(self) -> bool:
        return self._provider is not None or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    def _names_a_destination(self) -> bool:
        config = self.config
        return config.enabled and (bool(config.otlp_endpoint and config.otlp_enabled) or config.jaeger_enabled)


class TheodoreTracer:
    """Operations of Theodore: research, model calls, scraping and storage.

    Each method gives an operation for `with`, `async with` or as a decorator, see `Helper`; inside, `Operation` takes
    what becomes known on the way. An operation inside one that is the same makes no second span.
    """

    def __init__(self, manager: TracingManager | None = None) -> None:
        """Without a manager, what is set up in this process is used."""
        self._manager = manager or TracingManager()

    def trace_research_operation(
        self, company_name: str, operation_type: str = "company_research", *, after: After | None = None
    ) -> Helper:
        """Return the research of one company, which is counted by its type. `after` is told the seconds it took."""
        entry = {"company": company_name, "research_type": operation_type}
        return Helper(HELPED["research"], entry, self._manager.tools, after=after)

    def trace_ai_operation(
        self,
        provider: str,
        model: str,
        operation: str,
        estimated_tokens: int | None = None,
        *,
        after: After | None = None,
    ) -> Helper:
        """Return one call of a language model, by the gen_ai conventions.

        Its tokens are told with `Operation.set_usage`, or read from the answers of model APIs that are recognised
        inside. The cost is worked out from them.
        """
        entry = {"provider": provider, "model": model, "operation": operation, "estimated_tokens": estimated_tokens}
        return Helper(HELPED["ai"], entry, self._manager.tools, after=after)

    def trace_scraping_operation(
        self, url: str, scraper_type: str = "intelligent_scraper", *, after: After | None = None
    ) -> Helper:
        """Return the scraping of one URL, which is told without credentials, query and fragment."""
        entry = {"url": clean_url(url) if isinstance(url, str) else url, "scraper_type": scraper_type}
        return Helper(HELPED["scraping"], entry, self._manager.tools, after=after)

    def trace_storage_operation(
        self, operation: str, storage_type: str = "vector_storage", *, after: After | None = None
    ) -> Helper:
        """Return one operation of a store, such as `upsert`."""
        entry = {"operation": operation, "storage_type": storage_type}
        return Helper(HELPED["storage"], entry, self._manager.tools, after=after)
